"""Killed before any call that changes the disk, the stores keep what they promised and lose only what they did not.

What a kill cannot show is a power cut: the order of syncs is reviewed, not tested, here.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corten.errors import NotFound
from corten.oci.digest import Digest
from corten.storage import gc, verify
from corten.storage.content import ContentStore
from corten.storage.metadata import Database
from corten.storage.snapshot import overlay_snapshotter
from corten.storage.volume import VolumeStore

pytestmark = pytest.mark.root

HERE = Path(__file__).parent


def run(root, when):
    """Let the worker run into its death; (whether it died, what it promised)."""
    path = os.pathsep.join(filter(None, (str(HERE.parents[2]), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run(
        [sys.executable, HERE / "crash_worker.py", root, str(when)], env=environment, capture_output=True, text=True
    )
    lines = result.stdout.splitlines()
    if result.returncode == 0:
        assert lines[-1] == "end"
        return False, lines
    assert result.returncode == -9, result.stderr
    return True, lines


def promises(lines):
    """What must be there, and what must not."""
    kept, gone = set(), set()
    for line in lines:
        sign, _, what = line.partition(" ")
        if sign == "+":
            kept.add(what)
        elif sign in "~-":
            kept.discard(what)
            if sign == "-":
                gone.add(what)
    return kept, gone


def check(root, lines):
    """Recover as the engine does at its start, then look at everything."""
    kept, gone = promises(lines)
    database = Database(root / "corten.db")
    snapshotter = overlay_snapshotter(root)
    content = ContentStore(root / "content", snapshotter.layers)
    volumes = VolumeStore(root / "volumes", database)
    for free in gc.recover(content, snapshotter, volumes):
        free()
    assert verify.content(content) == []
    streams = streams_by_diff()
    for chain in snapshotter.chains():
        assert snapshotter.has(chain)
        fs = snapshotter.lowers(chain)[0]
        diff_id = snapshotter.layers.get(chain).diff_id
        assert verify.layer([streams[diff_id]], fs) == []
    found = {f"content {digest}" for digest in content.walk()} | {f"layer {chain}" for chain in snapshotter.chains()}
    found |= {f"volume {volume.name}" for volume in volumes.list()}
    for container in snapshotter.containers():
        try:
            snapshotter.prepare(container, snapshotter.chain_of(container))
        except NotFound:  # half made: its record was never written
            snapshotter.remove(container)
        else:
            found.add(f"tree {container}")
    if "copied data" in kept and "volume data" in found:
        assert sorted(os.listdir(volumes.path("data"))) == ["one", "two"]
    kept.discard("copied data")
    assert kept <= found
    assert not gone & found
    for folder in ("layers", "snapshots", "volumes", "init"):
        names = os.listdir(root / folder) if (root / folder).exists() else []
        assert [name for name in names if name.startswith(".")] == []
    database.close()


def streams_by_diff():
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("crash_worker", HERE / "crash_worker.py")
    worker = module_from_spec(spec)
    spec.loader.exec_module(worker)
    return {str(Digest.of(layer)): layer for layer in (*worker.LAYERS, *worker.PLAIN)}


def crash_everywhere(tmp_path, start, step):
    when = start
    deaths = 0
    while True:
        root = tmp_path / str(when)
        root.mkdir()
        died, lines = run(root, when)
        check(root, lines)
        again, lines = run(root, 0)  # whatever happened, the same work can be done now
        assert not again
        check(root, lines)
        if not died:
            return deaths
        deaths += 1
        when += step


def test_killed_at_some_points(tmp_path):
    assert crash_everywhere(tmp_path, 2, 17) >= 5


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_before_every_call(tmp_path):
    assert crash_everywhere(tmp_path, 1, 1) >= 100
