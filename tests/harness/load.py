"""Many clients at once against one engine: every one does the same round of requests until the time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.api import Api

HOST = {"NetworkMode": "none"}


@dataclass
class Report:
    """Rounds done, what failed, and how long a ping beside the load took (ms)."""

    rounds: int = 0
    failures: list[str] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Of the pings."""
        ordered = sorted(self.pings)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def one_round(api: Api, steady: str) -> None:
    """List, inspect, run an exec in a steady container, and one container from create to remove."""
    api.call("GET", "/containers/json")
    api.call("GET", f"/containers/{steady}/json")
    made = api.call("POST", f"/containers/{steady}/exec", {"Cmd": ["true"]})["Id"]
    api.call("POST", f"/exec/{made}/start", {"Detach": True})
    own = api.run(["true"], HOST)
    api.call("POST", f"/containers/{own}/wait")
    api.call("DELETE", f"/containers/{own}?force=1")


def generate(
    socket: str, steady: list[str], *, clients: int, seconds: float, work: Callable[[Api, str], None] = one_round
) -> Report:
    """``clients`` threads for ``seconds``; one more pings all the while."""
    report = Report()
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        api = Api(socket)
        while time.monotonic() < end:
            try:
                work(api, steady[number % len(steady)])
            except Exception as exc:
                with lock:
                    report.failures.append(f"{type(exc).__name__}: {exc}")
                api = Api(socket)
            else:
                with lock:
                    report.rounds += 1
        api.close()

    def ping() -> None:
        api = Api(socket)
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                api.call("GET", "/_ping", raw=True)
            except Exception as exc:
                with lock:
                    report.failures.append(f"ping: {type(exc).__name__}: {exc}")
                return
            report.pings.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02)
        api.close()

    with ThreadPoolExecutor(clients + 1) as pool:
        pinging = pool.submit(ping)
        list(pool.map(client, range(clients)))
        pinging.result()
    return report
