"""``inspect`` of every kind of object: indented JSON, or a template per object."""

from __future__ import annotations

import sys

from corten.cli.options import Flag
from corten.cli.session import CommandFailed
from corten.client.errors import ClientError, ResponseError
from corten.client.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from corten.cli.options import Options
    from corten.cli.session import Session
    from corten.client.transport import Client
    from corten.template.engine import Template

    Look = Callable[[str], bytes]

_FORMAT: Final = Flag("format", "f", "string", "Format output: 'json' or a Go template")
INSPECT_FLAGS: Final = (
    _FORMAT,
    Flag("size", "s", "bool", "Display total file sizes if the type is container"),
    Flag("type", "", "string", "Only inspect objects of the given type"),
)
CONTAINER_FLAGS: Final = (_FORMAT, Flag("size", "s", "bool", "Display total file sizes"))
IMAGE_FLAGS: Final = (_FORMAT, Flag("platform", "", "string", "Inspect a specific platform of a multi-platform image"))
NETWORK_FLAGS: Final = (_FORMAT, Flag("verbose", "v", "bool", "Verbose output for diagnostics"))
VOLUME_FLAGS: Final = (_FORMAT,)

#: Where each type is looked for, in the order they are tried when no type is given.
_PATHS: Final = {"container": "/containers/{}/json", "image": "/images/{}/json", "network": "/networks/{}",
                 "volume": "/volumes/{}"}  # fmt: skip
#: Types that Docker's swarm mode and plugins have and an engine without them cannot find.
_ABSENT: Final = ("config", "node", "plugin", "secret", "service", "task")


def inspect(session: Session, given: Options, arguments: list[str]) -> int:
    """Objects of any type, the first that has the name."""
    kind = given.text("type")
    if "type" in given.changed and not kind:
        raise ClientError(f"type is empty: must be one of {_types()}")
    if kind in _ABSENT:
        raise ClientError(f"objects of type {kind} are not supported")
    if kind and kind not in _PATHS:
        raise ClientError(f'unknown type: "{kind}": must be one of {_types()}')
    looks = [(kind, _look(session.client, kind, size=given.flag("size")))] if kind else _all(session, given)
    return show(session, given.text("format"), looks, arguments, is_any=not kind)


def container(session: Session, given: Options, arguments: list[str]) -> int:
    """Containers."""
    return _one(session, given, "container", arguments, size=given.flag("size"))


def image(session: Session, given: Options, arguments: list[str]) -> int:
    """Images."""
    return _one(session, given, "image", arguments, platform=given.text("platform"))


def network(session: Session, given: Options, arguments: list[str]) -> int:
    """Networks."""
    return _one(session, given, "network", arguments, verbose=given.flag("verbose"))


def volume(session: Session, given: Options, arguments: list[str]) -> int:
    """Volumes."""
    return _one(session, given, "volume", arguments)


def _types() -> str:
    return ", ".join(f'"{name}"' for name in sorted((*_PATHS, *_ABSENT)))


def _all(session: Session, given: Options) -> list[tuple[str, Look]]:
    return [(kind, _look(session.client, kind, size=given.flag("size"))) for kind in _PATHS]


def _one(
    session: Session, given: Options, kind: str, arguments: list[str], *, size: bool = False, verbose: bool = False,
    platform: str = "",
) -> int:  # fmt: skip
    look = _look(session.client, kind, size=size, verbose=verbose, platform=platform)
    return show(session, given.text("format"), [(kind, look)], arguments, is_any=False)


def _look(client: Client, kind: str, *, size: bool = False, verbose: bool = False, platform: str = "") -> Look:
    query = {"size": "1" if size and kind == "container" else "", "verbose": "true" if verbose else "",
             "platform": platform_document(platform)}  # fmt: skip

    def look(name: str) -> bytes:
        # An image's name keeps its slashes: they are part of the path the API documents.
        return client.raw("GET", _PATHS[kind].format(quote(name, "/:@" if kind == "image" else "")), query)

    return look


def platform_document(platform: str) -> str:
    """``os/architecture[/variant]`` as the API wants it, empty for none."""
    if not platform:
        return ""
    from corten.api.document import encode

    names = ("os", "architecture", "variant")
    return encode(dict(zip(names, platform.split("/"), strict=False)))


def show(session: Session, format_text: str, looks: list[tuple[str, Look]], names: list[str], *, is_any: bool) -> int:
    """Print what was found, then say what was not; 1 when anything was not.

    ``looks`` give an object by its name, as JSON; ResponseError or ClientError when there is none.
    """
    printer = _Printer(format_text)
    failures: list[str] = []
    for name in names:
        try:
            kind, text = _find(looks, name, is_any=is_any)
            printer.add(text, kind)
        except ResponseError as error:
            failures.append(f"Error: {error.message}" if error.status == 0 else str(error))
        except ClientError as error:
            failures.append(str(error))
    sys.stdout.write(printer.text())
    for failure in failures:
        session.complain(failure)
    return 1 if failures else 0


def _find(looks: list[tuple[str, Look]], name: str, *, is_any: bool) -> tuple[str, bytes]:
    for kind, look in looks:
        try:
            return kind, look(name)
        except ResponseError as error:
            # A name that is no valid name of one type may be one of another.
            if not is_any or (error.status not in (400, 404, 501) and "not found" not in error.message):
                raise
    raise ClientError(f"Error: No such object: {name}")


class _Printer:
    """Collects the output of one command: a JSON array, JSON lines, or a template's lines."""

    def __init__(self, format_text: str) -> None:
        self._format = format_text
        self._documents: list[str] = []
        self._lines: list[str] = []
        self._template: Template | None = None if format_text in ("", "json") else self._parse(format_text)

    @staticmethod
    def _parse(format_text: str) -> Template:
        from corten.template.engine import Template
        from corten.template.tokens import ParseFailure

        try:
            return Template(format_text)
        except ParseFailure as error:
            raise CommandFailed(f"template parsing error: {error}", 64) from None

    def add(self, text: bytes, kind: str) -> None:
        """One object, as the engine wrote it."""
        from corten.client.jsontext import decode

        source = text.decode("utf-8", "surrogateescape").strip()
        if self._template is None:
            self._documents.append(source)
        else:
            self._lines.append(self._render(self._template, decode(text), kind))

    @staticmethod
    def _render(template: Template, document: Any, kind: str) -> str:
        """Docker executes on its own types first, and on the bare JSON when that fails."""
        from corten.template.engine import TemplateError
        from corten.template.values import NETWORK, PLAIN, Struct, untyped

        try:
            return template.render(Struct(document, NETWORK if kind == "network" else PLAIN))
        except TemplateError:
            pass
        try:
            return template.render(untyped(document), strict=True)
        except TemplateError as error:
            raise ClientError(f"template parsing error: {error}") from None

    def text(self) -> str:
        """All that is to be printed."""
        if self._template is not None:
            return "".join(f"{line}\n" for line in self._lines) or "\n"
        array = f"[{','.join(self._documents)}]\n"
        if self._format == "json" or not self._documents:
            return array
        from corten.client.jsontext import indent

        return indent(array) + "\n"
