"""Errors that may cross a package boundary.

Their texts are API: clients tell one failure from another by substring (docker-py looks for "No such image"), so
they follow Docker's wording where Docker has one, are lower case unless Docker's are not, and end without a full stop.

CortenError                500  something the engine did not expect
├── InvalidArgument        400  the request is wrong; the text names the field and the remedy
├── Unauthorized           401  a registry refused the credentials
├── Forbidden              403  the object may not be touched (a container that runs, a built-in network)
├── NotFound               404
│   ├── NoSuchContainer    404  No such container: NAME
│   ├── NoSuchExec         404  No such exec instance: ID
│   ├── NoSuchImage        404  No such image: NAME
│   ├── NoSuchNetwork      404  network NAME not found
│   └── NoSuchVolume       404  get NAME: no such volume
├── NotModified            304  already in the state that was asked for
├── Conflict               409
│   ├── NameInUse          409  the name is taken
│   └── InvalidTransition  409  the container's state does not allow it
├── TooManyRequests        429  a registry's rate limit; the text says when it ends
├── NotSupported           501  known to Docker, not built here yet; the text names the option
├── CorruptData            500  bytes do not match their digest or their format
├── Unavailable            503  the engine (or a registry) cannot serve this now
└── RuntimeFailure         400  the first process could not be started; `exit_code` is what a shell would say
    ├── CommandNotFound    400  exit code 127
    └── CommandNotInvocable 400 exit code 126

One table gives HTTP status, one gives exit codes; nothing else in the tree maps a class to a number.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final


class CortenError(Exception):
    """Base of all: ``str(error)`` is the text a user reads."""


class InvalidArgument(CortenError):
    """The request cannot be right, whatever the engine's state is."""


class Unauthorized(CortenError):
    """Credentials were missing or refused."""


class Forbidden(CortenError):
    """The object exists and may not be touched this way."""


class NotFound(CortenError):
    """Nothing has that name or id."""


class NoSuchContainer(NotFound):
    """``reference`` is what the client asked for, verbatim."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"No such container: {reference}")


class NoSuchExec(NotFound):
    """``exec_id`` is what the client asked for, verbatim."""

    def __init__(self, exec_id: str) -> None:
        super().__init__(f"No such exec instance: {exec_id}")


class NoSuchImage(NotFound):
    """``reference`` is what the client asked for, verbatim."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"No such image: {reference}")


class NoSuchNetwork(NotFound):
    """``reference`` is what the client asked for, verbatim."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"network {reference} not found")


class NoSuchVolume(NotFound):
    """``name`` is what the client asked for, verbatim."""

    def __init__(self, name: str) -> None:
        super().__init__(f"get {name}: no such volume")


class NotModified(CortenError):
    """The object is already in the state that was asked for."""


class Conflict(CortenError):
    """The request is right and the engine's state forbids it."""


class NameInUse(Conflict):
    """A container name is taken by the container with id ``holder``."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(
            f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )


class InvalidTransition(Conflict):
    """A container in ``status`` cannot take ``event``; the caller usually words it better for its verb."""

    def __init__(self, status: str, event: str) -> None:
        super().__init__(f"cannot {event} a container that is {status}")
        self.status = status
        self.event = event


class TooManyRequests(CortenError):
    """A registry's rate limit."""


class NotSupported(CortenError):
    """Docker has it, this engine does not yet; never silently ignored."""


class CorruptData(CortenError):
    """Bytes do not match their digest, their size or their format; nothing of them was kept."""


class Unavailable(CortenError):
    """Cannot be served at this moment."""


class RuntimeFailure(CortenError):
    """The first process of a container or an exec could not be started."""

    exit_code = 128


class CommandNotFound(RuntimeFailure):
    """The program does not exist in the container."""

    exit_code = 127


class CommandNotInvocable(RuntimeFailure):
    """The program exists and cannot be executed (permission, format, a directory)."""

    exit_code = 126


HTTP_STATUS: Final[Mapping[type[CortenError], int]] = {
    InvalidArgument: 400,
    RuntimeFailure: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    NotModified: 304,
    Conflict: 409,
    TooManyRequests: 429,
    NotSupported: 501,
    Unavailable: 503,
    CortenError: 500,
}

EXIT_CODE: Final[Mapping[type[CortenError], int]] = {
    CommandNotFound: 127,
    CommandNotInvocable: 126,
    CortenError: 125,
}


def http_status(error: BaseException) -> int:
    """The HTTP status of an error: that of the nearest class in its ancestry, 500 for what is not ours."""
    return next((HTTP_STATUS[kind] for kind in type(error).__mro__ if kind in HTTP_STATUS), 500)


def exit_code(error: BaseException) -> int:
    """The exit code of ``run`` and ``exec`` for an error: Docker's 125, 126 and 127."""
    return next((EXIT_CODE[kind] for kind in type(error).__mro__ if kind in EXIT_CODE), 125)
