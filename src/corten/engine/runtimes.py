"""Which runtime starts a container: our own, or another program with runc's command line.

    corten               our own, in the shim (the default)
    a configured name    ``--add-runtime NAME=PATH``, ``runtimes`` of daemon.json
    a well-known name    runc, crun, runsc, kata-runtime, youki, where PATH has it
    /absolute/path       that program

``runc`` is what Docker calls its own default, and Compose files say so: where there is no runc, our own stands in for
it, and a warning at the creation says that. Owns names; refuses to know how a runtime is used.
"""

import os
import shutil
from typing import Any, Final

import msgspec

from corten.engine.config import EngineConfig, RuntimeConfig
from corten.engine.spec.foreign import INIT_PROGRAMS
from corten.errors import InvalidArgument

OWN: Final = "corten"
STOCK: Final = "runc"
WELL_KNOWN: Final = (STOCK, "crun", "runsc", "kata-runtime", "youki")


class Runtimes:
    """The runtimes of one engine."""

    def __init__(self, config: EngineConfig) -> None:
        self._default = config.default_runtime or OWN
        self._configured = {runtime.name: runtime for runtime in config.runtimes}
        self._exec_root = config.exec_root

    @property
    def default(self) -> str:
        """The name of what containers get that name none."""
        return self._default

    def check_default(self) -> None:
        """Raises InvalidArgument with dockerd's text."""
        if not self._knows(self._default):
            raise InvalidArgument(f"specified default runtime '{self._default}' does not exist")

    def check(self, name: str) -> list[str]:
        """At creation; what the user should be warned of.

        Raises:
            InvalidArgument: Docker's text for a name that is none.
        """
        chosen = name or self._default
        if not self._knows(chosen):
            raise InvalidArgument(f"unknown or invalid runtime name: {chosen}")
        if chosen == STOCK and self.find(chosen) is None:
            return [f"There is no runc on this host: the container is run by {OWN}."]
        return []

    def find(self, name: str) -> RuntimeConfig | None:
        """The program to be used, None for our own.

        Raises:
            InvalidArgument: the runtime is not there any more.
        """
        if name in ("", OWN):
            return None
        found = self._configured.get(name)
        if found is not None:
            return msgspec.structs.replace(found, path=shutil.which(found.path) or found.path)
        path = _on_path(name) if name in WELL_KNOWN else name if _is_program(name) else ""
        if path:
            return RuntimeConfig(name, path)
        if name == STOCK:
            return None
        raise InvalidArgument(f"unknown or invalid runtime name: {name}")

    def init(self) -> str:
        """The host's program for ``--init`` with another runtime, "" when it has none."""
        return next((path for name in INIT_PROGRAMS if (path := _on_path(name))), "")

    def document(self, runtime: RuntimeConfig) -> dict[str, Any]:
        """The ``runtime`` field of the shim's ``start``."""
        root = self.state_directory(runtime.name)
        return {"name": runtime.name, "path": runtime.path, "arguments": list(runtime.arguments), "root": root}

    def state_directory(self, name: str) -> str:
        """Where a runtime keeps what it knows about its containers, its ``--root``."""
        return f"{self._exec_root}/runtime/{name.strip('/').replace('/', '-')}"

    def table(self) -> dict[str, dict[str, Any]]:
        """``Runtimes`` of ``info``: our own, what PATH has, what was configured."""
        found: dict[str, dict[str, Any]] = {OWN: {"path": "corten-runtime"}}
        found.update({name: {"path": path} for name in WELL_KNOWN if (path := _on_path(name))})
        for runtime in self._configured.values():
            arguments = {"runtimeArgs": list(runtime.arguments)} if runtime.arguments else {}
            found[runtime.name] = {"path": runtime.path, **arguments}
        return found

    def _knows(self, name: str) -> bool:
        if name in (OWN, STOCK) or name in self._configured:
            return True
        return bool(_on_path(name)) if name in WELL_KNOWN else _is_program(name)


def _on_path(name: str) -> str:
    return shutil.which(name) or ""


def _is_program(path: str) -> bool:
    return path.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK)
