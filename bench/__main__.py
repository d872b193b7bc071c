"""``python -m bench [ROW...]``: every row of the table, or the groups named (see ``groups``)."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.harness.images import busybox_tar

from bench import disk
from bench.measure import Row, table
from bench.peers import Pair, pair
from bench.rows import commands, files, health, images, memory, output, overload, ports, scale, start, stats, stop

RESULTS = Path(__file__).parent / "results"


def groups(both: Pair, scratch: Path, busybox: Path) -> dict[str, Callable[[], Iterator[Row]]]:
    """Every group of rows by name, in the order of the table."""
    debian = Path(os.environ["CORTEN_TEST_ROOTFS"])
    return {
        "run": lambda: commands.run(both),
        "start": lambda: start.start(both, busybox, scratch),
        "exec": lambda: commands.exec_true(both),
        "ps": lambda: commands.ps(both),
        "parallel": lambda: commands.parallel(both),
        "memory": lambda: memory.memory(both),
        "images": lambda: images.images(both, debian, scratch),
        "logs": lambda: output.logs(both),
        "ends": lambda: output.ends(both),
        "cp": lambda: files.copies(both, scratch),
        "commit": lambda: files.commit(both, scratch),
        "ports": lambda: ports.ports(both),
        "stop": lambda: stop.stop(both),
        "stats": lambda: stats.stats(both),
        "health": lambda: health.health(both),
        "rate": lambda: scale.rate(both),
        "idle": lambda: scale.idle(both),
        "overload": lambda: overload.overload(both),
        "restart": lambda: scale.restart(busybox),
    }


def main(wanted: list[str]) -> int:
    """Run the groups asked for; the exit code is 0 whatever the figures say: a benchmark reports, it does not judge."""
    with disk.fresh() as described:
        rows = measure(wanted, described)
    print(table(rows))
    return 0


def keep(rows: list[Row], described: str) -> None:
    """Write what was measured so far: a run that is ended early has not run for nothing."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "host": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "disk": described,
        "python": platform.python_version(),
        "rows": [row.document() for row in rows],
    }
    (RESULTS / "latest.json").write_text(json.dumps(document, indent=1) + "\n")


def measure(wanted: list[str], described: str) -> list[Row]:
    """Every row of the groups asked for, each also shown as soon as it is there."""
    scratch = Path(tempfile.mkdtemp(prefix="bench-scratch-"))
    rows: list[Row] = []
    program = os.environ.get("CORTEN_BENCH_PROGRAM") or str(Path(sys.executable).with_name("corten"))
    try:
        busybox = busybox_tar(scratch / "busybox.tar")
        nginx = Path(os.environ.get("CORTEN_BENCH_NGINX", ""))
        with pair(program) as both:
            for engine in (both.docker_to_corten, both.docker):
                engine("import", str(busybox), "busybox:latest")
                if nginx.is_file():
                    engine("import", str(nginx), "nginx:latest")
            for name, group in groups(both, scratch, busybox).items():
                if wanted and name not in wanted:
                    continue
                for row in group():
                    rows.append(row)
                    print(table([row]).splitlines()[1], file=sys.stderr, flush=True)
                keep(rows, described)
    finally:
        shutil.rmtree(scratch)
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
