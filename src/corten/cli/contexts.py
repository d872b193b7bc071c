"""The docker CLI's own store of contexts, changed: names, descriptions, addresses and keys. What an address needs of it
is read by :mod:`corten.cli.config`."""

from __future__ import annotations

import os

from corten.cli import config
from corten.client import jsontext
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from corten.client.jsontext import Document

#: Of the endpoint every context has: its name in ``Endpoints`` and among the keys.
DOCKER: Final = "docker"
_NAME: Final = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"


def check_name(name: str) -> None:
    """Raises ClientError for a name no context can have."""
    allowed = set("_.+-")
    plain = name.isascii() and all(character.isalnum() or character in allowed for character in name)
    if name == config.DEFAULT_CONTEXT:
        raise ClientError(f'"{name}" is a reserved context name')
    if not plain or len(name) < 2 or not name[0].isalnum():
        raise ClientError(f'context name "{name}" is invalid, names are validated against regexp "{_NAME}"')


def check_new(folder: str, name: str) -> None:
    """Raises ClientError for a name no new context can have."""
    check_name(name)
    if os.path.exists(config.context_folder(folder, "meta", name)):
        raise ClientError(f'context "{name}" already exists')


def metadata(context: config.Context) -> Document:
    """What meta.json says beside the name."""
    address = {"Host": context.host} if context.host else {}
    endpoint = {**address, "SkipTLSVerify": context.skip_verify}
    described = {"Description": context.description} if context.description else {}
    return {"Metadata": described, "Endpoints": {DOCKER: endpoint}}


def read(folder: str, name: str) -> Document:
    """The whole of a context's meta.json, with endpoints and fields that mean nothing here. Raises ClientError."""
    config.context(folder, name)
    with open(os.path.join(config.context_folder(folder, "meta", name), "meta.json"), encoding="utf-8") as file:
        return jsontext.decode(file.read())


def write(folder: str, name: str, document: Document, keys: Mapping[str, Mapping[str, bytes]]) -> None:
    """(1) the keys, by endpoint and file  (2) meta.json, by a rename: a context without its keys is never seen."""
    for endpoint, files in keys.items():
        if files:
            _write_keys(folder, name, endpoint, files)  # (1)
    place = config.context_folder(folder, "meta", name)
    os.makedirs(place, exist_ok=True)
    path = os.path.join(place, "meta.json")
    with open(f"{path}.new", "w", encoding="utf-8") as text:
        others = {key: value for key, value in document.items() if key != "Name"}  # of an archive it may be another
        text.write(jsontext.go_encode({"Name": name, **others}))
    os.rename(f"{path}.new", path)  # (2)


def replace_keys(folder: str, name: str, files: Mapping[str, bytes]) -> None:
    """The keys of the endpoint every context has; those it had before are gone."""
    import shutil

    place = config.context_folder(folder, "tls", name)
    shutil.rmtree(os.path.join(place, DOCKER), ignore_errors=True)
    if files:
        _write_keys(folder, name, DOCKER, files)
    elif os.path.isdir(place) and not os.listdir(place):
        os.rmdir(place)


def _write_keys(folder: str, name: str, endpoint: str, files: Mapping[str, bytes]) -> None:
    place = config.context_folder(folder, "tls", name)
    os.makedirs(os.path.join(folder, "contexts"), exist_ok=True)
    for directory in (os.path.dirname(place), place, os.path.join(place, endpoint)):
        if not os.path.isdir(directory):
            os.mkdir(directory, 0o700)
    for file_name, content in files.items():
        path = os.path.join(place, endpoint, file_name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
