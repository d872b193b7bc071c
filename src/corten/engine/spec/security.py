"""``--security-opt`` taken apart; pure.

Owns Docker's grammar and its texts. What the host's kernel has for it is passed in.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from corten.errors import InvalidArgument, NotSupported

UNCONFINED: Final = "unconfined"
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Modules(msgspec.Struct, frozen=True):
    """The security modules of the kernel that is running."""

    apparmor: bool = False
    selinux: bool = False


class SecurityOptions(msgspec.Struct, kw_only=True):
    """``seccomp`` is ``""`` (default), ``unconfined`` or a profile's JSON text; ``apparmor`` a loaded profile's name;
    ``writable_cgroups`` is None when nobody said.
    """

    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    labels: list[str] = []
    writable_cgroups: bool | None = None

    @property
    def apparmor_profile(self) -> str:
        """OCI ``process.apparmorProfile``."""
        return "" if self.apparmor == UNCONFINED else self.apparmor


def parse_security(options: Sequence[str], *, no_new_privileges: bool) -> SecurityOptions:
    """Docker's ``key=value`` and the older ``key:value``.

    Raises:
        InvalidArgument: no such option, with Docker's text.
    """
    result = SecurityOptions(no_new_privileges=no_new_privileges)
    for option in options:
        if option == "no-new-privileges":
            result.no_new_privileges = True
            continue
        key, separator, value = option.partition("=")
        if not separator:
            key, separator, value = option.partition(":")
        if not separator:
            raise InvalidArgument(f'invalid --security-opt 1: "{option}"')
        _set(result, option, key, value)
    return result


def _set(result: SecurityOptions, option: str, key: str, value: str) -> None:
    if key == "no-new-privileges":
        result.no_new_privileges = _boolean(option, value)
    elif key == "writable-cgroups":
        result.writable_cgroups = _boolean(option, value)
    elif key == "seccomp":
        result.seccomp = "" if value == "builtin" else value
    elif key == "apparmor":
        result.apparmor = value
    elif key == "label":
        result.labels = [*result.labels, value]
    else:
        raise InvalidArgument(f'invalid --security-opt 2: "{option}"')


def _boolean(option: str, value: str) -> bool:
    if value not in _TRUE | _FALSE:
        raise InvalidArgument(f'invalid --security-opt 2: "{option}"')
    return value in _TRUE


def check_modules(options: SecurityOptions, modules: Modules) -> None:
    """Refuse confinement that this host's kernel cannot give: a container would run without it.

    Raises:
        NotSupported: which option, and what is missing.
    """
    if options.apparmor_profile and not modules.apparmor:
        raise NotSupported(
            f"--security-opt apparmor={options.apparmor} is not supported: AppArmor is not enabled on this host"
        )
    for label in options.labels:
        if label != "disable":
            lack = "the engine does not label yet" if modules.selinux else "SELinux is not enabled on this host"
            raise NotSupported(f"--security-opt label={label} is not supported: {lack}")
