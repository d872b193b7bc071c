"""The daemon's address flags as values: pure."""

from ipaddress import IPv4Interface, IPv4Network

from corten.engine.config import EngineConfig
from corten.errors import InvalidArgument, NotSupported


def check(config: EngineConfig) -> None:
    """Refuse flags that exclude each other or that have no effect here."""
    if config.bridge and config.bip:
        raise InvalidArgument("bridge and bip are mutually exclusive: the bridge you named has its own address")
    if config.default_gateway:
        raise NotSupported("default-gateway is not supported yet")
    bip(config)
    fixed_range(config)


def bip(config: EngineConfig) -> IPv4Interface | None:
    """``--bip``: the address and prefix length of the bridge; InvalidArgument when it is none."""
    if not config.bip:
        return None
    try:
        return IPv4Interface(config.bip)
    except ValueError as error:
        raise InvalidArgument(f"bip: {config.bip} is not an IPv4 address with a prefix length") from error


def fixed_range(config: EngineConfig) -> IPv4Network | None:
    """``--fixed-cidr``: the part of the subnet that containers get; InvalidArgument when it is none."""
    if not config.fixed_cidr:
        return None
    try:
        return IPv4Network(config.fixed_cidr)
    except ValueError as error:
        raise InvalidArgument(f"fixed-cidr: {config.fixed_cidr} is not an IPv4 subnet") from error
