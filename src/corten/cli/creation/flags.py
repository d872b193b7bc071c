"""The options of ``create`` and ``run`` as data."""

from __future__ import annotations

from corten.cli import quantities
from corten.cli.creation import mounts, values
from corten.cli.options import Flag

#: Known to Docker only for engines on Windows.
WINDOWS = ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")

PROCESS = (
    Flag("attach", "a", "list", "Connect to STDIN, STDOUT or STDERR", check=values.stream),
    Flag("detach-keys", "", "string", "Keys that leave the container running and return to the shell"),
    Flag("entrypoint", "", "string", "Program to run instead of the image's ENTRYPOINT"),
    Flag("env", "e", "list", "Set an environment variable", check=values.environment),
    Flag("env-file", "", "list", "Read environment variables from a file"),
    Flag("group-add", "", "list", "Join another group"),
    Flag("init", "", "bool", "Run a small init that forwards signals and reaps processes"),
    Flag("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    Flag("no-healthcheck", "", "bool", "Switch the image's HEALTHCHECK off"),
    Flag("stop-signal", "", "string", "Signal that stops the container"),
    Flag("stop-timeout", "", "int", "Seconds from the stop signal to the kill"),
    Flag("tty", "t", "bool", "Give the container a terminal"),
    Flag("ulimit", "", "ulimit", "Set a resource limit", shown="[]", check=values.ulimit),
    Flag("user", "u", "string", "User name or UID (format: <name|uid>[:<group|gid>])"),
    Flag("workdir", "w", "string", "Working directory inside the container"),
)
IDENTITY = (
    Flag("annotation", "", "map", "Add an annotation (passed to the OCI runtime)", shown="map[]"),
    Flag("cidfile", "", "string", "Write the container's ID to this file"),
    Flag("domainname", "", "string", "NIS domain name"),
    Flag("hostname", "h", "string", "Host name"),
    Flag("label", "l", "list", "Add a label", check=values.label),
    Flag("label-file", "", "list", "Read labels from a file"),
    Flag("name", "", "string", "Name of the container"),
    Flag("platform", "", "string", "Platform of the image (os/arch[/variant])"),
    Flag("pull", "", "string", 'When to pull the image ("always", "missing", "never")', "missing"),
    Flag("quiet", "q", "bool", "Do not show the progress of a pull"),
    Flag("restart", "", "string", "When to start the container again", "no"),
    Flag("rm", "", "bool", "Remove the container and its anonymous volumes when it ends"),
    Flag("runtime", "", "string", "Runtime to use"),
    Flag("disable-content-trust", "", "bool", "Do not verify the image's signature", True),
)
LIMITS = (
    Flag("blkio-weight", "", "uint16", "Relative weight of block IO (10 to 1000, 0 for none)"),
    Flag("blkio-weight-device", "", "list", "Relative weight of one device", shown="[]", check=values.weight_device),
    Flag("cgroup-parent", "", "string", "Cgroup the container's own is made in"),
    Flag("cpu-count", "", "int", "CPU count (Windows only)"),
    Flag("cpu-percent", "", "int", "CPU percent (Windows only)"),
    Flag("cpu-period", "", "int", "Period of the CPU limit, in microseconds"),
    Flag("cpu-quota", "", "int", "CPU time in each period, in microseconds"),
    Flag("cpu-rt-period", "", "int", "Period of the real-time CPU limit, in microseconds"),
    Flag("cpu-rt-runtime", "", "int", "Real-time CPU time in each period, in microseconds"),
    Flag("cpu-shares", "c", "int", "Relative weight of CPU time"),
    Flag("cpus", "", "decimal", "Number of CPUs", check=quantities.nano_cpus),
    Flag("cpuset-cpus", "", "string", "CPUs to run on (0-3, 0,1)"),
    Flag("cpuset-mems", "", "string", "Memory nodes to use (0-3, 0,1)"),
    Flag("device-read-bps", "", "list", "Limit bytes read per second", shown="[]", check=values.byte_rate),
    Flag("device-read-iops", "", "list", "Limit reads per second", shown="[]", check=values.operation_rate),
    Flag("device-write-bps", "", "list", "Limit bytes written per second", shown="[]", check=values.byte_rate),
    Flag("device-write-iops", "", "list", "Limit writes per second", shown="[]", check=values.operation_rate),
    Flag("io-maxbandwidth", "", "bytes", "Bandwidth of the system drive (Windows only)", check=quantities.size),
    Flag("io-maxiops", "", "uint", "IOps of the system drive (Windows only)"),
    Flag("kernel-memory", "", "bytes", "Kernel memory limit", hidden=True, check=quantities.size),
    Flag("memory", "m", "bytes", "Memory limit", check=quantities.size),
    Flag("memory-reservation", "", "bytes", "Memory kept under pressure", check=quantities.size),
    Flag("memory-swap", "", "bytes", "Memory and swap together (-1: unlimited)", check=quantities.size_or_unlimited),
    Flag("memory-swappiness", "", "int64", "How eagerly to swap (0 to 100)", -1),
    Flag("oom-kill-disable", "", "bool", "Do not kill processes when memory runs out"),
    Flag("oom-score-adj", "", "int", "How soon the kernel kills it for memory (-1000 to 1000)"),
    Flag("pids-limit", "", "int", "Number of processes (-1: unlimited)"),
)
ISOLATION = (
    Flag("cap-add", "", "list", "Add a Linux capability"),
    Flag("cap-drop", "", "list", "Drop a Linux capability"),
    Flag("cgroupns", "", "string", "Cgroup namespace (host|private)"),
    Flag("device", "", "list", "Give a device of the host to the container"),
    Flag("device-cgroup-rule", "", "list", "Allow a class of devices", check=values.device_cgroup_rule),
    Flag("gpus", "", "gpu-request", "GPUs to give to the container ('all' for every one)", check=values.gpus),
    Flag("ipc", "", "string", "IPC namespace"),
    Flag("isolation", "", "string", "Isolation technology"),
    Flag("pid", "", "string", "PID namespace"),
    Flag("privileged", "", "bool", "Take almost all isolation away"),
    Flag("security-opt", "", "list", "Set a security option"),
    Flag(
        "sysctl", "", "map", "Set a kernel parameter of the container's namespaces", shown="map[]", check=values.sysctl
    ),
    Flag("use-api-socket", "", "bool", "Give the engine's socket and credentials to the container"),
    Flag("userns", "", "string", "User namespace"),
    Flag("uts", "", "string", "UTS namespace"),
)
STORAGE = (
    Flag("mount", "", "mount", "Mount a file system", check=mounts.mount),
    Flag("read-only", "", "bool", "Make the root file system read only"),
    Flag("shm-size", "", "bytes", "Size of /dev/shm", check=quantities.size),
    Flag("storage-opt", "", "list", "Set an option of the storage driver"),
    Flag("tmpfs", "", "list", "Mount a tmpfs"),
    Flag("volume", "v", "list", "Mount a directory of the host or a volume"),
    Flag("volume-driver", "", "string", "Volume driver"),
    Flag("volumes-from", "", "list", "Mount the volumes of another container"),
)
NETWORK = (
    Flag("add-host", "", "list", "Add a line to /etc/hosts (host:ip)", check=values.extra_host),
    Flag("dns", "", "list", "Set a DNS server", check=values.ip_address),
    Flag("dns-option", "", "list", "Set a DNS option"),
    Flag("dns-opt", "", "list", "Set a DNS option", hidden=True),
    Flag("dns-search", "", "list", "Set a DNS search domain"),
    Flag("expose", "", "list", "Expose a port or a range of ports"),
    Flag("ip", "", "string", "IPv4 address (e.g., 172.30.100.104)"),
    Flag("ip6", "", "string", "IPv6 address (e.g., 2001:db8::33)"),
    Flag("link", "", "list", "Make another container's name known", check=values.link),
    Flag("link-local-ip", "", "list", "Link-local address", check=values.ip_address),
    Flag("mac-address", "", "string", "MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Flag("network", "", "network", "Connect the container to a network", check=values.network),
    Flag("net", "", "network", "Connect the container to a network", hidden=True, check=values.network),
    Flag("network-alias", "", "list", "Another name inside the network"),
    Flag("net-alias", "", "list", "Another name inside the network", hidden=True),
    Flag("publish", "p", "list", "Publish a port on the host"),
    Flag("publish-all", "P", "bool", "Publish all exposed ports on free ports of the host"),
)
HEALTH = (
    Flag("health-cmd", "", "string", "Command that tells health"),
    Flag("health-interval", "", "duration", "Time between two checks", 0, shown="0s", check=quantities.duration),
    Flag("health-retries", "", "int", "Failures in a row that make it unhealthy"),
    Flag("health-start-interval", "", "duration", "Time between checks while it starts", 0, shown="0s",
         check=quantities.duration),
    Flag("health-start-period", "", "duration", "Time in which failures do not count", 0, shown="0s",
         check=quantities.duration),
    Flag("health-timeout", "", "duration", "Time one check may take", 0, shown="0s", check=quantities.duration),
)  # fmt: skip
LOGGING = (
    Flag("log-driver", "", "string", "Log driver"),
    Flag("log-opt", "", "list", "Set an option of the log driver"),
)

CREATE = (*PROCESS, *IDENTITY, *LIMITS, *ISOLATION, *STORAGE, *NETWORK, *HEALTH, *LOGGING)
RUN = (
    *CREATE,
    Flag("detach", "d", "bool", "Run in the background and print the container's ID"),
    Flag("sig-proxy", "", "bool", "Pass signals on to the process", True),
)
