"""What an engine is stopped in the middle of: operations of clients, with what must hold afterwards.

Each scenario prepares, acts once with a client, and says what a client may see afterwards. ``told`` is whether the
client was told of success: then the operation is done for good. Else it is done or was never begun, and doing it again
works.
"""

from __future__ import annotations

from pathlib import Path

from tests.harness.engine import EngineProcess

PULLED = "127.0.0.1:5000/crash/busybox:latest"


class Scenario:
    """The default is one docker command, ``command``, after the commands ``before``; ``after`` clears away."""

    name = ""
    command: tuple[str, ...] = ()
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    outlives_power = True

    def __init__(self, engine: EngineProcess, archive: Path) -> None:
        self.engine = engine
        self.archive = archive

    def prepare(self) -> None:
        """Everything the operation needs."""
        for words in self.before:
            self.engine.docker(*words)

    def act(self) -> bool:
        """Do it; whether the client was told that it is done."""
        return self.engine.docker(*self.command, check=False).returncode == 0

    def done(self) -> bool:
        """Whether it is done, as a client sees it; asserts that it is not half done."""
        raise NotImplementedError

    def again(self) -> None:
        """Do it once more: it works."""
        if not self.done():
            self.engine.docker(*self.command)
        assert self.done()

    def clear(self) -> None:
        """Nothing of it remains."""
        for words in self.after:
            self.engine.docker(*words)

    def names(self, *command: str) -> list[str]:
        return self.engine.docker(*command).stdout.split()

    def runs(self, image: str) -> bool:
        """Whether an image is there; then containers can be made of it."""
        if self.engine.docker("image", "inspect", image, check=False).returncode:
            return False
        assert self.engine.docker("run", "--rm", image, "echo", "whole").stdout == "whole\n"
        return True


class Pull(Scenario):
    name = "pull"
    command = ("pull", "-q", PULLED)
    after = (("rmi", PULLED),)

    def done(self) -> bool:
        return self.runs(PULLED)

    def again(self) -> None:
        self.engine.docker(*self.command)
        assert self.done()


class Load(Scenario):
    name = "load"
    after = (("rmi", "loaded:latest"),)

    def act(self) -> bool:
        return self.engine.docker("load", "-q", "-i", str(self.archive), check=False).returncode == 0

    def done(self) -> bool:
        return self.runs("loaded:latest")

    def again(self) -> None:
        assert self.act()
        assert self.done()


class Import(Scenario):
    name = "import"
    before = (("create", "--name", "source", "busybox", "true"),)
    after = (("rm", "source"), ("rmi", "imported:latest"))

    @property
    def tree(self) -> Path:
        return self.engine.root / "tree.tar"

    def prepare(self) -> None:
        super().prepare()
        self.engine.docker("export", "-o", str(self.tree), "source")

    def act(self) -> bool:
        command = ("import", "-c", "ENV A=1", str(self.tree), "imported:latest")
        return self.engine.docker(*command, check=False).returncode == 0

    def done(self) -> bool:
        return self.runs("imported:latest")

    def again(self) -> None:
        assert self.act()
        assert self.done()


class Create(Scenario):
    name = "create"
    command = ("create", "--name", "made", "-v", "/anonymous", "-v", "named:/named", "busybox", "echo", "made")
    after = (("rm", "-f", "-v", "made"), ("volume", "rm", "-f", "named"))

    def done(self) -> bool:
        if "made" not in self.names("ps", "-a", "--format", "{{.Names}}"):
            return False
        assert self.engine.docker("start", "-a", "made").stdout == "made\n"
        return True


class Start(Scenario):
    name = "start"
    command = ("start", "sleeps")
    outlives_power = False
    before = (("create", "--name", "sleeps", "-p", "8000:80", "-v", "/data", "busybox", "sleep", "600"),)
    after = (("rm", "-f", "-v", "sleeps"),)

    def done(self) -> bool:
        status = self.engine.docker("inspect", "-f", "{{.State.Status}}", "sleeps").stdout.strip()
        assert status in ("running", "created", "exited")
        if status == "running":
            assert self.engine.docker("exec", "sleeps", "echo", "here").stdout == "here\n"
        return status == "running"


class Stop(Scenario):
    name = "stop"
    command = ("stop", "-t", "0", "sleeps")
    before = (("run", "-d", "--name", "sleeps", "-p", "8000:80", "busybox", "sleep", "600"),)
    after = (("rm", "-f", "sleeps"),)

    def done(self) -> bool:
        return self.engine.docker("inspect", "-f", "{{.State.Status}}", "sleeps").stdout.strip() == "exited"


class Commit(Scenario):
    name = "commit"
    command = ("commit", "changed", "committed:latest")
    before = (("run", "--name", "changed", "busybox", "sh", "-c", "echo changed > /file; rm /etc/group"),)
    after = (("rm", "changed"), ("rmi", "committed:latest"))

    def done(self) -> bool:
        if not self.runs("committed:latest"):
            return False
        assert self.engine.docker("run", "--rm", "committed:latest", "cat", "/file").stdout == "changed\n"
        return True


class Remove(Scenario):
    name = "rm"
    command = ("rm", "-f", "-v", "gone")
    before = (("run", "-d", "--name", "gone", "-p", "8000:80", "-v", "/data", "busybox", "sleep", "600"),)

    def done(self) -> bool:
        return "gone" not in self.names("ps", "-a", "--format", "{{.Names}}")


class RemoveImage(Scenario):
    name = "rmi"
    command = ("rmi", "loaded:latest")

    def prepare(self) -> None:
        self.engine.docker("load", "-q", "-i", str(self.archive))

    def done(self) -> bool:
        return not self.runs("loaded:latest")


class Prune(Scenario):
    name = "prune"
    command = ("system", "prune", "-a", "-f", "--volumes")
    before = (
        ("volume", "create", "kept"),
        ("run", "--name", "over", "-v", "/data", "loaded:latest", "true"),
        ("tag", "loaded:latest", "unused:latest"),
        ("run", "-d", "--name", "keeps-the-image", "busybox", "sleep", "600"),
    )
    after = (("rm", "-f", "keeps-the-image"), ("volume", "rm", "kept"))

    def prepare(self) -> None:
        self.engine.docker("load", "-q", "-i", str(self.archive))
        super().prepare()

    def done(self) -> bool:
        assert "kept" in self.names("volume", "ls", "-q")
        assert self.runs("busybox:latest")
        left = self.names("images", "-q", "loaded") + self.names("images", "-q", "unused")
        return not left and "over" not in self.names("ps", "-a", "--format", "{{.Names}}")

    def again(self) -> None:
        self.engine.docker("start", "keeps-the-image")  # a power cut has ended it
        self.engine.docker(*self.command)
        assert self.done()


class VolumeCreate(Scenario):
    name = "volume create"
    command = ("volume", "create", "--label", "a=b", "fresh")
    after = (("volume", "rm", "fresh"),)

    def done(self) -> bool:
        if "fresh" not in self.names("volume", "ls", "-q"):
            return False
        assert self.engine.docker("run", "--rm", "-v", "fresh:/x", "busybox", "touch", "/x/y").returncode == 0
        return True


class VolumeRemove(Scenario):
    name = "volume rm"
    command = ("volume", "rm", "old")
    before = (("volume", "create", "old"), ("run", "--rm", "-v", "old:/x", "busybox", "touch", "/x/y"))

    def done(self) -> bool:
        if "old" in self.names("volume", "ls", "-q"):
            assert self.engine.docker("run", "--rm", "-v", "old:/x", "busybox", "ls", "/x").stdout == "y\n"
            return False
        return True


class Tag(Scenario):
    name = "tag"
    command = ("tag", "busybox", "other:tag")
    after = (("rmi", "other:tag"),)

    def done(self) -> bool:
        return self.runs("other:tag")


SCENARIOS = (
    Pull, Load, Import, Create, Start, Stop, Commit, Remove, RemoveImage, Prune, VolumeCreate, VolumeRemove, Tag,
)  # fmt: skip
