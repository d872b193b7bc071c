"""The docker CLI runs the same script on Debian's dockerd and on Corten; what differs is known, or a defect.

Both are asked in dockerd's API version, so that a difference is one of behaviour.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.peers import DOCKERD, Dockerd
from tests.compat.transcripts import known, sdk
from tests.compat.transcripts.compare import Outcome, Tokens, differences
from tests.compat.transcripts.scripts import SCRIPTS
from tests.harness.engine import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.skipif(not os.path.exists(DOCKERD), reason="needs Debian's docker.io")]


class Side:
    """One engine, its answers, and the tokens of its transcript."""

    def __init__(self, host: str, config: Path, places: dict[str, str]) -> None:
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "CORTEN_"))},
            "DOCKER_HOST": host,
            "DOCKER_CONFIG": str(config),
            "DOCKER_CLI_HINTS": "false",
            "DOCKER_API_VERSION": "1.41",
        }
        self.host = host
        self.tokens = Tokens(places)

    def __call__(self, words: list[str]) -> Outcome:
        result = subprocess.run(
            ["docker", *words], env=self.environment, capture_output=True, text=True, errors="backslashreplace",
            timeout=60, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Outcome(result.returncode, _steady(words, result.stdout), result.stderr)


def _steady(words: list[str], out: str) -> str:
    """``diff`` lists in no order, a tar has times in it: lines sorted, and the tar's first name alone."""
    if words[0] == "diff":
        return "".join(sorted(out.splitlines(keepends=True)))
    return out.partition("\0")[0] if words[0] == "cp" and words[-1] == "-" else out


@pytest.fixture(scope="module")
def sides(busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    config = tmp_path_factory.mktemp("config")
    with Dockerd.running() as dockerd, EngineProcess.running("--insecure-registry", "127.0.0.1:5000") as engine:
        theirs = Side(dockerd.host, config, {str(dockerd.root / "data"): "data", str(dockerd.root / "exec"): "exec"})
        ours = Side(engine.host, config, {str(engine.data_root): "data", str(engine.exec_root): "exec"})
        for side in (theirs, ours):
            assert side(["import", str(busybox_tar), "busybox:latest"]).code == 0
        yield theirs, ours


@pytest.mark.parametrize("name", SCRIPTS)
def test_transcript(name: str, sides: tuple[Side, Side]) -> None:
    theirs, ours = sides
    unknown = []
    for line in filter(None, map(str.strip, SCRIPTS[name].splitlines())):
        words = shlex.split(line)
        if words[0] == "sleep":
            time.sleep(float(words[1]))
            continue
        outcomes = theirs(words), ours(words)
        unknown += [
            f"docker {line}\n    {found}"
            for found in differences(*outcomes, (theirs.tokens, ours.tokens))
            if not known.reason(name, line, found.where, found.ours)
        ]
    assert not unknown, "\n".join(unknown)


@pytest.mark.parametrize("name", sdk.STEPS)
def test_docker_py(name: str, sides: tuple[Side, Side]) -> None:
    theirs, ours = sides
    outcomes = [Outcome(0, json.dumps(sdk.outcome(sdk.STEPS[name], side.host)), "") for side in sides]
    unknown = [
        str(found)
        for found in differences(outcomes[0], outcomes[1], (theirs.tokens, ours.tokens))
        if not known.reason("docker-py", name, found.where, found.ours)
    ]
    assert not unknown, "\n".join(unknown)
