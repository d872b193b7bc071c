"""The sockets the API is served on: opened from ``-H`` words.

Owns modes, groups and stale socket files, and the warning about an open TCP socket. Refuses to know what is served.
"""

import grp
import logging
import os
import socket
import ssl
import stat
from collections.abc import Sequence
from typing import Final, NamedTuple

from corten.daemon.settings import DEFAULT_GROUP, Tls
from corten.errors import InvalidArgument, Unavailable

_log: Final = logging.getLogger(__name__)

#: systemd passes sockets from here on: sd_listen_fds(3).
_FIRST_PASSED: Final = 3
DEFAULT_PORT: Final = 2375
DEFAULT_TLS_PORT: Final = 2376


class Listener(NamedTuple):
    """A bound socket; ``path`` is the file to remove at the end, empty for all but our own unix sockets."""

    socket: socket.socket
    tls: ssl.SSLContext | None
    path: str


def open_all(hosts: Sequence[str], *, group: str | None, tls: Tls | None) -> list[Listener]:
    """One listener per word (``fd://`` may give several).

    Raises:
        InvalidArgument: a word or a TLS file is wrong.
        Unavailable: an address is taken.
    """
    context = tls_context(tls) if tls is not None else None
    found: list[Listener] = []
    try:
        for host in hosts:
            found += _open(host, group, context)
    except BaseException:
        close_all(found)
        raise
    return found


def _open(host: str, group: str | None, context: ssl.SSLContext | None) -> list[Listener]:
    scheme, separator, address = host.partition("://")
    if not separator:
        scheme, address = "tcp", host
    if scheme == "unix":
        return [_unix(address, group)]
    if scheme == "tcp":
        return [_tcp(address, context)]
    if scheme == "fd":
        return _passed(address)
    raise InvalidArgument(f"invalid bind address ({host}): use unix://, tcp:// or fd://")


def close_all(listeners: Sequence[Listener]) -> None:
    """Close them and remove our socket files."""
    for listener in listeners:
        listener.socket.close()
        if listener.path:
            try:
                os.unlink(listener.path)
            except FileNotFoundError:
                pass


def _unix(path: str, group: str | None) -> Listener:
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid bind address (unix://{path}): the path must be absolute")
    if len(os.fsencode(path)) > 107:
        raise InvalidArgument(f"invalid bind address (unix://{path}): longer than 107 bytes, see unix(7)")
    owner = _group_id(group)
    os.makedirs(os.path.dirname(path), 0o711, exist_ok=True)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX)
    previous = os.umask(0o177)
    try:
        sock.bind(path)
    except OSError as exc:
        sock.close()
        raise Unavailable(f"can't create unix socket {path}: {exc.strerror}") from exc
    finally:
        os.umask(previous)
    os.chown(path, 0, owner)
    os.chmod(path, 0o660)
    sock.listen(1024)
    return Listener(sock, None, path)


def _remove_stale(path: str) -> None:
    """A socket file that nobody serves is what a crash left; anything else is not ours to remove."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise Unavailable(f"can't create unix socket {path}: it exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            pass
        else:
            raise Unavailable(f"can't create unix socket {path}: an engine answers on it; stop that one first")
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _group_id(group: str | None) -> int:
    """The group that may use the socket; only a missing default is forgiven, as by dockerd."""
    name = DEFAULT_GROUP if group is None else group
    if not name:
        return 0
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if group is not None:
            raise InvalidArgument(f"group {name} not found: create it or name another with --group") from None
        _log.info("group %s not found: the socket is for root alone", name)
        return 0


def _tcp(address: str, context: ssl.SSLContext | None) -> Listener:
    host, _, port = address.rpartition(":") if not address.endswith("]") else (address, "", "")
    host = (host if ":" in address else address).strip("[]") or "127.0.0.1"
    default = DEFAULT_PORT if context is None else DEFAULT_TLS_PORT
    number = default if ":" not in address or not port else int(port) if port.isdigit() else -1
    if not 0 <= number < 65536:
        raise InvalidArgument(f"invalid bind address (tcp://{address}): the port is not a number below 65536")
    if context is None:
        _log.warning(
            "[DEPRECATION NOTICE] API is accessible on tcp://%s:%d without encryption. Access to the remote API is "
            "equivalent to root access on the host: use --tlsverify, or listen on the unix socket only",
            host,
            number,
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return Listener(socket.create_server((host, number), family=family, backlog=1024), context, "")
    except OSError as exc:
        raise Unavailable(f"listen tcp {host}:{number}: {exc.strerror or exc}") from exc


def _passed(address: str) -> list[Listener]:
    """Sockets of systemd's activation; ``fd://`` and ``fd://*`` take all, ``fd://3`` one."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit() or count == "0":
        raise Unavailable("no sockets found via socket activation: make sure the service was started by systemd")
    numbers = list(range(_FIRST_PASSED, _FIRST_PASSED + int(count)))
    if address not in ("", "*"):
        if not address.isdigit() or int(address) not in numbers:
            raise InvalidArgument(f"failed to find activated socket: {address}")
        numbers = [int(address)]
    for number in numbers:
        os.set_inheritable(number, False)
    return [Listener(socket.socket(fileno=number), None, "") for number in numbers]


def tls_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or later; with ``verify`` a client must show a certificate of the CA.

    Raises:
        InvalidArgument: a file is missing or is no certificate; the text names the files.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.verify:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(tls.ca)
    except (OSError, ssl.SSLError) as exc:
        raise InvalidArgument(
            f"could not load TLS files (certificate {tls.certificate}, key {tls.key}, CA {tls.ca}): {exc}"
        ) from exc
    return context
