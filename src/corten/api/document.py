"""JSON for the command line, which imports nothing below ``api``: see :mod:`corten.oci.document`."""

from corten.oci.document import decode, encode

__all__ = ["decode", "encode"]
