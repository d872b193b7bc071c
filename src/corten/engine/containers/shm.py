"""/dev/shm of containers that share their IPC namespace: a tmpfs of the host's, so that others can be given the same.

    <exec-root>/shm/<container id>    mounted from the start of a container with --ipc shareable to its end

A private container's tmpfs is made by the container itself and cannot be reached from outside. Owns the mounts; refuses
to know who joins whom (:mod:`corten.engine.containers.joins`). Every function blocks for less than a millisecond.
"""

import errno
import logging
import os
from collections.abc import Collection

from corten.engine.config import EngineConfig
from corten.errors import RuntimeFailure
from corten.linux import mount

logger = logging.getLogger(__name__)


class SharedMemory:
    """The shared tmpfs mounts of one engine."""

    def __init__(self, config: EngineConfig) -> None:
        self._directory = f"{config.exec_root}/shm"

    def path(self, container_id: str) -> str:
        """Where the container's tmpfs is while it runs."""
        return f"{self._directory}/{container_id}"

    def open(self, container_id: str, size: int) -> str:
        """Mount it, empty; the path.

        Raises:
            RuntimeFailure: the kernel refuses.
        """
        self.close(container_id)
        path = self.path(container_id)
        os.makedirs(self._directory, 0o700, exist_ok=True)  # what is below has mode 1777: nobody else may get there
        os.mkdir(path, 0o700)
        try:
            flags = mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC
            mount.mount("shm", path, "tmpfs", flags, f"mode=1777,size={size}")
        except OSError as exc:
            os.rmdir(path)
            raise RuntimeFailure(f"mounting shm tmpfs: {exc.strerror}") from exc
        return path

    def close(self, container_id: str) -> None:
        """Unmount it, if it is there; containers that have joined keep theirs."""
        path = self.path(container_id)
        try:
            mount.umount2(path, mount.MNT_DETACH)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.EINVAL):
                logger.warning("%s stays mounted: %s", path, exc.strerror)
                return
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return

    def sweep(self, alive: Collection[str]) -> None:
        """At the engine's start: what is left of containers that do not run."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return
        for name in names:
            if name not in alive:
                self.close(name)
