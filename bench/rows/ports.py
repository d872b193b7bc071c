"""A published port: requests and bytes per second, from the host's own address."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

from bench.measure import Row, interleave
from bench.peers import Pair

SECONDS = 4
ROUNDS = 4
BODY = 64 << 20
CONFIG = "events {} http { access_log off; server { listen 80; root /srv; sendfile on; } }"


def ports(pair: Pair) -> Iterator[Row]:
    """nginx in the container, wrk outside; both engines publish on the same kind of path (DNAT to a bridge)."""
    script = (
        f"head -c {BODY} /dev/zero > /srv/big; echo small > /srv/small; "
        f"echo '{CONFIG}' > /etc/nginx/nginx.conf; exec nginx -g 'daemon off;'"
    )
    sides = {"corten": (pair.corten, 18001), "docker": (pair.docker, 18002)}
    address = {}
    for name, (engine, port) in sides.items():
        engine("run", "-d", "--name", "web", "-p", f"{port}:80", "nginx", "sh", "-c", script)
        gateway = engine("inspect", "-f", "{{.NetworkSettings.Gateway}}", "web").strip()
        address[name] = f"http://{gateway}:{port}"
    wait = [
        f"for i in $(seq 100); do wget -q -O /dev/null {url}/small && exit 0; sleep 0.1; done; exit 1"
        for url in address.values()
    ]
    for command in wait:
        subprocess.run(["sh", "-c", command], check=True)

    def load(url: str, connections: int, what: str) -> float:
        command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{SECONDS}s", url]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(rf"{what}:\s+([\d.]+)([kMGT]?)B?", text)
        assert found is not None, text
        return float(found[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[found[2]]

    small = {name: (lambda url=url: load(f"{url}/small", 16, "Requests/sec")) for name, url in address.items()}
    big = {name: (lambda url=url: load(f"{url}/big", 2, "Transfer/sec") / 1e6) for name, url in address.items()}
    yield Row(
        "published port, requests/s", "corten", "docker", 1.0, "1/s", interleave(small, ROUNDS), higher_is_better=True
    )
    yield Row(
        "published port, bytes/s", "corten", "docker", 1.0, "MB/s", interleave(big, ROUNDS), higher_is_better=True
    )
    for engine, _ in sides.values():
        engine("rm", "-f", "web")
