"""How the server names itself in every response; pure."""

from functools import lru_cache
from importlib import metadata
from typing import Final

from corten.api.version import MAXIMUM

#: What clients read as "which moby is this": they compare features by ApiVersion, never by this text.
PRODUCT: Final = "Docker"


@lru_cache(maxsize=1)
def version() -> str:
    """The installed package's version."""
    try:
        return metadata.version("corten")
    except metadata.PackageNotFoundError:
        return "0.0.0"


@lru_cache(maxsize=1)
def response_headers() -> tuple[tuple[str, str], ...]:
    """On every response, errors included."""
    return (
        ("Api-Version", str(MAXIMUM)),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        ("Server", f"{PRODUCT}/{version()} (linux)"),
    )
