"""libnftables(3) by ctypes: whole rule sets as text, in one transaction, without a process.

Owns the library's handle. Refuses to know any rule. Loaded on first use (3.5 ms, 2 MB), so that a process that never
publishes a port does not carry it.
"""

from __future__ import annotations

import ctypes
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

LIBRARY: Final = "libnftables.so.1"
NFT_CTX_DEFAULT: Final = 0
NFT_CTX_OUTPUT_JSON: Final = 1 << 4


class NftablesError(OSError):
    """The rule set was refused; the text is libnftables' own."""


def load() -> ctypes.CDLL:
    """The library with its prototypes; OSError when the host has none."""
    library = ctypes.CDLL(LIBRARY)
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    library.nft_ctx_free.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_free.restype = None
    library.nft_ctx_buffer_output.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_buffer_error.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_output_buffer.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = (ctypes.c_void_p, ctypes.c_uint)
    library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    return library


def run(commands: str, *, json_output: bool = False) -> str:
    """Run nft(8) commands as one transaction and return what they print; NftablesError with nft's explanation."""
    library = load()
    context = library.nft_ctx_new(NFT_CTX_DEFAULT)
    if not context:
        raise NftablesError("libnftables gave no context")
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        if json_output:
            library.nft_ctx_output_set_flags(context, NFT_CTX_OUTPUT_JSON)
        status = library.nft_run_cmd_from_buffer(context, commands.encode())
        if status != 0:
            error = library.nft_ctx_get_error_buffer(context) or b""
            raise NftablesError(error.decode("utf-8", "replace").strip() or "nftables refused the rules")
        return (library.nft_ctx_get_output_buffer(context) or b"").decode()
    finally:
        library.nft_ctx_free(context)


def query(command: str) -> list[dict[str, Any]]:
    """The objects a listing command gives, as nft's JSON schema has them (libnftables-json(5))."""
    output = run(command, json_output=True)
    objects: list[dict[str, Any]] = json.loads(output)["nftables"] if output else []
    return objects
