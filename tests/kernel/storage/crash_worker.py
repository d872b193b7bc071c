"""Uses every store once and kills itself just before the N-th call that changes the disk; N = 0 never.

Prints one line for each thing that is promised to be kept from then on (``+ what``) or gone (``- what``).
"""

import gzip
import os
import signal
import sys
import threading
from pathlib import Path

from tests.harness import tars

from corten.oci.digest import Digest
from corten.storage import gc
from corten.storage.content import ContentStore
from corten.storage.metadata import Database
from corten.storage.snapshot import overlay_snapshotter
from corten.storage.volume import VolumeStore

LAYERS = [
    tars.archive(
        tars.directory("."), *(tars.file(f"dir{number}/{layer}", os.urandom(0) + b"x" * 900) for number in range(6))
    )
    for layer in ("one", "two")
]
BLOBS = [gzip.compress(layer, mtime=0) for layer in LAYERS]
CALLS = (
    "rename",
    "fsync",
    "mkdir",
    "rmdir",
    "unlink",
    "symlink",
    "open",
    "write",
    "pwrite",
    "utime",
    "ftruncate",
    "remove",
)


def arm(when: int) -> None:
    """Count the calls of all threads."""
    lock = threading.Lock()
    count = 0

    def counted(call):
        def wrapper(*arguments, **named):
            nonlocal count
            with lock:
                count += 1
                if count == when:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return wrapper

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(root: Path, when: int) -> None:
    database = Database(root / "corten.db")
    content, snapshotter = ContentStore(root / "content"), overlay_snapshotter(root)
    volumes = VolumeStore(root / "volumes", database)
    for free in gc.recover(content, snapshotter, volumes):
        free()
    arm(when)
    chain = None
    for blob in BLOBS:
        digest = Digest.of(blob)
        with content.writer("pull", expected=digest, size=len(blob)) as ingest, snapshotter.prepare_layer() as layer:
            for known in ingest.read_back():
                layer.feed(known)
            for start in range(ingest.offset, len(blob), 150):
                ingest.write(blob[start : start + 150])
                layer.feed(blob[start : start + 150])
            ingest.commit()
            say(f"+ content {digest}")
            chain = layer.commit(chain)
            say(f"+ layer {chain}")
    snapshotter.prepare("c1", chain)
    say("+ tree c1")
    volumes.create("data")
    say("+ volume data")
    volumes.copy_up("data", snapshotter.lowers(chain), "/dir1")
    say("+ copied data")
    say("~ tree c1")
    snapshotter.remove("c1")
    say("- tree c1")
    say(f"~ layer {chain}")
    free = snapshotter.remove_layer(chain)
    say(f"- layer {chain}")
    free()
    say("~ volume data")
    free = volumes.remove("data")
    say("- volume data")
    free()
    say(f"~ content {Digest.of(BLOBS[1])}")
    content.delete(Digest.of(BLOBS[1]))
    say("end")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
