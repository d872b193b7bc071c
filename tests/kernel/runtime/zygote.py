"""A small starter for tests: reads one JSON request on standard input, starts the container, prints what happened.

Runs as the shim does: one thread, only the runtime's own imports.
"""

from __future__ import annotations

import os
import sys

from corten.cgroup import hierarchy, shortage
from corten.cgroup.group import Group
from corten.linux import process
from corten.oci.runtime import decode, encode
from corten.runtime import container, seal


def entry() -> None:
    seal.seal(sys.orig_argv)
    request = decode(open(sys.argv[1], "rb").read())
    host = hierarchy.detect()
    group = Group.create(host, request["cgroup"], request["spec"]["linux"].get("resources") or {})
    messages = []
    netns = os.open(request["netns"], os.O_RDONLY) if request.get("netns") else None
    started = container.start(
        container.StartRequest(
            id="t",
            spec=request["spec"],
            rootfs=request["rootfs"],
            init=request.get("init", False),
            cgroup=group,
            netns=netns,
        )
    )
    while True:
        message, _ = container.receive(started.sync)
        if message is None:
            break
        if "mounts" not in message:
            messages.append(message)
    container.bury_builder(started)
    code, number = process.wait_exit(started.pidfd, block=True) or (255, 0)
    strangers = process.exit_of_stranger(started.pidfd)
    group.delete()
    print(
        encode(
            {"messages": messages, "code": code, "signal": number, "stranger": strangers, "oom": shortage.look(group)}
        )
    )
    sys.stdout.flush()
