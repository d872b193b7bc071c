"""Docker's stream framing: how stdout and stderr share one connection when there is no terminal; pure."""

import struct


def frame(stream: str, data: bytes) -> bytes:
    """Type (1 stdout, 2 stderr), three zero bytes, length, payload (API reference, "Attach to a container")."""
    return struct.pack(">BxxxI", 2 if stream == "stderr" else 1, len(data)) + data
