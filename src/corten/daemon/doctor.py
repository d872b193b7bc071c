"""``corten doctor``: what this host gives, and what each lack costs; with ``--fsck``, whether a data root is whole.

Run as ``python -m corten.daemon.doctor [--fsck [--repair]] [--json] [--data-root DIR]``. Exit code 1 when something an
engine cannot do without is missing, or something stored is damaged or missing, else 0. It needs no engine and changes
nothing, but for marks on damaged pieces of a store; ``--repair`` does what :mod:`corten.engine.repair` says.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from corten.engine import fsck
from corten.engine import host as hosts
from corten.engine import repair as repairs
from corten.errors import CortenError

OK: Final = "ok"
LACK: Final = "lack"
FATAL: Final = "fatal"
DISK_LOW: Final = 2 << 30
FORWARDING: Final = {True: "on", False: "off", None: "unknown"}


class Finding(msgspec.Struct, frozen=True):
    """One line of the report: ``level`` is ok, lack (something costs) or fatal (no container can run)."""

    topic: str
    level: str
    found: str
    cost: str = ""


def diagnose(host: hosts.Host) -> list[Finding]:
    """Every topic, in the order a reader wants them; pure."""
    return [
        _kernel(host),
        Finding("user", OK if host.root else LACK, "root" if host.root else f"uid {os.geteuid()}",
                "" if host.root else "rootless operation is not available yet; run the engine as root"),
        *_cgroups(host.cgroups),
        _namespaces(host),
        _needs("user namespaces", bool(host.max_user_namespaces), str(host.max_user_namespaces or "none"),
               "no user-namespace isolation and no rootless operation"),
        _needs("overlayfs", host.overlayfs, "yes" if host.overlayfs else "no",
               "every container gets a full copy of its image: slow, and much disk"),
        _fatal("seccomp", host.seccomp, "containers would run with every system call allowed"),
        _fatal("libseccomp", host.libseccomp, "no seccomp profile can be compiled: install libseccomp2"),
        _needs("nftables", host.nftables, "yes" if host.nftables else "no", "no published ports and no outgoing NAT"),
        _needs("libnftables", host.libnftables, "yes" if host.libnftables else "no",
               "no published ports and no outgoing NAT: install libnftables1"),
        _needs("bridge", host.bridge is not False and host.bridge is not None, "yes" if host.bridge else "unknown",
               "no bridge networks unless the kernel loads the module on demand; --network host and none work"),
        _needs("mandatory access control", host.apparmor or host.selinux, _mac(host),
               "one line of defence less; namespaces, capabilities and seccomp still hold"),
        _needs("CAP_SYS_RESOURCE", host.sys_resource, "yes" if host.sys_resource else "no",
               "resource limits above the engine's own cannot be granted; such requests start with the engine's limit"),
        _limit("open files", host.open_files, 4096, "about four descriptors are used per running container"),
        _limit("processes", host.processes, 4096, "containers share this number"),
        _needs("IP forwarding", host.ip_forward is not False, FORWARDING[host.ip_forward],
               "containers reach nothing outside until the engine turns it on at its start"),
        _needs("disk", host.disk_free > DISK_LOW, f"{_size(host.disk_free)} free of {_size(host.disk_total)}",
               "images will not fit: free some space or move --data-root"),
        Finding("systemd", OK, "yes" if host.systemd else "no: the engine is started by hand or by the CLI"),
    ]  # fmt: skip


def _kernel(host: hosts.Host) -> Finding:
    found = f"Linux {host.kernel} {host.architecture}"
    if hosts.kernel_version(host.kernel) < hosts.OLDEST_KERNEL:
        return Finding("kernel", FATAL, found, "Linux 5.10 or later is needed")
    if host.architecture not in ("x86_64", "aarch64"):
        return Finding("kernel", FATAL, found, "only x86-64 and arm64 are supported")
    return Finding("kernel", OK, found)


def _cgroups(groups: hosts.Cgroups) -> list[Finding]:
    if not groups.version:
        return [Finding("cgroup", LACK, "not mounted", "no resource limit works")]
    missing = [name for name in hosts.WANTED_CONTROLLERS if name not in groups.controllers]
    version = {"2": "v2", "1": "v1", "hybrid": "v1 with an empty v2"}[groups.version]
    cost = f"limits of {', '.join(missing)} have no effect" if missing else ""
    return [
        Finding("cgroup", OK, version),
        Finding("cgroup controllers", LACK if missing else OK, " ".join(sorted(groups.controllers)), cost),
    ]


def _namespaces(host: hosts.Host) -> Finding:
    missing = sorted(set(hosts.NAMESPACES) - host.namespaces)
    needed = [name for name in missing if name not in ("user", "cgroup")]
    found = " ".join(sorted(host.namespaces))
    if needed:
        return Finding("namespaces", FATAL, found, f"no container without {', '.join(needed)}")
    cost = f"no isolation of {', '.join(missing)}" if missing else ""
    return Finding("namespaces", LACK if missing else OK, found, cost)


def _needs(topic: str, there: bool, found: str, cost: str) -> Finding:
    return Finding(topic, OK, found) if there else Finding(topic, LACK, found, cost)


def _fatal(topic: str, there: bool, cost: str) -> Finding:
    return Finding(topic, OK, "yes") if there else Finding(topic, FATAL, "no", cost)


def _limit(topic: str, limit: tuple[int, int], wanted: int, cost: str) -> Finding:
    soft, hard = limit
    found = f"{'unlimited' if soft < 0 else soft} (hard {'unlimited' if hard < 0 else hard})"
    return _needs(f"limit of {topic}", soft < 0 or soft >= wanted, found, f"{cost}; raise it to {wanted} or more")


def _mac(host: hosts.Host) -> str:
    return "AppArmor" if host.apparmor else "SELinux" if host.selinux else "none"


def _size(number: int) -> str:
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.4g}{unit}"
        value /= 1000
    return f"{value:.4g}TB"


def render(findings: Sequence[Finding]) -> str:
    """The report as text: a mark, the topic, what was found, and below it what a lack costs."""
    width = max(len(finding.topic) for finding in findings)
    lines = []
    for finding in findings:
        mark = {OK: "  ", LACK: "! ", FATAL: "!!"}[finding.level]
        lines.append(f"{mark} {finding.topic:<{width}}  {finding.found}")
        if finding.cost:
            lines.append(f"   {'':<{width}}  -> {finding.cost}")
    lacks = sum(finding.level != OK for finding in findings)
    lines.append("")
    lines.append("nothing is missing" if not lacks else f"{lacks} of {len(findings)} lines want attention")
    return "\n".join(lines)


def render_fsck(report: fsck.Report) -> str:
    """What was found, worst first, and what was looked at."""
    order = (fsck.DAMAGED, fsck.MISSING, fsck.ORPHAN)
    lines = [
        f"{finding.kind:<8} {finding.text}"
        for finding in sorted(report.findings, key=lambda finding: order.index(finding.kind))
    ]
    checked = ", ".join(f"{number} {noun}" for noun, number in report.checked.items())
    verdict = f"{len(lines)} findings" if lines else "everything is whole"
    if report.in_use:
        verdict += "; an engine uses this data root, so what nobody names was not looked for"
    return "\n".join([*lines, f"checked {checked}: {verdict}"])


def main(arguments: Sequence[str]) -> int:
    """Read the host or the store and print the report; 0, 1 when something is badly wrong, or 2 for wrong arguments."""
    data_root = "/var/lib/corten"
    as_json = store = repair = False
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--json":
            as_json = True
        elif word == "--fsck":
            store = True
        elif word == "--repair":
            repair = True
        elif word == "--data-root" and rest:
            data_root = rest.pop(0)
        else:
            print(f"corten doctor: unknown argument: {word}", file=sys.stderr)
            return 2
    if repair and not store:
        print("corten doctor: --repair needs --fsck", file=sys.stderr)
        return 2
    if store:
        return _fsck(data_root, as_json=as_json, repair=repair)
    findings = diagnose(hosts.read(data_root))
    print(msgspec.json.encode(findings).decode() if as_json else render(findings))
    return 1 if any(finding.level == FATAL for finding in findings) else 0


def _fsck(data_root: str, *, as_json: bool, repair: bool) -> int:
    done: list[str] = []
    try:
        if repair:
            repaired = repairs.repair(data_root)
            report, done = repaired.report, repaired.done
        else:
            report = fsck.check(data_root)
            done = repairs.mark(report, data_root)
        remedies = repairs.advice(report, data_root)
    except (CortenError, OSError) as exc:
        print(f"corten doctor: {exc}", file=sys.stderr)
        return 1
    if as_json:
        document = {**msgspec.to_builtins(report), "done": done, "advice": remedies}
        print(msgspec.json.encode(document).decode())
    else:
        print("\n".join([*done, render_fsck(report), *(f"to do: {line}" for line in remedies)]))
    return 1 if any(finding.kind != fsck.ORPHAN for finding in report.findings) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
