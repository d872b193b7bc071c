"""Known attacks on container runtimes, one test each, under the name of the first report of its class."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.conftest import Bundle

pytestmark = pytest.mark.root

REPORT = "unable to find user"


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_cve_2019_5736_the_interpreter_cannot_be_written_through_proc_self_exe(bundle: Bundle) -> None:
    """The image's program is a link to /proc/self/exe: the kernel then executes the runtime's own interpreter."""
    interpreter = os.path.realpath(sys.executable)  # noqa: TID251  the host's own file
    before = digest(interpreter)
    (bundle.rootfs / "bin/evil").symlink_to("/proc/self/exe")
    script = bundle.rootfs / "bin/script"
    script.write_text("#!/proc/self/exe\nopen('/proc/self/exe', 'wb').write(b'owned')\n")
    script.chmod(0o755)
    writer = "import os; os.open('/proc/self/exe', os.O_WRONLY | os.O_TRUNC)"
    identifier = bundle.start()
    for attempt in (
        bundle.run("/bin/evil", "-c", writer),
        bundle.run("/bin/script"),
        bundle.run("/proc/self/exe", "-c", writer),
        bundle.exec(identifier, "/bin/evil", "-c", writer),
        bundle.exec(identifier, "/bin/script"),
    ):
        assert attempt.returncode != 0
    assert digest(interpreter) == before


def test_cve_2019_5736_a_copy_that_runs_finds_its_mount_read_only(bundle: Bundle) -> None:
    """With the host's libraries in the image the interpreter does run inside, and still cannot be written."""
    for path in ("/usr/lib", "/lib", "/lib64", "/usr/bin"):
        if Path(path).exists():
            bundle.spec["mounts"].append(
                {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}
            )
    (bundle.rootfs / "bin/evil").symlink_to("/proc/self/exe")
    program = (
        "import os\n"
        "print(os.statvfs('/proc/self/exe').f_flag & os.ST_RDONLY)\n"
        "try:\n    os.truncate('/proc/self/exe', 0)\n"
        "except OSError as error:\n    print(error.strerror)\n"
    )
    output = bundle.run("/bin/evil", "-I", "-S", "-c", program)
    assert output.stdout.splitlines() == ["1", "Read-only file system"], output.stderr


ENTERING = """
import os, sys
from corten.cgroup import hierarchy
from corten.linux import process
from corten.runtime import credentials, execute, finish, flags, state

def held(function):
    def wait(*arguments):
        os.write(1, b"%d\\n" % os.getpid())  # as the container counts
        os.read(0, 1)
        return function(*arguments)
    return wait

root, identifier, point, weakness = sys.argv[1:]
if point == "privileged":
    credentials.become = held(credentials.become)
else:
    finish.find_program = held(finish.find_program)
if weakness:
    process.set_dumpable = lambda on: None
nobody = lambda text: None
host = state.Host(root, hierarchy.detect(), warn=nobody, debug=nobody)
sys.exit(execute.execute(host, [identifier, "true"], flags.Options()))
"""


@pytest.mark.parametrize(("point", "weakness"), [("privileged", ""), ("dropped", ""), ("dropped", "dumpable")])
def test_cve_2016_9962_a_process_on_its_way_in_cannot_be_looked_into(bundle: Bundle, point: str, weakness: str) -> None:
    """It is held inside, before it gives its privileges up and right before its execve, while the container's root
    looks: at its program, where its descriptors lead, its environment. Were it dumpable, that would be seen: last case.
    """
    identifier = bundle.start()
    command = [sys.executable, "-c", ENTERING, str(bundle.root), identifier, point, weakness]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as entering:  # type: ignore[call-overload]
        pid = int(entering.stdout.readline())
        look = f"cd /proc/{pid}; for link in exe root cwd fd/*; do readlink $link; done; head -c 1 environ"
        seen = bundle.exec(identifier, "sh", "-c", look)
        output, errors = entering.communicate("x")
    assert (entering.returncode, output, errors) == (0, "", "")
    if weakness:
        assert "python" in seen.stdout, seen
        assert "pipe:[" in seen.stdout, "its descriptors"
    else:
        assert seen.stdout == ""
        assert "permission denied" in seen.stderr.lower()


@pytest.mark.parametrize("leads_to", ["/dev/zero", "/proc/sysrq-trigger", "/etc/passwd"])
def test_cve_2025_31133_the_mask_is_a_verified_null_device(bundle: Bundle, leads_to: str) -> None:
    """/dev is the image's own and its null is a link: nothing is masked with what it leads to."""
    (bundle.rootfs / "dev/null").symlink_to(leads_to)
    (bundle.rootfs / "dev/zero").touch()
    bundle.spec["mounts"] = [
        {"destination": "/dev", "type": "bind", "source": str(bundle.rootfs / "dev"), "options": ["rbind"]}
        if mount["destination"] == "/dev"
        else mount
        for mount in bundle.spec["mounts"]
        if not mount["destination"].startswith("/dev/")
    ]
    output = bundle.run("true")
    assert output.returncode != 0
    assert "null device" in output.stderr


@pytest.mark.parametrize("number", [3, 4, 5, 7, 8, 10])
def test_cve_2024_21626_no_descriptor_leads_out(bundle: Bundle, number: int) -> None:
    bundle.process["cwd"] = f"/proc/self/fd/{number}"
    for directory in (os.open("/", os.O_RDONLY), os.open("/etc", os.O_RDONLY)):
        os.set_inheritable(directory, True)
        try:
            output = bundle.run("sh", "-c", "cat ../../etc/hostname; pwd", close_fds=False)
        finally:
            os.close(directory)
        assert output.returncode != 0
        assert output.stdout == ""
        assert "chdir to cwd" in output.stderr or "outside of container" in output.stderr


def test_cve_2024_21626_only_three_descriptors_are_open(bundle: Bundle) -> None:
    leaked = os.open("/etc", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        listing = "for f in /proc/self/fd/*; do readlink $f; done"
        assert len(bundle.run("sh", "-c", listing, close_fds=False).stdout.splitlines()) <= 4
        names = bundle.run("ls", "/proc/self/fd", close_fds=False).stdout.split()
    finally:
        os.close(leaked)
    assert names == ["0", "1", "2", "3"]  # 3 is the directory ls itself reads


def test_cve_2024_21626_in_exec(bundle: Bundle) -> None:
    identifier = bundle.start()
    for number in range(3, 12):
        output = bundle.exec(identifier, "pwd", flags=("--cwd", f"/proc/self/fd/{number}"))
        assert output.returncode != 0
        assert output.stdout == ""


def test_cve_2025_52565_the_console_is_the_containers_own_pty(bundle: Bundle, canary: Path) -> None:
    (bundle.rootfs / "dev/console").symlink_to(canary / "secret")
    (bundle.rootfs / "dev/ptmx").symlink_to(canary / "secret")
    bundle.process["terminal"] = True
    output = bundle.run("sh", "-c", "tty; stat -c %t:%T /dev/console; echo x > /dev/console", stdin=None)
    assert output.stdout.split()[:2] == ["/dev/pts/0", "88:0"]


@pytest.mark.parametrize("fake", ["link", "file"])
def test_cve_2025_52881_settings_do_not_follow_a_false_proc(bundle: Bundle, canary: Path, fake: str) -> None:
    """CVE-2019-19921: the image's /proc is not one."""
    (bundle.rootfs / "proc").rmdir()
    if fake == "link":
        (bundle.rootfs / "proc").symlink_to(canary)
    else:
        (bundle.rootfs / "proc").write_text("")
    bundle.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "7"}
    output = bundle.run("true")
    assert output.returncode != 0
    assert "must be mounted on ordinary directory" in output.stderr


TARGETS = ("dev", "sys", "etc", "tmp", "run", "var")
LINKS = ("/", "/../../../../../..", "../../../../../../etc", "loop", "/nowhere/at/all", "{canary}")


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("target", TARGETS)
def test_cve_2026_41579_mount_targets_that_are_links_stay_inside(
    bundle: Bundle, canary: Path, target: str, link: str
) -> None:
    """The image ships a directory the runtime mounts on, or creates files in, as a link to the host."""
    etc = canary.parent / "sources"
    etc.mkdir()
    (etc / "hosts").write_text("ours")
    shutil.rmtree(bundle.rootfs / target)
    (bundle.rootfs / target).symlink_to(target if link == "loop" else link.format(canary=canary))
    bundle.spec["mounts"] += [
        {"destination": f"/{target}/made/hosts", "type": "bind", "source": str(etc / "hosts"), "options": ["bind"]},
        {"destination": f"/{target}/deep/tree", "type": "tmpfs", "source": "tmpfs", "options": []},
    ]
    before = set(os.listdir("/"))
    output = bundle.shell("cat /proc/self/mountinfo | wc -l")
    assert set(os.listdir("/")) == before
    assert not Path("/made").exists()
    assert not Path("/etc/made").exists()
    if output.returncode:
        assert "error mounting" in output.stderr or "ordinary directory" in output.stderr or "too many" in output.stderr


def test_cve_2026_41579_an_image_whose_run_is_a_link_still_works(bundle: Bundle) -> None:
    """The functional side: /var/run -> /run is in every Debian image."""
    (bundle.rootfs / "var/run").symlink_to("/run")
    bundle.spec["mounts"].append(
        {"destination": "/var/run/data", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}
    )
    assert "/run/data" in bundle.run("cat", "/proc/self/mountinfo").stdout


@pytest.mark.parametrize("text", ["0x0", "-1", "4294967296", "+1", "1e3", "1000 ", "0:-1", "0:0x0", "-0", "\uff12"])
def test_cve_2026_30892_and_2024_40635_strange_users_are_refused(bundle: Bundle, text: str) -> None:
    identifier = bundle.start()
    output = bundle.exec(identifier, "id", "-u", flags=("--user", text))
    assert output.returncode != 0
    assert output.stdout == ""


@pytest.mark.parametrize("kind", ["fifo", "huge", "device", "directory", "link-out"])
def test_cve_2026_47262_and_2024_9676_hostile_passwd_files(bundle: Bundle, canary: Path, kind: str) -> None:
    passwd = bundle.rootfs / "etc/passwd"
    passwd.unlink()
    if kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "huge":
        with passwd.open("wb") as file:
            file.truncate(1 << 33)
    elif kind == "device":
        os.mknod(passwd, 0o20666, os.makedev(1, 5))
    elif kind == "directory":
        passwd.mkdir()
    else:
        (canary.parent / "passwd").write_text("evil:x:0:0::/:/bin/sh\n")
        passwd.symlink_to(canary.parent / "passwd")
    bundle.process["user"] = {"corten.user": "evil"}
    output = bundle.run("id", timeout=20)
    assert output.returncode != 0
    assert "cannot be read" in output.stderr or REPORT in output.stderr


def test_cve_2019_14271_no_module_of_the_image_is_imported(bundle: Bundle) -> None:
    """Trojan modules wherever a Python might look, also from the working directory; a failure path is taken too."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    trojan = "open('/tmp/owned', 'w')\n"
    for directory in (f"usr/lib/{version}", f"usr/lib/{version}/encodings", "work", f"usr/lib/{version}/site-packages"):
        where = bundle.rootfs / directory
        where.mkdir(parents=True, exist_ok=True)
        for name in ("json", "traceback", "encodings", "linecache", "sitecustomize", "struct", "idna", "__init__"):
            (where / f"{name}.py").write_text(trojan)
    bundle.process["cwd"] = "/work"
    assert bundle.run("true").returncode == 0
    assert bundle.run("nope").returncode != 0
    bundle.process["user"] = {"corten.user": "b\u00f6b"}
    assert bundle.run("true").returncode != 0
    assert not (bundle.rootfs / "tmp/owned").exists()


def test_cve_2019_14271_behind_the_fence_an_import_finds_nothing() -> None:
    """A module that was never loaded, asked for where the image's would be found: in whatever way, there is none."""
    asks = (
        "import colorsys",
        "__import__('wave')",
        "import encodings.idna",
        "'x'.encode('punycode')",
        "import corten.cgroup.stats",
    )
    for ask in asks:
        program = f"from corten.runtime.init import close_import_fence\nclose_import_fence()\n{ask}"
        free = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False, cwd="/")
        assert free.returncode == 0, free.stderr
        fenced = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd="/")
        assert fenced.returncode == 1
        assert "Error" in fenced.stderr


def test_cve_2024_45310_files_are_made_inside_the_root_while_it_is_being_changed(
    bundle: Bundle, canary: Path, tmp_path: Path
) -> None:
    """A volume shared with a hostile container: one component flips between a directory and a link to the host."""
    libc = ctypes.CDLL(None)
    volume = bundle.rootfs / "volume"
    (volume / "a").mkdir(parents=True)
    (volume / "b").symlink_to(canary)
    source = tmp_path / "source"
    source.write_text("")
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            libc.renameat2(-100, bytes(volume / "a"), -100, bytes(volume / "b"), 2)  # RENAME_EXCHANGE

    thread = threading.Thread(target=flip)
    bundle.spec["mounts"] += [
        {"destination": f"/volume/a/deep/{i}/file", "type": "bind", "source": str(source), "options": ["bind"]}
        for i in range(10)
    ]
    thread.start()
    try:
        for _ in range(8):
            bundle.run("true")
    finally:
        stop.set()
        thread.join()
    assert os.listdir(canary) == ["secret"]


def without(bundle: Bundle, *targets: str) -> None:
    """Take these mounts out of the spec: what lies there is the image's own."""
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] not in targets]


@pytest.mark.parametrize("link", ["{canary}", "/../../../../../..{canary}", "../../../../../../../../..{canary}"])
def test_cve_2026_41579_and_2026_47766_devices_are_not_made_through_a_link(
    bundle: Bundle, canary: Path, link: str
) -> None:
    """The image's /dev is a link to the host and nothing is mounted on it: nodes, links and files would go there."""
    without(bundle, *(mount["destination"] for mount in bundle.spec["mounts"] if mount["destination"] > "/dev"))
    bundle.spec["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    shutil.rmtree(bundle.rootfs / "dev")
    (bundle.rootfs / "dev").symlink_to(link.format(canary=canary))
    (bundle.rootfs / "elsewhere").symlink_to(canary)
    bundle.linux["devices"] = [
        {"type": "c", "path": "/dev/mine", "major": 1, "minor": 3},
        {"type": "c", "path": "/elsewhere/deep/mine", "major": 1, "minor": 3},
    ]
    bundle.process["cwd"] = "/elsewhere/made"
    bundle.linux["maskedPaths"] = ["/elsewhere/secret"]
    output = bundle.shell("echo ran")
    assert output.stdout == "ran\n", output.stderr
    assert os.listdir(canary) == ["secret"]
    assert (bundle.rootfs / str(canary)[1:] / "made").is_dir()  # inside, where the link leads from there


@pytest.mark.parametrize("name", ["console", "null", "ptmx", "tty", "fd"])
def test_cve_2025_52565_names_of_the_images_own_dev_are_not_followed(bundle: Bundle, canary: Path, name: str) -> None:
    """No tmpfs on /dev: the console is bound on, and nodes are made in, a directory the image has filled with links."""
    without(bundle, "/dev", "/dev/shm", "/dev/mqueue")
    (bundle.rootfs / "dev" / name).symlink_to(canary / "secret")
    bundle.process["terminal"] = True
    output = bundle.shell("tty; echo x > /dev/console; echo y > /dev/null", stdin=None)
    if name == "console":
        assert "/dev/console of the container is a link" in output.stderr
    else:
        assert output.stdout.split() == ["/dev/pts/0", "x"], output.stderr
    assert (canary / "secret").read_text() == "canary"


def test_cve_2025_31133_a_null_device_that_is_being_exchanged(bundle: Bundle, canary: Path) -> None:
    """/dev is a volume of two containers; the other one exchanges its null for a link while paths are masked."""
    volume = bundle.rootfs / "volume"
    volume.mkdir()
    os.mknod(volume / "null", 0o20666, os.makedev(1, 3))
    (volume / "link").symlink_to("/proc/uptime")
    without(bundle, "/dev", "/dev/shm", "/dev/mqueue", "/dev/pts")
    bundle.spec["mounts"].append({"destination": "/dev", "type": "bind", "source": str(volume), "options": ["rbind"]})
    bundle.linux["maskedPaths"] = ["/proc/keys"]
    with exchanging(volume / "null", volume / "link"):
        outputs = [bundle.run("cat", "/proc/keys") for _ in range(6)]
    for output in outputs:
        assert output.stdout == ""
        assert output.returncode == 0 or "null device" in output.stderr


@contextmanager
def exchanging(first: Path, second: Path) -> Iterator[None]:
    """The two names change places as fast as they can."""
    libc = ctypes.CDLL(None)
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            libc.renameat2(-100, bytes(first), -100, bytes(second), 2)  # RENAME_EXCHANGE

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_cve_2023_27561_and_2019_19921_a_proc_that_is_being_exchanged(bundle: Bundle, name: str) -> None:
    """The image's /proc (or /sys) is exchanged for a link to a directory of its own while the container is made: what is
    masked and read-only would then be so elsewhere, and the real one bare under the other name."""
    (bundle.rootfs / "fake/sys/kernel").mkdir(parents=True)
    (bundle.rootfs / "fake/keys").write_text("x")
    (bundle.rootfs / "link").symlink_to("/fake")
    bundle.linux["maskedPaths"] = ["/proc/keys", "/sys/firmware"]
    bundle.linux["readonlyPaths"] = ["/proc/sys"]
    seen = 0
    quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    made = 0
    for _ in range(100):
        if made == 6:
            break
        bundle.process["args"] = ["sh", "-c", "while :; do sleep 1; done"]
        identifier = bundle.write()
        with exchanging(bundle.rootfs / name, bundle.rootfs / "link"):
            created = bundle.call("run", "--detach", identifier, **quiet).returncode == 0
        if not created:
            continue  # it was a link at the moment it must not be one
        made += 1
        lines = Path(f"/proc/{bundle.state(identifier)['pid']}/mountinfo").read_text().splitlines()
        points = {line.split()[4] for line in lines}
        for line in lines:
            point, kind = line.split()[4], line.partition(" - ")[2].split()[0]
            if kind == "proc" and line.split()[3] == "/":
                seen += 1
                assert {f"{point}/keys", f"{point}/sys"} <= points
            if kind == "sysfs" and line.split()[3] == "/" and Path("/sys/firmware").exists():
                assert f"{point}/firmware" in points
        bundle.call("delete", "--force", identifier)
    assert seen


def test_cve_2023_28642_a_volume_on_proc_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """A tree of the image's over /proc would be handed what is written to the kernel at the end of the start."""
    fake = tmp_path / "fake"
    (fake / "self/attr/apparmor").mkdir(parents=True)
    for file in ("self/oom_score_adj", "self/attr/apparmor/exec", "self/attr/exec"):
        (fake / file).write_text("")
    bundle.spec["mounts"].append({"destination": "/proc", "type": "bind", "source": str(fake), "options": ["rbind"]})
    bundle.process["oomScoreAdj"] = 321
    assert '"/proc" cannot be mounted because it is not of type proc' in bundle.run("true").stderr
    assert {file.read_text() for file in fake.rglob("*") if file.is_file()} == {""}


def test_cve_2023_28642_an_exec_does_not_write_to_a_proc_the_container_covered(bundle: Bundle) -> None:
    everything = [*bundle.process["capabilities"]["bounding"], "CAP_SYS_ADMIN"]
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), everything)
    bundle.linux.pop("seccomp")
    cover = "mount -t tmpfs x /proc && mkdir -p /proc/self/attr/apparmor && echo 0 > /proc/self/oom_score_adj"
    identifier = bundle.start(f"{cover}; while :; do sleep 1; done")
    process = {**bundle.process, "args": ["sh", "-c", "cat /proc/self/oom_score_adj; sleep 30"], "oomScoreAdj": 321}
    (bundle.directory / "process.json").write_text(json.dumps(process))
    quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    flags = ["--detach", "--pid-file", "pid", "--process", "process.json"]
    assert bundle.call("exec", *flags, identifier, **quiet).returncode == 0
    pid = (bundle.directory / "pid").read_text()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "321\n"
    assert bundle.exec(identifier, "cat", "/proc/self/oom_score_adj").stdout == "0\n"


def test_cve_2020_15257_the_runtime_has_no_abstract_socket(bundle: Bundle) -> None:
    """Root in a container that shares the network namespace sees every abstract address of the host."""
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "network"]
    bundle.process["args"] = ["sh", "-c", "while :; do grep '@' /proc/net/unix >> /seen; done"]
    without(bundle, "/sys")
    identifier = bundle.start(bundle.process["args"][2])
    (bundle.rootfs / "seen").write_text("")
    for _ in range(5):
        assert bundle.exec(identifier, "true").returncode == 0
        assert bundle.run("true").returncode == 0
    assert (bundle.rootfs / "seen").read_text() == ""


def test_cve_2024_21626_in_run_and_exec_with_preserved_descriptors(bundle: Bundle) -> None:
    """A number that the caller did not open would be one of ours: it is refused, and those kept are the caller's."""
    assert "please check that preserved-fd 3 exists" in bundle.call("run", "--preserve-fds", "9", bundle.write()).stderr
    reading, writing = os.pipe()
    bundle.process["args"] = ["sh", "-c", "echo kept >&3; ls /proc/self/fd"]
    identifier = bundle.write()
    command = [*bundle.command, "run", "--preserve-fds", "1", identifier]
    wrap = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"
    wrapped = [sys.executable, "-c", wrap, str(writing), *command]
    output = subprocess.run(
        wrapped, cwd=bundle.directory, capture_output=True, text=True, pass_fds=[writing], check=True
    )
    assert os.read(reading, 100) == b"kept\n"
    assert output.stdout.split() == ["0", "1", "2", "3", "4"]
    os.close(reading)
    os.close(writing)
