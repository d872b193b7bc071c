"""``kill`` of a container whose runtime is not our own: the runtime knows which process is meant.

SIGKILL reaches the first process also when the runtime does not send it: nothing a user installs may keep a container
alive. Any other does when the runtime is gone or hangs, unless the process is a sandbox, which is not the one meant.
"""

from __future__ import annotations

import os

from corten import errors
from corten.linux import process
from corten.shim import freezing, program
from corten.shim.foreign import command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from corten.shim.supervisor import Supervisor
    from corten.shim.task import Task
    from corten.shim.zygote import Reply

_SIGKILL: Final = 9
_ABSENT: Final = (program.NOT_STARTED, program.TIMED_OUT)


def send(supervisor: Supervisor, subject: Task, number: int, reply: Reply) -> None:
    """Answered when the runtime's command has ended."""

    def ended(status: int, output: str) -> None:
        direct = number == _SIGKILL or (status in _ABSENT and not runtime.get("sealed"))
        try:
            if status:
                process.pidfd_send_signal(subject.pidfd, number if direct else 0)
        except OSError:  # closed with the task, or no such process
            reply.fail(errors.NotFound(f"the process of {subject.id} has ended"))
            return
        if number == _SIGKILL:
            freezing.release(supervisor, subject.cgroup)
        elif status and not direct:
            said = output or command.words(status)
            reply.fail(errors.RuntimeFailure(f"the runtime cannot send signal {number}: {said}"))
            return
        reply.succeed({})

    runtime, words = subject.runtime or {}, ("kill", subject.id, str(number))
    command.run(supervisor.loop, runtime, os.devnull, words, ended, timeout=command.SHORT_PATIENCE)
