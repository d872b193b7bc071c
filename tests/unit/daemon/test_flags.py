"""The command line and daemon.json: dockerd's names, rules and texts."""

import json

import pytest

from corten.daemon import flags, settings
from corten.engine.config import EngineConfig, Ulimit
from corten.errors import CortenError, InvalidArgument, NotSupported


def load(tmp_path, *arguments: str, file: object = None) -> settings.Settings:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(file) if file is not None else "")
    return settings.load(["--config-file", str(path), *arguments])


def test_nothing_said_means_the_defaults(tmp_path):
    found = load(tmp_path)
    assert found.engine == EngineConfig()
    assert found.hosts == ("unix:///run/corten/corten.sock",)
    assert found.pidfile == "/run/corten/cortend.pid"
    assert (found.group, found.tls, found.log_level) == (None, None, "info")


@pytest.mark.parametrize(
    "words",
    [["--data-root", "/a"], ["--data-root=/a"], ["-H", "x", "--data-root=/a"], ["-Hx", "--data-root", "/a"]],
)
def test_the_spellings_of_a_flag(tmp_path, words):
    assert load(tmp_path, *words).engine.data_root == "/a"


def test_places_follow_the_exec_root(tmp_path):
    found = load(tmp_path, "--exec-root", "/x")
    assert (found.hosts, found.pidfile) == (("unix:///x/corten.sock",), "/x/cortend.pid")


def test_values_of_every_kind(tmp_path):
    found = load(
        tmp_path, "-D", "--dns", "1.1.1.1", "--dns=8.8.8.8", "--icc=false", "--mtu", "1400", "--default-shm-size=128m",
        "--default-ulimit", "nofile=10:20", "--log-opt", "max-size=1m", "--default-address-pool",
        "base=10.0.0.0/8,size=24", "--label", "a=b", "-G", "", "--init",
    )  # fmt: skip
    engine = found.engine
    assert engine.dns == ("1.1.1.1", "8.8.8.8")
    assert (engine.icc, engine.mtu, engine.default_shm_size) == (False, 1400, 128 << 20)
    assert engine.default_ulimits == (Ulimit("nofile", 10, 20),)
    assert engine.log_options == {"max-size": "1m"}
    assert engine.default_address_pools == (("10.0.0.0/8", 24),)
    assert (engine.labels, engine.default_init, found.group) == (("a=b",), True, "")
    assert found.log_level == "debug"


def test_the_file_has_dockerds_keys(tmp_path):
    file = {
        "data-root": "/a", "hosts": ["unix:///s"], "insecure-registries": ["r:5000"], "registry-mirrors": ["https://m"],
        "log-opts": {"max-file": "3"}, "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}},
        "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}], "default-shm-size": "1g", "debug": True,
        "labels": ["x=y"], "dns-opts": ["ndots:1"], "live-restore": True, "userland-proxy": False, "iptables": True,
        "storage-driver": "overlay2", "features": {}, "exec-opts": ["native.cgroupdriver=cgroupfs"],
    }  # fmt: skip
    found = load(tmp_path, file=file)
    assert (found.engine.data_root, found.hosts, found.log_level) == ("/a", ("unix:///s",), "debug")
    assert found.engine.insecure_registries == ("r:5000",)
    assert found.engine.default_ulimits == (Ulimit("nofile", 1, 2),)
    assert found.engine.default_address_pools == (("10.0.0.0/8", 24),)
    assert found.engine.default_shm_size == 1 << 30


@pytest.mark.parametrize(
    ("arguments", "file", "text"),
    [
        (["--nonsense"], None, "unknown flag: --nonsense"),
        (["-Z"], None, "unknown shorthand flag: 'Z' in -Z"),
        (["--mtu"], None, "flag needs an argument: --mtu"),
        (["--mtu", "x"], None, 'invalid argument "x" for "--mtu"'),
        (["--icc=perhaps"], None, 'invalid argument "perhaps" for "--icc"'),
        (["--default-ulimit", "nofile=20:10"], None, "soft limit must be less than or equal to hard limit"),
        (["--log-level", "loud"], None, 'invalid logging level: "loud"'),
        (["--label", "bad"], None, "bad attribute format: bad"),
        (["--default-ipc-mode", "x"], None, "invalid default ipc mode: x"),
        (["--max-concurrent-downloads", "0"], None, "must be at least 1"),
        (["word"], None, "accepts no arguments"),
        ([], {"nonsense": 1, "also": 2}, "directives don't match any configuration option: also, nonsense"),
        (["--mtu", "1400"], {"mtu": 1500},
         "directives are specified both as a flag and in the configuration file: "  # noqa: ISC004
         "mtu: (from flag: 1400, from file: 1500)"),
        (["-H", "a"], {"hosts": ["b"]}, "hosts: (from flag: [a], from file: [b])"),
        ([], {"mtu": "1400"}, "invalid value of mtu"),
        ([], {"config-file": "/x"}, "don't match any configuration option: config-file"),
        ([], [], "Expected `object`"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, arguments, file, text):
    with pytest.raises(InvalidArgument) as caught:
        load(tmp_path, *arguments, file=file)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "file", "name"),
    [
        (["--iptables=false"], None, "--iptables"),
        (["--live-restore=false"], None, "--live-restore"),
        (["--containerd", "/x"], None, "--containerd"),
        (["--exec-opt", "native.cgroupdriver=systemd"], None, "--exec-opt"),
        ([], {"features": {"containerd-snapshotter": True}}, "features"),
        ([], {"storage-driver": "btrfs"}, "storage-driver"),
    ],
)
def test_what_this_engine_has_not_is_refused_by_name(tmp_path, arguments, file, name):
    with pytest.raises(NotSupported) as caught:
        load(tmp_path, *arguments, file=file)
    assert str(caught.value).startswith(name)


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(InvalidArgument, match="no such file"):
        settings.load(["--config-file", str(tmp_path / "nothing")])


def test_every_option_is_a_setting_or_a_refusal():
    known = {*EngineConfig.__struct_fields__, "hosts", "pidfile", "group", "log_level", "config_file", "validate"}
    known |= {"tls", "tlsverify", "tlscacert", "tlscert", "tlskey"}
    for option in flags.OPTIONS:
        assert bool(option.field) != bool(option.reason), option.flag
        assert not option.field or option.field in known, option.flag
    assert len({option.flag for option in flags.OPTIONS}) == len(flags.OPTIONS)


def test_the_help_names_every_setting():
    text = flags.usage()
    assert all(f"--{option.flag}" in text for option in flags.OPTIONS if option.field)
    assert "--userland-proxy-path" not in text


def test_tls_needs_no_names_of_files(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CERT_PATH", "/certs")
    assert load(tmp_path, "--tlsverify").tls == settings.Tls("/certs/cert.pem", "/certs/key.pem", "/certs/ca.pem", True)
    assert load(tmp_path, "--tlscert", "/c").tls is None


@pytest.mark.parametrize("word", ["--mtu=-1", "--default-shm-size=x", "--default-address-pool=base=x,size=1",
                                  "--default-address-pool=base=10.0.0.0/8,size=4", "--log-opt=x"])  # fmt: skip
def test_bad_words_never_crash(tmp_path, word):
    with pytest.raises(CortenError):
        load(tmp_path, word)


def test_water_marks_are_percentages_the_low_one_below_the_high_one(tmp_path):
    assert load(tmp_path).engine.gc_high_water == 0
    by_flag = load(tmp_path, "--gc-high-water", "90%", "--gc-low-water=70").engine
    by_file = load(tmp_path, file={"gc-high-water": "90%", "gc-low-water": 70}).engine
    assert (by_flag.gc_high_water, by_flag.gc_low_water) == (by_file.gc_high_water, by_file.gc_low_water) == (90, 70)
    assert load(tmp_path).engine.gc_min_age == 120
    assert load(tmp_path, "--gc-min-age", "0").engine.gc_min_age == 0
    with pytest.raises(InvalidArgument, match="gc-min-age"):
        load(tmp_path, "--gc-min-age=-1")
    for words in (["--gc-high-water", "101%"], ["--gc-high-water", "a lot"], ["--gc-high-water", "80"]):
        with pytest.raises(InvalidArgument, match="gc-high-water"):
            load(tmp_path, *words)
