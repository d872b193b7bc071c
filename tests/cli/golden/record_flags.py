"""Record every command of the docker CLI with its options, from what ``--help`` says.

Usage: ``python record_flags.py DOCKER OUTPUT.json``. Hidden options are not in it. The result is the reference of
tests/unit/cli/test_option_table.py.
"""

import json
import re
import subprocess
import sys

_OPTION = re.compile(r"  (?:-(\w), |    )--([a-z0-9-]+)(?: (\S+))?(?:  .*)?")
_GROUP = re.compile(r"(?:[A-Z]\w* )?Commands:")
#: CLI plugins have tables of their own.
PLUGINS = {"buildx", "compose"}


def read(docker, words=()):
    """Commands below ``words`` by their words, each with its options: [short, kind] by name."""
    text = subprocess.run([docker, *words, "--help"], capture_output=True, text=True, check=True).stdout
    commands, options, part = [], {}, ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            part = "commands" if _GROUP.fullmatch(line) else "options" if line == "Options:" else ""
        elif part == "commands" and (found := re.match(r"  ([a-z]+)\*?  ", line)):
            commands.append(found[1])
        elif part == "options" and (found := _OPTION.fullmatch(line)) and found[2] != "help":
            options[found[2]] = [found[1] or "", found[3] or "bool"]
    if not commands:
        return {" ".join(words): options}
    return {
        key: value for name in commands if name not in PLUGINS for key, value in read(docker, (*words, name)).items()
    }


if __name__ == "__main__":
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        rows = [f" {json.dumps(words)}: {json.dumps(options)}" for words, options in sorted(read(sys.argv[1]).items())]
        file.write("{\n" + ",\n".join(rows) + "\n}\n")
