"""What ``cortend`` can be told: one table for flags and for ``daemon.json``; and the reading of a command line.

Names are dockerd's. An option whose meaning this engine does not have is in the table too, so that it is refused by
name instead of being unknown or, worse, ignored.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from corten.daemon import values
from corten.engine.config import RuntimeConfig
from corten.errors import InvalidArgument, NotSupported

TEXT: Final = "string"
NUMBER: Final = "int"
FLAG: Final = "bool"
SIZE: Final = "bytes"
PERCENT: Final = "percent"
LIST: Final = "list"
MAP: Final = "map"
ULIMITS: Final = "ulimit"
POOLS: Final = "pool-options"
RUNTIMES: Final = "runtime"


class Option(NamedTuple):
    """``key`` is its name in daemon.json, ``field`` that of the setting; a refused one has no field but a ``reason``.

    ``harmless`` is the one value a refused option may have, because it asks for what happens anyway.
    """

    flag: str
    key: str
    kind: str
    field: str
    help: str = ""
    short: str = ""
    reason: str = ""
    harmless: Any = None


def _option(flag: str, kind: str, field: str, text: str, *, key: str = "", short: str = "") -> Option:
    return Option(flag, key or flag, kind, field, text, short)


def _refused(flag: str, kind: str = TEXT, *, key: str = "", reason: str = "", harmless: Any = None) -> Option:
    return Option(flag, key or flag, kind, "", "", "", reason or "is not supported yet", harmless)


_NOT_DOCKERS: Final = "has no meaning here: this engine has no containerd"

OPTIONS: Final = (
    _option("add-runtime", RUNTIMES, "runtimes", "Another OCI runtime (name=path)", key="runtimes"),
    _option("bip", TEXT, "bip", "Address and prefix length of the default bridge"),
    _option("bridge", TEXT, "bridge", "Name of the default bridge", short="b"),
    _option("cgroup-parent", TEXT, "cgroup_parent", "Parent cgroup of all containers"),
    _option("cdi-spec-dir", LIST, "cdi_spec_directories", "Directory of CDI specs", key="cdi-spec-dirs"),
    _option("config-file", TEXT, "config_file", "Configuration file", key=""),
    _option("data-root", TEXT, "data_root", "Directory of persistent state"),
    _option("debug", FLAG, "debug", "Log more", short="D"),
    _option(
        "default-address-pool",
        POOLS,
        "default_address_pools",
        "Default address pools of local networks",
        key="default-address-pools",
    ),
    _option("default-cgroupns-mode", TEXT, "default_cgroupns_mode", 'Cgroup namespace mode ("host" | "private")'),
    _option("default-gateway", TEXT, "default_gateway", "IPv4 gateway of the default bridge"),
    _option("default-ipc-mode", TEXT, "default_ipc_mode", 'IPC mode of containers ("shareable" | "private")'),
    _option("default-runtime", TEXT, "default_runtime", "Runtime of containers that name none"),
    _option("default-shm-size", SIZE, "default_shm_size", "Size of /dev/shm in containers"),
    _option("default-ulimit", ULIMITS, "default_ulimits", "Default ulimits of containers", key="default-ulimits"),
    _option("dns", LIST, "dns", "DNS server of containers"),
    _option("dns-opt", LIST, "dns_options", "DNS option of containers", key="dns-opts"),
    _option("dns-search", LIST, "dns_search", "DNS search domain of containers"),
    _option("exec-root", TEXT, "exec_root", "Directory of runtime state"),
    _option("fixed-cidr", TEXT, "fixed_cidr", "IPv4 subnet of containers' addresses"),
    _option("gc-high-water", PERCENT, "gc_high_water", "Remove unused images when the disk is fuller (90%; off)"),
    _option("gc-low-water", PERCENT, "gc_low_water", "Remove until the disk is no fuller than this (80%)"),
    _option("gc-min-age", NUMBER, "gc_min_age", "Seconds an image must have been unused to be removed (120)"),
    _option("group", TEXT, "group", "Group of the unix socket", short="G"),
    _option("host", LIST, "hosts", "Socket to listen on (unix://, tcp://, fd://)", key="hosts", short="H"),
    _option("host-gateway-ip", TEXT, "host_gateway_ip", "What host-gateway means in --add-host"),
    _option("icc", FLAG, "icc", "Let containers talk to each other"),
    _option("fast-stop", FLAG, "fast_stop", "Do not wait for a process that cannot hear its stop signal"),
    _option("init", FLAG, "default_init", "Run an init in containers"),
    _option("insecure-registry", LIST, "insecure_registries", "Registry to be spoken to without verified TLS",
            key="insecure-registries"),
    _option("ip", TEXT, "default_bind_address", "Default host address of published ports"),
    _option("ip-forward", FLAG, "ip_forward", "Turn on net.ipv4.ip_forward"),
    _option("ip-masq", FLAG, "ip_masq", "Masquerade what containers send out"),
    _option("label", LIST, "labels", "Label of the engine (key=value)", key="labels"),
    _option("log-driver", TEXT, "log_driver", "Default log driver of containers"),
    _option("log-level", TEXT, "log_level", "What is logged (debug, info, warn, error, fatal)", short="l"),
    _option("log-opt", MAP, "log_options", "Default log driver option (key=value)", key="log-opts"),
    _option("max-concurrent-downloads", NUMBER, "max_concurrent_downloads", "Layers pulled at once"),
    _option("max-concurrent-uploads", NUMBER, "max_concurrent_uploads", "Layers pushed at once"),
    _option("max-download-attempts", NUMBER, "max_download_attempts", "Tries for a layer"),
    _option("mtu", NUMBER, "mtu", "MTU of the default bridge"),
    _option("no-new-privileges", FLAG, "no_new_privileges", "Set no-new-privileges in containers"),
    _option("pidfile", TEXT, "pidfile", "File of the engine's pid", short="p"),
    _option("registry-mirror", LIST, "registry_mirrors", "Mirror of Docker Hub", key="registry-mirrors"),
    _option("seccomp-profile", TEXT, "seccomp_profile", "Seccomp profile of containers (a file, or unconfined)"),
    _option("shutdown-timeout", NUMBER, "shutdown_timeout", "Seconds given to running requests at the end"),
    _option("tls", FLAG, "tls", "Use TLS on tcp sockets; implied by --tlsverify"),
    _option("tlscacert", TEXT, "tlscacert", "Trust client certificates signed by this CA"),
    _option("tlscert", TEXT, "tlscert", "Certificate of the engine"),
    _option("tlskey", TEXT, "tlskey", "Key of the engine"),
    _option("tlsverify", FLAG, "tlsverify", "Use TLS and verify clients"),
    _option("userns-remap", TEXT, "userns_remap", "User whose subordinate ids containers get (user[:group], default)"),
    _option("validate", FLAG, "validate", "Check the configuration and exit", key=""),
    _refused("authorization-plugin", LIST, key="authorization-plugins"),
    _refused("allow-direct-routing", FLAG, harmless=False),
    _refused("bip6"),
    _refused("bridge-accept-fwmark"),
    _refused("builder", MAP, harmless={}),
    _refused("containerd", reason=_NOT_DOCKERS),
    _refused("containerd-namespace", reason=_NOT_DOCKERS),
    _refused("containerd-plugins-namespace", reason=_NOT_DOCKERS),
    _refused("cpu-rt-period", NUMBER, harmless=0),
    _refused("cpu-rt-runtime", NUMBER, harmless=0),
    _refused("cri-containerd", FLAG, harmless=False),
    _refused("default-gateway-v6"),
    _refused("default-network-opt", MAP, key="default-network-opts", harmless={}),
    _refused("exec-opt", LIST, key="exec-opts", harmless=("native.cgroupdriver=cgroupfs",)),
    _refused("experimental", FLAG, harmless=False),
    _refused("feature", MAP, key="features", harmless={}),
    _refused("firewall-backend", harmless="nftables"),
    _refused("fixed-cidr-v6"),
    _refused("http-proxy"),
    _refused("https-proxy"),
    _refused("init-path"),
    _refused("ip6tables", FLAG, harmless=False),
    _refused("iptables", FLAG, reason="cannot be turned off: published ports and NAT need the firewall", harmless=True),
    _refused("ip-forward-no-drop", FLAG, harmless=True),
    _refused("ipv6", FLAG, harmless=False),
    _refused("live-restore", FLAG, reason="cannot be turned off: containers always outlive the engine", harmless=True),
    _refused("log-format", harmless="text"),
    _refused("metrics-addr"),
    _refused("network-control-plane-mtu", NUMBER),
    _refused("no-proxy"),
    _refused("node-generic-resource", LIST, key="node-generic-resources"),
    _refused("oom-score-adjust", NUMBER, harmless=0),
    _refused("proxies", MAP, harmless={}),
    _refused("raw-logs", FLAG, harmless=False),
    _refused("rootless", FLAG, harmless=False),
    _refused("selinux-enabled", FLAG, harmless=False),
    _refused("storage-driver", harmless="overlay2"),
    _refused("storage-opt", LIST, key="storage-opts"),
    _refused("swarm-default-advertise-addr"),
    _refused("userland-proxy", FLAG, reason="has no meaning here: no port needs a process", harmless=False),
    _refused("userland-proxy-path"),
)  # fmt: skip

_BY_FLAG: Final = {f"--{option.flag}": option for option in OPTIONS}
_BY_SHORT: Final = {f"-{option.short}": option for option in OPTIONS if option.short}
#: Options of the file by key; those of the command line alone are not in it.
BY_KEY: Final = {option.key: option for option in OPTIONS if option.field not in ("config_file", "validate")}

_READERS: Final = {
    TEXT: values.text,
    NUMBER: values.number,
    FLAG: values.flag,
    SIZE: values.size,
    PERCENT: values.percent,
}


def check(option: Option, value: Any, shown: str) -> None:
    """Raises NotSupported for an option without a field, unless its value asks for what happens anyway."""
    if not option.field and value != option.harmless:
        raise NotSupported(f"{shown} {option.reason}")


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """The command line as values by flag name; lists and maps are collected.

    Raises:
        InvalidArgument: dockerd's texts for an unknown flag, a missing or a bad value.
        NotSupported: a refused one.
    """
    given: dict[str, Any] = {}
    collected: dict[str, list[str]] = {}
    for option, word in _split(arguments):
        shown = f"--{option.flag}"
        if option.kind in _READERS:
            given[option.flag] = _READERS[option.kind](word, shown)
        else:
            collected.setdefault(option.flag, []).append(word)
    for name, words in collected.items():
        given[name] = _collect(_BY_FLAG[f"--{name}"].kind, words, f"--{name}")
    for name, value in given.items():
        check(_BY_FLAG[f"--{name}"], value, f"--{name}")
    return given


def _collect(kind: str, words: list[str], shown: str) -> Any:
    if kind == MAP:
        return values.mapping(words, shown)
    if kind == ULIMITS:
        return tuple(values.ulimit(word, shown) for word in words)
    if kind == POOLS:
        return tuple(values.pool(word, shown) for word in words)
    if kind == RUNTIMES:
        return _distinct([values.runtime(word, shown) for word in words], shown)
    return tuple(words)


def _distinct(runtimes: list[RuntimeConfig], shown: str) -> tuple[RuntimeConfig, ...]:
    names = [runtime.name for runtime in runtimes]
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgument(f'invalid argument "{name}" for "{shown}": runtime \'{name}\' was already defined')
    return tuple(runtimes)


def _split(arguments: Sequence[str]) -> Iterator[tuple[Option, str]]:
    """Options with their words, as pflag cuts them: ``--a b``, ``--a=b``, ``-a b``, ``-ab``, and ``--flag`` alone."""
    words = iter(arguments)
    for word in words:
        option, value = _recognise(word)
        if value is None:
            value = "true" if option.kind == FLAG else next(words, None)
        if value is None:
            raise InvalidArgument(f"flag needs an argument: {word}")
        yield option, value


def _recognise(word: str) -> tuple[Option, str | None]:
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        if name not in _BY_FLAG:
            raise InvalidArgument(f"unknown flag: {name}")
        return _BY_FLAG[name], value if equals else None
    if not word.startswith("-") or word == "-":
        raise InvalidArgument(f'"cortend" accepts no arguments: {word}')
    option = _BY_SHORT.get(word[:2])
    if option is None:
        raise InvalidArgument(f"unknown shorthand flag: '{word[1]}' in {word}")
    rest = word[2:]
    return option, rest.removeprefix("=") if rest else None


def usage() -> str:
    """The text of ``--help``."""
    lines = ["Usage:  cortend [OPTIONS]", "", "A self-sufficient container engine.", "", "Options:"]
    for option in OPTIONS:
        if option.field:
            short = f"-{option.short}, " if option.short else "    "
            kind = "" if option.kind == FLAG else f" {option.kind}"
            lines.append(f"  {short}--{option.flag}{kind}".ljust(40) + f" {option.help}")
    lines += ["  -h, --help".ljust(40) + " Print usage", "  -v, --version".ljust(40) + " Print version and quit"]
    return "\n".join(lines) + "\n"
