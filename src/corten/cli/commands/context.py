"""``context``: the engine addresses that the configuration knows by name, in the docker CLI's own store."""

from __future__ import annotations

import os
import sys

from corten.cli import config, contexts, listing
from corten.cli.listing import Layout
from corten.cli.options import Flag, parse_bool
from corten.client import jsontext
from corten.client.errors import ClientError
from corten.template.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from corten.cli.options import Options
    from corten.cli.session import Session
    from corten.client.jsontext import Document


def _endpoint_options(value: str) -> dict[str, str]:
    """``key=value,key=value``, each of them quoted where it holds a comma."""
    from corten.cli.creation.values import csv

    pairs: dict[str, str] = {}
    for pair in csv(value) or [""]:
        key, equals, word = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair} must be formatted as key=value")
        pairs[key] = word
    return pairs


UPDATE_FLAGS: Final = (
    Flag("description", "", "string", "Description of the context"),
    Flag(
        "docker",
        "",
        "stringToString",
        "Address: host=URL[,ca=FILE,cert=FILE,key=FILE,skip-tls-verify=BOOL]",
        shown="[]",
        check=_endpoint_options,
    ),
)
CREATE_FLAGS: Final = (*UPDATE_FLAGS, Flag("from", "", "string", "Create the context from a named context"))
INSPECT_FLAGS: Final = (Flag("format", "f", "string", "Format output: 'json' or a Go template"),)
RM_FLAGS: Final = (Flag("force", "f", "bool", "Force the removal of a context in use"),)
LS_FLAGS: Final = (
    Flag("format", "", "string", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
    Flag("quiet", "q", "bool", "Only show context names"),
)

_KIND: Final = "*formatter.clientContextContext"
_COLUMNS: Final = (
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
)
_HOST_WINS: Final = (
    "Warning: {name} environment variable overrides the active context. To use {context}, either set the global "
    "--context flag, or unset {name} environment variable."
)
_ERROR_WIDTH: Final = 45
_BAD_ENDPOINT: Final = "unable to create docker endpoint config"
_IN_MEMORY: Final = "<IN MEMORY>"
_PEMS: Final = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
_KEYS: Final = ("from", "host", *_PEMS, "skip-tls-verify")


def ls(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the list; the current context has a star in the table."""
    current = session.context_name()
    format_text = given.text("format")
    starred = format_text in ("", "table") and not given.flag("quiet")
    default = config.Context(
        config.DEFAULT_CONTEXT,
        host=session.default_host(),
        description=f"Current {session.host_variable()} based configuration",
    )
    known = sorted([default, *config.contexts(session.config.folder)], key=lambda found: found.name)
    rows = [_row(context, current=current, starred=starred) for context in known]
    if current not in {context.name for context in known}:
        rows.append(_row(config.Context(current), current=current, starred=starred, error=_missing(session, current)))
    sys.stdout.write(listing.render(Layout(_KIND, _COLUMNS, "Name", {}), rows, format_text, quiet=given.flag("quiet")))
    if config.environment("HOST") and current == config.DEFAULT_CONTEXT and not session.settings.context:
        session.complain(_HOST_WINS.format(name=session.host_variable(), context="a context"))
    return 0


def _missing(session: Session, name: str) -> str:
    try:
        config.context(session.config.folder, name)
    except ClientError as error:
        return listing.ellipsis(str(error), _ERROR_WIDTH)
    return ""


def _row(context: config.Context, *, current: str, starred: bool, error: str = "") -> Row:
    is_current = context.name == current
    values: dict[str, object] = {
        "Current": is_current,
        "Description": context.description,
        "DockerEndpoint": context.host,
        "Error": error,
        "Name": f"{context.name} *" if is_current and starred else context.name,
    }
    return Row(_KIND, {name: _constant(value) for name, value in values.items()})


def _constant(value: object) -> Callable[[], object]:
    return lambda: value


def show(session: Session, given: Options, arguments: list[str]) -> int:
    """Print the name of the current context."""
    name = session.context_name()
    if name != config.DEFAULT_CONTEXT and name not in {
        context.name for context in config.contexts(session.config.folder)
    }:
        raise ClientError(f'context "{name}" does not exist')
    session.print(name)
    return 0


def use(session: Session, given: Options, arguments: list[str]) -> int:
    """Make a context the current one."""
    (name,) = arguments
    if name != config.DEFAULT_CONTEXT:
        config.context(session.config.folder, name)
    _make_current(session, name)
    session.print(name)
    session.complain(f'Current context is now "{name}"')
    if name != config.DEFAULT_CONTEXT and config.environment("HOST"):
        session.complain(_HOST_WINS.format(name=session.host_variable(), context=f'"{name}"'))
    return 0


def _make_current(session: Session, name: str) -> None:
    wanted = "" if name == config.DEFAULT_CONTEXT else name
    if session.config.text("currentContext") == wanted:
        return
    if wanted:
        session.config.document["currentContext"] = wanted
    else:
        del session.config.document["currentContext"]
    session.config.write()


def inspect(session: Session, given: Options, arguments: list[str]) -> int:
    """Print contexts whole; the current one when none is named."""
    from corten.cli.commands.inspect import show as show_all

    look: Callable[[str], bytes] = lambda name: jsontext.go_encode(_document(session, name)).encode()  # noqa: E731
    names = arguments or [session.context_name()]
    return show_all(session, given.text("format"), [("context", look)], names, is_any=False)


def _document(session: Session, name: str) -> Document:
    folder = session.config.folder
    places = [config.context_folder(folder, part, name) for part in ("meta", "tls")]
    if name == config.DEFAULT_CONTEXT:
        found = config.Context(name, host=session.default_host())
        places = [_IN_MEMORY, _IN_MEMORY]
    else:
        found = config.context(folder, name)
    return {
        "Name": found.name,
        **contexts.metadata(found),
        "TLSMaterial": {"docker": sorted(os.listdir(found.tls))} if found.tls else {},
        "Storage": dict(zip(("MetadataPath", "TLSPath"), places, strict=True)),
    }


def create(session: Session, given: Options, arguments: list[str]) -> int:
    """Make a context, of an address or as a copy of another one."""
    (name,) = arguments
    contexts.check_new(session.config.folder, name)
    wanted = _pairs(given)
    if wanted and given.text("from"):
        raise ClientError("cannot use --docker flag when --from is set")
    made, pems = _described(session, wanted) if wanted else _copied(session, given.text("from"))
    if given.text("description") or wanted:
        made.description = given.text("description")
    contexts.write(session.config.folder, name, contexts.metadata(made), {contexts.DOCKER: pems})
    session.print(name)
    session.complain(f'Successfully created context "{name}"')
    return 0


def _pairs(given: Options) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for pairs in given.items("docker"):
        assert isinstance(pairs, dict)
        wanted.update(pairs)
    return wanted


def _copied(session: Session, name: str) -> tuple[config.Context, dict[str, bytes]]:
    """What the context ``name`` is, the current one's if it is empty."""
    name = name or session.context_name()
    if name == config.DEFAULT_CONTEXT:
        description = f"Current {session.host_variable()} based configuration"
        return config.Context(name, host=session.default_host(), description=description), {}
    found = config.context(session.config.folder, name)
    pems = sorted(os.listdir(found.tls)) if found.tls else []
    return found, {pem: _read(os.path.join(found.tls, pem)) for pem in pems}


def _described(session: Session, wanted: dict[str, str]) -> tuple[config.Context, dict[str, bytes]]:
    for key in wanted:
        if key not in _KEYS:
            raise ClientError(f"{_BAD_ENDPOINT}: unrecognized config key: {key}")
    if "from" in wanted:
        return _copied(session, wanted["from"])
    try:
        skip = parse_bool(wanted.get("skip-tls-verify") or "false")
    except ValueError:
        text = f'skip-tls-verify: parsing "{wanted["skip-tls-verify"]}": invalid syntax'
        raise ClientError(f"{_BAD_ENDPOINT}: {text}") from None
    pems = {pem: _read(wanted[key]) for key, pem in _PEMS.items() if wanted.get(key)}
    for key, pem in _PEMS.items():
        if pem in pems and b"-----BEGIN " not in pems[pem]:
            text = f"failed to retrieve context tls info: {wanted[key]} holds no PEM block"
            raise ClientError(f"{_BAD_ENDPOINT}: invalid docker endpoint options: {text}")
    return config.Context("", host=wanted.get("host", ""), skip_verify=skip), pems


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ClientError(f"{_BAD_ENDPOINT}: open {path}: {(error.strerror or '').lower()}") from error


def update(session: Session, given: Options, arguments: list[str]) -> int:
    """Change a context's description, or its address with all that belongs to it."""
    (name,) = arguments
    contexts.check_name(name)
    folder = session.config.folder
    document = contexts.read(folder, name)
    if given.text("description"):
        document["Metadata"] = {**document.get("Metadata", {}), "Description": given.text("description")}
    pems: dict[str, bytes] | None = None
    if wanted := _pairs(given):
        described, pems = _described(session, wanted)
        endpoints = contexts.metadata(described)["Endpoints"]
        document["Endpoints"] = {**document.get("Endpoints", {}), **endpoints}
    contexts.write(folder, name, document, {})
    if pems is not None:
        contexts.replace_keys(folder, name, pems)
    session.print(name)
    session.complain(f'Successfully updated context "{name}"')
    return 0


def rm(session: Session, given: Options, arguments: list[str]) -> int:
    """Remove contexts; one in use only by force, and then the default one is current."""
    failures = []
    current = session.context_name()
    for name in arguments:
        try:
            _remove(session, name, current=name == current, force=given.flag("force"))
        except ClientError as error:
            failures.append(str(error))
        else:
            session.print(name)
    for failure in failures:
        session.complain(failure)
    return 1 if failures else 0


def _remove(session: Session, name: str, *, current: bool, force: bool) -> None:
    if name == config.DEFAULT_CONTEXT:
        raise ClientError(f'context "{name}" cannot be removed')
    places = [config.context_folder(session.config.folder, part, name) for part in ("meta", "tls")]
    if not force and not os.path.exists(places[0]):
        raise ClientError(f'context "{name}" does not exist')
    if current and not force:
        raise ClientError(f'context "{name}" is in use, set -f flag to force remove')
    if session.config.text("currentContext") == name:
        _make_current(session, config.DEFAULT_CONTEXT)
    import shutil

    for place in places:
        shutil.rmtree(place, ignore_errors=True)
