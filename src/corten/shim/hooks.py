"""OCI hooks of the host for containers of the engine, one after the other beside the loop's other work.

What the runtime runs in the container's own process (createContainer, startContainer) is :mod:`corten.runtime.hooks`.
"""

from __future__ import annotations

from corten.errors import RuntimeFailure
from corten.oci.document import encode
from corten.shim import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from corten.shim.loop import Loop

    Then: TypeAlias = "Callable[[RuntimeFailure | None], None]"


def state(container_id: str, status: str, pid: int, bundle: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The OCI state document that hooks read on standard input."""
    found = {"ociVersion": spec.get("ociVersion", ""), "id": container_id, "status": status, "bundle": bundle}
    return {**found, **({"pid": pid} if pid else {}), "annotations": spec.get("annotations") or {}}


def run(loop: Loop, spec: dict[str, Any], kinds: Sequence[str], document: dict[str, Any], then: Then) -> None:
    """Run all hooks of ``kinds`` in order; ``then`` gets the first failure, after which no other is run, or None."""
    hooks = spec.get("hooks") or {}
    pending = [(kind, index, hook) for kind in kinds for index, hook in enumerate(hooks.get(kind) or ())]

    def step() -> None:
        if not pending:
            then(None)
            return
        kind, index, hook = pending.pop(0)
        where = f"error running {kind} hook #{index}: {hook['path']}"

        def ended(status: int, output: str) -> None:
            if status == 0:
                step()
                return
            words = "timed out" if status == program.TIMED_OUT else f"exit status {status}"
            then(RuntimeFailure(f"{where}: {words}{', output: ' + output if output else ''}"))

        try:
            program.run(
                loop, hook.get("args") or [hook["path"]], ended, path=hook["path"], text=encode(document).encode(),
                environment=dict(entry.partition("=")[::2] for entry in hook.get("env") or ()),
                timeout=hook.get("timeout") or 0,
            )  # fmt: skip
        except OSError as error:
            then(RuntimeFailure(f"{where}: {(error.strerror or '').lower()}"))

    step()
