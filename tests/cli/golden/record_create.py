"""Record what the docker CLI sends to ``POST /containers/create`` for a list of command lines.

Usage: ``python record_create.py DOCKER OUTPUT.json``. It listens on a unix socket of its own, answers the ping, refuses
every create after keeping its body, and needs no engine. The result is the reference of tests/unit/cli/test_create_body.py.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading

VARIANTS = [
    "busybox",
    "busybox sh -c 'echo hi'",
    "--name x --hostname h --domainname d busybox true",
    "-i busybox", "-t busybox", "-it busybox", "-a stdout busybox", "-a stdin -a stderr busybox",
    "--rm busybox", "--restart always busybox", "--restart on-failure:3 busybox", "--restart unless-stopped busybox",
    "-e A=1 -e B= -e RECORDED_HOME --env-file ENVFILE busybox",
    "-l a=1 -l b -l c=d=e --label-file LABELFILE busybox",
    "-p 80 busybox", "-p 8080:80 busybox", "-p 127.0.0.1:8080:80/udp busybox", "-p 8000-8002:80-82 busybox",
    "-p 127.0.0.1::80 -p 53:53/udp -p 53:53/tcp busybox", "-p [::1]:80:80 busybox",
    "-p target=80,published=8080,protocol=udp busybox", "-p 1-3 busybox", "-p 8000-8010:80 busybox",
    "--expose 80 --expose 90-92/udp busybox", "-P busybox",
    "-v /a:/b busybox", "-v /a:/b:ro,z busybox", "-v vol:/data -v /anon busybox", "-v ./rel:/x busybox", "-v vol:/d:nocopy busybox",
    "--mount type=bind,src=/tmp,dst=/x,ro busybox", "--mount type=volume,source=v,target=/v,volume-nocopy busybox",
    "--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 busybox", "--mount dst=/only busybox",
    "--mount type=bind,src=/tmp,dst=/x,bind-propagation=rshared busybox", "--mount type=bind,src=/tmp,dst=/x,bind-recursive=disabled busybox",
    "--mount type=volume,dst=/v,volume-driver=d,volume-opt=a=b,volume-label=l=m busybox",
    "--tmpfs /run:size=64m --tmpfs /tmp busybox",
    "-m 64m busybox", "-m 1g --memory-swap -1 busybox", "-m 1g --memory-swap 2g --memory-reservation 500m --memory-swappiness 10 busybox",
    "--cpus 1.5 busybox", "--cpus .25 -c 512 --cpu-period 1000 --cpu-quota 2000 busybox", "--cpuset-cpus 0-1 --cpuset-mems 0 busybox",
    "--pids-limit 100 busybox", "--pids-limit -1 busybox", "--ulimit nofile=100:200 --ulimit core=0 busybox", "--ulimit nofile=-1 busybox",
    "--blkio-weight 100 --blkio-weight-device /dev/null:200 --device-read-bps /dev/null:1mb --device-write-iops /dev/null:9 busybox",
    "--cap-add NET_ADMIN --cap-drop ALL --privileged busybox", "--security-opt no-new-privileges --security-opt label=disable busybox",
    "--security-opt seccomp=unconfined --security-opt apparmor=x busybox", "--security-opt seccomp=SECCOMP busybox",
    "--security-opt systempaths=unconfined busybox",
    "--device /dev/null --device /dev/zero:/dev/z:rw --device-cgroup-rule 'c 1:3 rwm' busybox", "--device vendor.com/class=name busybox",
    "--dns 8.8.8.8 --dns-search example.com --dns-option ndots:2 busybox", "--add-host a:1.2.3.4 --add-host b=::1 --add-host c:[::1] busybox",
    "--network host busybox", "--network none busybox", "--network container:x busybox", "--network mynet --network-alias al --ip 10.0.0.5 busybox",
    "--network name=mynet,alias=x,alias=y,ip=10.0.0.9,driver-opt=a=b busybox", "--network a --network b busybox", "--network a --link x:y busybox",
    "--link x:y --link z busybox", "--ip 1.2.3.4 --ip6 ::5 --link-local-ip 169.254.1.1 busybox", "--mac-address 92:d0:c6:0a:29:33 busybox",
    "--entrypoint /bin/x busybox a b", "--entrypoint '' busybox a", "-u 1:2 -w /w --group-add 5 --group-add x busybox",
    "--init busybox", "--read-only busybox", "--shm-size 1g busybox", "--stop-signal TERM --stop-timeout 5 busybox",
    "--log-driver none busybox", "--log-driver json-file --log-opt max-size=1m --log-opt max-file=2 busybox",
    "--health-cmd 'x y' --health-interval 5s --health-timeout 1m30s --health-retries 3 --health-start-period 500ms --health-start-interval 1s busybox",
    "--no-healthcheck busybox", "--pid host --ipc shareable --uts host --userns host --cgroupns private busybox", "--pid container:x --ipc container:y busybox",
    "--sysctl net.ipv4.ip_forward=1 --sysctl a=b busybox", "--annotation a=b --annotation c busybox", "--storage-opt size=1g busybox",
    "--volumes-from a:ro --volume-driver x busybox", "--oom-kill-disable --oom-score-adj 5 busybox", "--runtime runc --isolation default busybox",
    "--cgroup-parent /x busybox", "--gpus all busybox", "--gpus 2 busybox", "--gpus '\"device=0,1\",capabilities=utility' busybox",
    "--cpu-count 1 --cpu-percent 2 --io-maxbandwidth 1m --io-maxiops 3 --cpu-rt-period 1 --cpu-rt-runtime 2 busybox", "--kernel-memory 5m busybox",
    "-v /a:/b:rslave busybox", "--platform linux/arm64 busybox", "-h '' busybox", "--env-file EMPTYFILE busybox", "-d busybox",
]  # fmt: skip


#: Defaults the docker CLI spells out and the API assumes anyway.
SPELLED_OUT = {
    "RestartPolicy": {"Name": "no"},
    "MemorySwappiness": -1,
    "NetworkMode": "default",
    "ConsoleSize": [0, 0],
}
#: Where an empty list is not the same as none.
EMPTY_COUNTS = {"MaskedPaths", "ReadonlyPaths"}


def sparse(value, key=""):
    """A body without what is at its default, so that two clients' bodies compare by meaning."""
    if isinstance(value, dict):
        kept = {name: sparse(item, name) for name, item in value.items()}
        return {
            name: item
            for name, item in kept.items()
            if item != SPELLED_OUT.get(name)
            and (item not in (None, "", 0, False, {}, []) or (item == [] and name in EMPTY_COUNTS))
        }
    if isinstance(value, list):
        items = [sparse(item) for item in value]
        return sorted(items) if key == "Env" else items
    return value


class Recorder(threading.Thread):
    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        self.bodies: list[tuple[str, str]] = []

    def run(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        while line := stream.readline():
            method, path, _ = line.decode().split()
            headers = {}
            while header := stream.readline().strip():
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", 0)))
            if path == "/_ping":
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nContent-Length: 0\r\nOstype: linux\r\n\r\n"
                )
                continue
            self.bodies.append((f"{method} {path}", body.decode()))
            answer = b'{"message":"recorded"}'
            connection.sendall(
                b"HTTP/1.1 418 No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(answer), answer)
            )


def main(docker: str, output: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "ENVFILE": "# c\nX=1\nY\nRECORDED_HOME\n\nZ= sp \n",
            "LABELFILE": "la=1\nlb\n",
            "EMPTYFILE": "",
            "SECCOMP": '{\n "defaultAction": "SCMP_ACT_ALLOW"\n}\n',
        }
        for name, text in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        recorder = Recorder(os.path.join(folder, "s"))
        recorder.start()
        environment = {
            "PATH": os.environ["PATH"],
            "DOCKER_HOST": f"unix://{folder}/s",
            "HOME": folder,
            "RECORDED_HOME": "rh",
        }
        result = []
        for variant in VARIANTS:
            for verb in ("create", "run"):
                recorder.bodies.clear()
                done = subprocess.run(
                    ["/bin/sh", "-c", f"{docker} {verb} {variant}" if verb == "run" or "-d" not in variant.split() else "true"],
                    env=environment, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                )  # fmt: skip
                record = {"verb": verb, "command": variant, "code": done.returncode}
                if recorder.bodies:
                    request, body = recorder.bodies[0]
                    record |= {"request": request, "body": sparse(json.loads(body.replace(folder, "FOLDER")))}
                else:
                    record |= {"error": done.stderr.replace(folder, "FOLDER")}
                result.append(record)
        with open(output, "w", encoding="utf-8") as file:
            json.dump({"files": files, "records": result}, file, indent=0)
            file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
