"""``python -m corten.cli``: the same as ``corten``."""

from corten.cli.main import entry

entry()
