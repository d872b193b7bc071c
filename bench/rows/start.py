"""API create and start until the program is exec'd, against ``crun run -d`` and ``runc run -d`` of an equal bundle.

Equal means: the same root file system, the same program, capabilities, seccomp profile, masked paths, devices, memory
limit and namespaces; the peers' root is a plain directory where ours also mounts an overlay. All three are timed from
the request to the moment their caller may go on: ours when ``start`` answers (the program has been exec'd), theirs when
``run -d`` returns (the same moment). Ours includes two HTTP requests and the record on disk.

Then command against command: ``corten-runtime run`` and ``runc run`` of a program that ends at once.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.api import Api
from bench.measure import Row, interleave, milliseconds
from bench.peers import Pair, volatile

ROUNDS = 40
MEMORY = 64 << 20


def bundle(root: Path, busybox_tar: Path, config: dict[str, object]) -> Path:
    """A bundle directory with an unpacked root and ``config``."""
    folder = root / "bundle"
    (folder / "rootfs").mkdir(parents=True)
    subprocess.run(["tar", "-C", str(folder / "rootfs"), "-xf", str(busybox_tar)], check=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def equal_config(pair: Pair) -> dict[str, object]:
    """The configuration that Debian's dockerd hands to runc for the same container: taken from dockerd itself."""
    pair.docker(
        "run", "-d", "--name", "pattern", "--network", "none", "--memory", str(MEMORY), "busybox", "sleep", "3600"
    )
    identifier = pair.docker("inspect", "-f", "{{.Id}}", "pattern").strip()
    found = next(pair.dockerd.root.glob(f"exec/**/{identifier}/config.json"))
    config: dict[str, object] = json.loads(found.read_text())
    pair.docker("rm", "-f", "pattern")
    config.pop("hooks", None)
    config["root"] = {"path": "rootfs"}
    mounts = config["mounts"]
    assert isinstance(mounts, list)
    config["mounts"] = [mount for mount in mounts if not str(mount["source"]).startswith("/")]
    return config


def start(pair: Pair, busybox_tar: Path, scratch: Path) -> Iterator[Row]:
    """One container at a time: start it, then remove it outside the measured time."""
    folder = bundle(scratch, busybox_tar, equal_config(pair))
    short = scratch / "short"
    short.mkdir()
    config = json.loads((folder / "config.json").read_text())
    config["process"]["args"] = ["true"]
    config["root"] = {"path": str(folder / "rootfs")}
    (short / "config.json").write_text(json.dumps(config))
    states = scratch / "states"
    volatile(states)
    api = Api(str(pair.engine.socket))
    # crun refuses the hybrid layout; in this private mount namespace its v2 part can be hidden from both runtimes.
    hidden = ["unshare", "--mount", "sh"]
    shell = subprocess.Popen(hidden, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write("umount /sys/fs/cgroup/unified 2>/dev/null\n")

    def tell(command: str) -> None:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(f"{command} </dev/null >{scratch}/out 2>&1; echo $?\n")
        shell.stdin.flush()
        code = shell.stdout.readline().strip()
        assert code == "0", f"{command}: {(scratch / 'out').read_text()}"

    def peer(runtime: str) -> float:
        spent = milliseconds(
            lambda: tell(f"{runtime} --root {states}/{runtime} run -d --bundle {folder} bench-{runtime}")
        )
        tell(f"{runtime} --root {states}/{runtime} delete -f bench-{runtime}")
        return spent

    body = {"Image": "busybox", "Cmd": ["sleep", "3600"], "HostConfig": {"NetworkMode": "none", "Memory": MEMORY}}
    made: list[str] = []

    def create_and_start() -> None:
        made.append(api.call("POST", "/containers/create", body)["Id"])
        api.call("POST", f"/containers/{made[-1]}/start")

    def ours() -> float:
        spent = milliseconds(create_and_start)
        api.call("DELETE", f"/containers/{made[-1]}?force=1")
        return spent

    values = interleave({"corten": ours, "crun": lambda: peer("crun"), "runc": lambda: peer("runc")}, ROUNDS, warm_up=3)
    yield Row("API create+start until exec'd", "corten", "crun", 0.6, "ms", values)
    yield Row("the same", "corten", "runc", 0.3, "ms", values)
    programs = {"corten-runtime": str(Path(sys.executable).with_name("corten-runtime")), "runc": "runc"}

    def whole(name: str) -> float:
        """The whole life of a container that ends at once, as ``run`` does it in the foreground."""
        return milliseconds(
            lambda: tell(f"{programs[name]} --root {states}/{name} run --bundle {short} short-{name} </dev/null")
        )

    values = interleave({name: (lambda name=name: whole(name)) for name in programs}, ROUNDS, warm_up=3)
    yield Row("corten-runtime run of true", "corten-runtime", "runc", 1.5, "ms", values)
    shell.stdin.close()
    shell.wait()
    subprocess.run(["umount", str(states)], check=True)
    shutil.rmtree(folder)
