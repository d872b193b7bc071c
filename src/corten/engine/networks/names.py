"""Names of an engine's kernel objects, so that several engines share one network namespace."""

import secrets


def bridge(instance: str) -> str:
    """The bridge: ``corten0``, or ``ct`` and the instance's six digits."""
    return f"ct{instance}" if instance else "corten0"


def table(instance: str) -> str:
    """The nftables table."""
    return f"corten_{instance}" if instance else "corten"


def veth() -> str:
    """The host side of a container's interface; at most 15 characters (IFNAMSIZ)."""
    return "ct" + secrets.token_hex(4)
