"""TLS contexts: the system's roots plus what an administrator put into ``certs.d/<host>/``.

The layout is Docker's: ``*.crt`` are roots, ``*.cert`` with a ``*.key`` of the same stem is a client certificate
(docs.docker.com, "Verify repository client with certificates").
"""

import os
import ssl

from corten.errors import CortenError


def context_for(host: str, directory: str, *, verify: bool) -> ssl.SSLContext:
    """The context for ``host[:port]``; without ``verify`` any certificate is taken (an insecure registry)."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    folder = os.path.join(directory, host)
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return context
    for name in names:
        _load(context, folder, name, names)
    return context


def _load(context: ssl.SSLContext, folder: str, name: str, names: list[str]) -> None:
    path = os.path.join(folder, name)
    stem, extension = os.path.splitext(name)
    try:
        if extension == ".crt":
            context.load_verify_locations(path)
        elif extension == ".cert":
            if f"{stem}.key" not in names:
                raise CortenError(
                    f"missing key {stem}.key for client certificate {name}. CA certificates must use the extension .crt"
                )
            context.load_cert_chain(path, os.path.join(folder, f"{stem}.key"))
    except (ssl.SSLError, OSError) as exc:
        raise CortenError(f"cannot read registry certificate {path}: {exc}") from exc
