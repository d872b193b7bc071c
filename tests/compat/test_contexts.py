"""``context``: both command lines do the same to the same store, and say the same."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.harness.engine import REPOSITORY

from corten.tar import header, writer

PEM = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
PROGRAMS = {"docker": ["docker"], "corten": [sys.executable, "-m", "corten.cli"]}

SCRIPT: tuple[tuple[str, ...], ...] = (
    ("create", "one", "--docker", "host=tcp://h:2376,skip-tls-verify=true", "--description", "some <thing>"),
    ("create", "one", "--docker", "host=tcp://h:2376"),
    ("create", "default", "--docker", "host=unix:///x.sock"),
    ("create", "b d", "--docker", "host=unix:///x.sock"),
    ("create", "a"),
    ("create", "bad", "--docker", "nothing=unix:///x.sock"),
    ("create", "bad", "--docker", "host=unix:///x,ca=/nope"),
    ("create", "bad", "--docker", "skip-tls-verify=maybe,host=tcp://x"),
    ("create", "bad", "--docker", ""),
    ("create", "bad", "--docker", "host"),
    ("create", "bad", "--docker", "host=tcp://x", "--from", "one"),
    ("create", "bad", "--from", "nope"),
    ("create", "hostless", "--docker", "skip-tls-verify=true"),
    ("create", "copy", "--from", "one", "--description", "other"),
    ("create", "same", "--from", "one"),
    ("inspect", "one", "copy", "same", "hostless"),
    ("inspect", "nope", "one"),
    ("inspect", "-f", "json", "one"),
    ("inspect", "-f", "{{.Name}} {{.Endpoints.docker.Host}} {{json .TLSMaterial}}", "one"),
    ("ls", "-q"),
    ("use", "one"),
    ("show",),
    ("ls", "--format", "{{.Name}} {{.Current}} {{.DockerEndpoint}} {{.Error}}"),
    ("create", "fromcurrent"),
    ("inspect", "fromcurrent"),
    ("use", "nope"),
    ("use", "default"),
    ("show",),
    ("update", "one", "--description", "new"),
    ("inspect", "one"),
    ("update", "one", "--docker", "host=unix:///y.sock"),
    ("inspect", "one"),
    ("update", "one"),
    ("update", "one", "--docker", "bad=1"),
    ("update", "nope", "--description", "x"),
    ("update", "default", "--description", "x"),
    ("update", "b d"),
    ("update", "copy", "--docker", "from=one"),
    ("inspect", "copy"),
    ("export", "nope", "-"),
    ("export", "b d", "-"),
    ("import", "one", "/nope"),
    ("import", "default", "/nope"),
    ("import", "fresh", "/nope"),
    ("import", "fresh", "/dev/null"),
    ("import", "fresh"),
    ("use", "same"),
    ("rm", "same", "copy"),
    ("rm", "-f", "same", "nope", "default"),
    ("show",),
    ("rm",),
)


def play(name: str, config: Path, *arguments: str) -> tuple[int, str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "CORTEN_"))}
    result = subprocess.run(
        [*PROGRAMS[name], *arguments], env=kept | {"DOCKER_CONFIG": str(config)}, capture_output=True, text=True,
        check=False, cwd=REPOSITORY,
    )  # fmt: skip
    made = [text.replace(str(config), "CONFIG").replace("corten", "docker") for text in (result.stdout, result.stderr)]
    default = "unix:///run/docker/docker.sock", "unix:///var/run/docker.sock"
    return result.returncode, made[0].replace(*default), made[1]


def stored(config: Path) -> dict[str, tuple[int, str]]:
    """Mode and content of every file of the store."""
    return {
        str(path.relative_to(config)): (path.stat().st_mode, path.read_text() if path.is_file() else "")
        for path in sorted((config / "contexts").rglob("*"))
    }


def test_the_same_script_on_both(tmp_path: Path) -> None:
    for name in PROGRAMS:
        (tmp_path / name).mkdir()
    for words in SCRIPT:
        ours, theirs = (play(name, tmp_path / name, "context", *words) for name in ("corten", "docker"))
        assert ours == theirs, words
        assert stored(tmp_path / "corten") == stored(tmp_path / "docker"), words


def test_a_context_that_is_not_there(tmp_path: Path) -> None:
    ours, theirs = (play(name, tmp_path, "-c", "nope", "ps") for name in ("corten", "docker"))
    assert ours == theirs
    assert "unable to resolve docker endpoint" in ours[2]


@pytest.mark.parametrize("reader", sorted(PROGRAMS))
def test_keys_are_kept_where_the_other_one_looks_for_them(tmp_path: Path, reader: str) -> None:
    """Made by ours, read by both; nobody else may read them."""
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text(PEM)
    files = ",".join(f"{name}={tmp_path}/{name}.pem" for name in ("ca", "cert", "key"))
    config = tmp_path / "config"
    assert play("corten", config, "context", "create", "safe", "--docker", f"host=tcp://h:2376,{files}")[0] == 0
    shown = play(reader, config, "context", "inspect", "-f", "{{json .TLSMaterial}}", "safe")
    assert shown[1] == '{"docker":["ca.pem","cert.pem","key.pem"]}\n'
    modes = {mode & 0o777 for path, (mode, _) in stored(config).items() if path.startswith("contexts/tls")}
    assert modes == {0o700, 0o600}
    (tmp_path / "ca.pem").write_text("none")
    refused = play("corten", config, "context", "create", "bad", "--docker", f"host=tcp://h:2376,{files}")
    assert "invalid docker endpoint options: failed to retrieve context tls info" in refused[2]
    assert play("corten", config, "context", "rm", "safe") == (0, "safe\n", "")
    assert not any(path.count("/") > 1 for path in stored(config))


@pytest.mark.parametrize(("exporter", "reader"), [("docker", "corten"), ("corten", "docker")])
def test_what_one_exports_the_other_imports(tmp_path: Path, exporter: str, reader: str) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text(PEM)
    files = ",".join(f"{name}={tmp_path}/{name}.pem" for name in ("ca", "cert", "key"))
    one, other, archive = tmp_path / "one", tmp_path / "other", tmp_path / "safe.tar"
    made = ("context", "create", "safe", "--description", "a <b>", "--docker", f"host=tcp://h:2376,{files}")
    assert play("corten", one, *made)[0] == 0
    shown = str(archive).replace("corten", "docker")  # as play has it
    assert play(exporter, one, "context", "export", "safe", str(archive)) == (0, "", f'Written file "{shown}"\n')
    assert archive.stat().st_mode & 0o777 == 0o600
    again = play(exporter, one, "context", "export", "safe", str(archive))
    assert again == (1, "", f"open {shown}: file exists\n")
    taken = play(reader, other, "context", "import", "safe", str(archive))
    assert taken == (0, "safe\n", 'Successfully imported context "safe"\n')
    assert stored(other) == stored(one)
    assert play(reader, other, "context", "import", "named", str(archive))[0] == 0
    shown = play(reader, other, "context", "inspect", "-f", "{{.Name}} {{json .TLSMaterial}}", "named")
    assert shown[1] == 'named {"docker":["ca.pem","cert.pem","key.pem"]}\n'


HOSTILE = {
    "climbing": ("tls/docker/../../../../meta.json", b"x"),
    "deep": ("tls/docker/a/b", b"x"),
    "flat": ("tls/docker", b"x"),
    "stranger": ("etc/passwd", b"x"),
    "no-meta": ("tls/docker/ca.pem", b"x"),
    "bad-meta": ("meta.json", b"{"),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
@pytest.mark.parametrize("form", ["tar", "zip"])
def test_a_hostile_archive_is_refused_and_nothing_is_made(tmp_path: Path, kind: str, form: str) -> None:
    name, content = HOSTILE[kind]
    archive = tmp_path / "archive"
    if form == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr(name, content)
    else:
        entry = header.Entry(name.encode(), header.REGULAR, size=len(content))
        archive.write_bytes(writer.encode(entry) + content + writer.padding(len(content)) + writer.END)
    config = tmp_path / "config"
    code, output, complaint = play("corten", config, "context", "import", "taken", str(archive))
    assert (code, output) == (1, "")
    assert any(text in complaint for text in (
        "archive format is invalid", "unexpected context file", "no metadata found", "meta.json",
    ))  # fmt: skip
    assert not stored(config)


def test_a_zip_is_taken_too(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("meta.json", '{"Name":"x","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://z:1"}}}')
    for name in PROGRAMS:
        config = tmp_path / name
        assert play(name, config, "context", "import", "zipped", str(archive))[0] == 0
        shown = play(name, config, "context", "inspect", "-f", "{{.Endpoints.docker.Host}}", "zipped")
        assert shown[1] == "tcp://z:1\n"


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    config, archive = tmp_path / "config", tmp_path / "archive"
    assert play("corten", config, "context", "create", "whole", "--docker", "host=tcp://h:2376")[0] == 0
    assert play("docker", config, "context", "export", "whole", str(archive))[0] == 0
    content = archive.read_bytes()
    for length in (1, 511, 512, 550):
        archive.write_bytes(content[:length])
        for name in PROGRAMS:
            assert play(name, config, "context", "import", "cut", str(archive))[0] == 1, length
    assert play("corten", config, "context", "ls", "-q")[1] == "default\nwhole\n"


def test_an_update_keeps_what_means_nothing_to_it(tmp_path: Path) -> None:
    """Endpoints and fields of other programs, as an old docker CLI wrote them."""
    document = (
        '{"Name":"old","Metadata":{"Description":"a","StackOrchestrator":"swarm"},"Endpoints":'
        '{"docker":{"Host":"tcp://h:1","SkipTLSVerify":false},"kubernetes":{"Host":"https://k"}}}'
    )
    for name in PROGRAMS:
        config, archive = tmp_path / name, tmp_path / f"{name}.tar"
        entry = header.Entry(b"meta.json", header.REGULAR, size=len(document))
        archive.write_bytes(writer.encode(entry) + document.encode() + writer.padding(len(document)) + writer.END)
        assert play(name, config, "context", "import", "kept", str(archive))[0] == 0
        update = ("context", "update", "kept", "--description", "b", "--docker", "host=tcp://h:2")
        assert play(name, config, *update)[0] == 0
    ours, theirs = (stored(tmp_path / name) for name in ("corten", "docker"))
    assert ours == theirs
    assert any('"kubernetes"' in text and '"tcp://h:2"' in text for _, text in ours.values())
