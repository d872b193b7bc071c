"""``python -m corten.cli`` is ``corten``."""

from corten.cli.main import entry

if __name__ == "__main__":
    entry()
