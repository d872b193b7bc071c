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
from corten.storage.layer.writer import LayerWriter
from corten.storage.metadata import Database
from corten.storage.snapshot import Snapshotter, overlay_snapshotter
from corten.storage.volume import VolumeStore

LAYERS = [
    tars.archive(
        tars.directory("."), *(tars.file(f"dir{number}/{layer}", os.urandom(0) + b"x" * 900) for number in range(6))
    )
    for layer in ("one", "two")
]
#: Kept as a tree and its split; "twice" also keeps the file that was replaced. The second stands on the first's chain.
PLAIN = [
    tars.archive(tars.file("plain/one", b"1" * 900), tars.file("twice", b"a" * 700), tars.file("twice", b"b" * 700)),
    tars.archive(tars.directory("plain"), tars.file("plain/two", b"2" * 900)),
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


def plain(
    content: ContentStore, snapshotter: Snapshotter, stream: bytes, parent: Digest | None, *, split: bool
) -> Digest:
    """Unpack a plain layer; its content is there when it is."""
    with LayerWriter(snapshotter.layers, split=split) as layer:
        layer.feed(stream)
        chain = layer.commit(parent, content.keep)
    say(f"+ layer {chain}")
    if split:
        say(f"+ content {Digest.of(stream)}")
    return chain


def plain_layers(content: ContentStore, snapshotter: Snapshotter) -> None:
    """Everything that can happen to content that stands on a layer."""
    first, second = PLAIN
    base = plain(content, snapshotter, first, None, split=True)
    above = plain(content, snapshotter, second, base, split=False)
    plain(content, snapshotter, second, base, split=True)  # it takes the split over
    alone = plain(content, snapshotter, second, None, split=False)
    say(f"~ layer {above}")
    content.detach(above, Digest.of(second))  # it moves
    free = snapshotter.remove_layer(above)
    say(f"- layer {above}")
    assert free is not None
    free()
    say(f"~ layer {base}")
    content.detach(base, Digest.of(first))  # it becomes a blob
    free = snapshotter.remove_layer(base)
    say(f"- layer {base}")
    assert free is not None
    free()
    for stream in PLAIN:
        say(f"~ content {Digest.of(stream)}")
        content.delete(Digest.of(stream))
        say(f"- content {Digest.of(stream)}")
    say(f"~ layer {alone}")
    free = snapshotter.remove_layer(alone)
    say(f"- layer {alone}")
    assert free is not None
    free()


def main(root: Path, when: int) -> None:
    database = Database(root / "corten.db")
    snapshotter = overlay_snapshotter(root)
    content = ContentStore(root / "content", snapshotter.layers)
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
    plain_layers(content, snapshotter)
    say("end")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
