"""What is typed at the docker CLI, once on Debian's dockerd and once on Corten: one command a line, by script name.

``sleep N`` waits; everything else is an argument list of ``docker``. A script ends with nothing of it left.
"""

from __future__ import annotations

from typing import Final

SCRIPTS: Final[dict[str, str]] = {
    "life": """
        create --name life --label a=b -e X=1 busybox sh -c "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"
        ps -a --no-trunc --format "{{.Names}} {{.Status}} {{.Image}} {{.Command}} {{.Labels}} {{.Ports}} {{.Mounts}}"
        start life
        sleep 0.5
        ps --format "{{.Names}} {{.State}}"
        top life -o comm
        rename life lives
        stop lives
        ps -a --format "{{.Names}} {{.Status}}" --filter exited=3
        start lives
        kill lives
        wait lives
        inspect -f "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.RestartCount}} {{.Name}}" lives
        logs lives
        rm lives
        ps -aq
    """,
    "inspect-bare": """
        create --name bare busybox true
        inspect bare
        create --name none -it --network none busybox
        create --name none -it --network none busybox sh
        inspect none
        create --name host --network host --privileged --restart always --pid host --ipc host --uts host busybox true
        inspect host
        create --name odd --entrypoint "" --health-cmd true --no-healthcheck busybox true
        create --name odd --entrypoint "" -e EMPTY= -l x --tmpfs /t --gpus all busybox true
        create --name odd --entrypoint "" -e EMPTY= -l x --tmpfs /t --group-add 5 --oom-score-adj 5 busybox true
        inspect odd
        start bare
        wait bare
        inspect bare
        rm -f bare none host odd""",
    "inspect-container": """
        create --name seen -h host --domainname example -u 1:1 -w /tmp -e A=B -l k=v -p 127.0.0.1::80 --expose 90/udp -v /anon -v named:/named:ro --tmpfs /t:size=1m --cap-add NET_ADMIN --cap-drop MKNOD --memory 64m --cpus 0.5 --pids-limit 50 --ulimit nofile=100:200 --dns 127.0.0.9 --add-host x:127.0.0.8 --shm-size 1m --stop-signal USR1 --stop-timeout 3 --sysctl net.ipv4.ip_forward=0 --security-opt no-new-privileges --init --log-opt max-size=1m --read-only busybox sleep 60
        inspect seen
        inspect -s seen
        inspect --type container -f "{{json .HostConfig.PortBindings}} {{len .Mounts}}" seen
        start seen
        inspect seen
        port seen
        port seen 80
        port seen 81
        ps --no-trunc --format "{{.Names}} {{.Ports}} {{.Mounts}} {{.Networks}} {{.LocalVolumes}}"
        rm -f seen
        volume rm named
        volume prune -f
    """,
    "run-errors": """
        run --rm busybox sh -c "exit 42"
        run --rm busybox nosuchprogram
        run --rm busybox /etc
        run --rm --name bad/name busybox true
        run --rm -v relative:/x:zz busybox true
        run --rm -v /only:relative busybox true
        run --rm -w relative busybox true
        run --rm --memory 1m busybox true
        run --rm --memory 8m --memory-swap 4m busybox true
        run --rm --cpus 1000 busybox true
        run --rm --cpuset-cpus 4000 busybox true
        run --rm --network nosuch busybox true
        run --rm --network container:nosuch busybox true
        run --rm --pid container:nosuch busybox true
        run --rm -p 99999:80 busybox true
        run --rm -p 80:80/foo busybox true
        run --rm --cap-add NOSUCH busybox true
        run --rm --user nosuch busybox true
        run --rm --user 1:nosuch busybox true
        run --rm --device /dev/nosuch busybox true
        run --rm --mount type=bind,src=/no/such,dst=/x busybox true
        run --rm --mount type=nosuch,dst=/x busybox true
        run --rm --ulimit nosuch=1 busybox true
        run --rm --security-opt nosuch busybox true
        run --rm --security-opt seccomp=/no/such busybox true
        run --rm --log-driver nosuch busybox true
        run --rm --log-opt nosuch=1 busybox true
        run --rm --restart nosuch busybox true
        run --rm --restart always busybox true
        run --rm --restart on-failure:x busybox true
        run --rm --stop-signal NOSUCH busybox true
        run --rm --ipc nosuch busybox true
        run --rm --uts nosuch busybox true
        run --rm --userns nosuch busybox true
        run --rm --runtime nosuch busybox true
        run --rm --sysctl kernel.hostname=x busybox true
        run --rm --net host --sysctl net.ipv4.ip_forward=1 busybox true
        run --rm --oom-score-adj 2000 busybox true
        run --rm --isolation hyperv busybox true
        run --rm --storage-opt size=1g busybox true
        run --rm --gpus all busybox true
        run --rm --link nosuch busybox true
        run --rm --volumes-from nosuch busybox true
        run --rm --ip 1.2.3.4 busybox true
        run --rm --mac-address nosuch busybox true
        run --rm --blkio-weight 500 busybox true
        run --rm --memory-swappiness 101 busybox true
        run --rm --health-interval 1us --health-cmd true busybox true
        ps -aq
    """,
    "missing": """
        start nosuch
        stop nosuch
        restart nosuch
        kill nosuch
        rm nosuch
        pause nosuch
        unpause nosuch
        rename nosuch other
        logs nosuch
        top nosuch
        exec nosuch true
        attach nosuch
        wait nosuch
        inspect nosuch
        port nosuch
        diff nosuch
        export nosuch
        commit nosuch
        cp nosuch:/x -
        stats --no-stream nosuch
        update --memory 64m nosuch
        rmi nosuch
        tag nosuch other
        history nosuch
        save nosuch
        image inspect nosuch
        volume rm nosuch
        volume inspect nosuch
        network inspect nosuch
        network rm nosuch
        ps --filter nosuch=1
        images --filter nosuch=1
        volume ls --filter nosuch=1
        network ls --filter nosuch=1
        events --since 0 --until 1 --filter nosuch=1
    """,
    "state-errors": """
        create --name made busybox sleep 60
        create --name made busybox true
        pause made
        unpause made
        kill made
        exec made true
        top made
        stop made
        attach made
        start made
        start made
        unpause made
        rm made
        pause made
        pause made
        exec made true
        ps --format "{{.Names}} {{.Status}}"
        start made
        unpause made
        exec made nosuch
        exec -w /nosuch made true
        exec -u nosuch made true
        exec made sh -c "exit 7"
        exec -e A=1 -w /tmp -u 1 made sh -c "echo $A $(pwd) $(id -u)"
        rename made made
        rename made .bad
        kill -s NOSUCH made
        kill -s 0 made
        rm -f made
    """,
    "images": """
        images --format "{{.Repository}}:{{.Tag}} {{.ID}}" --no-trunc
        image inspect -f "{{.Os}} {{.Architecture}} {{json .RepoTags}} {{json .RootFS.Type}} {{json .Config.Cmd}}" busybox
        tag busybox other:1
        tag busybox bad:tag:name
        tag busybox UPPER
        images --format "{{.Repository}}:{{.Tag}}" other
        images --filter reference=other*:* --format "{{.Repository}}"
        history --format "{{.CreatedBy}}|{{.Size}}|{{.Comment}}" busybox
        rmi other:1
        create --name uses busybox true
        tag busybox third
        rmi busybox third
        rm uses
        tag third busybox
        rmi third
        image prune -f
        image ls -q --no-trunc
        rmi -f nosuch
    """,
    "inspect-image": """
        image inspect busybox
        images --digests --format "{{.Digest}}"
        history --no-trunc busybox
    """,
    "volumes": """
        volume create --label a=b one
        volume create one
        volume ls
        volume ls --format "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}" --filter label=a
        volume inspect one
        volume create --driver nosuch two
        volume create -o type=nosuch bad/name
        run --rm -v one:/v busybox sh -c "echo x > /v/f; ls -l /v"
        create --name holds -v one:/v busybox true
        volume rm one
        volume ls -q --filter dangling=true
        rm holds
        volume prune -f
        volume rm one
        volume ls -q
    """,
    "networks": """
        network ls --format "{{.Name}} {{.Driver}} {{.Scope}}"
        network inspect bridge
        network inspect host
        network inspect none
        network rm bridge
        network inspect -f "{{range .IPAM.Config}}{{.Subnet}}{{end}}" none
    """,
    "logs": """
        run --name talks busybox sh -c "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; sleep 0.2; printf last"
        logs talks
        logs --tail 1 talks
        logs --tail 2 talks
        logs --tail 0 talks
        logs -t talks
        logs --since 1h talks
        logs --until 1h talks
        logs --details talks
        logs --since nosuch talks
        logs --tail nosuch talks
        rm talks
        run --name silent --log-driver none busybox echo x
        logs silent
        rm silent
    """,
    "update": """
        run -d --name limited --memory 64m busybox sleep 60
        update --memory 128m limited
        update --memory 128m --memory-swap 256m limited
        inspect -f "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}}" limited
        update --cpus 0.5 --pids-limit 20 limited
        update --restart on-failure:3 limited
        inspect -f "{{json .HostConfig.RestartPolicy}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}" limited
        update --cpuset-cpus 4000 limited
        update --memory 1m limited
        update limited
        rm -f limited
    """,
    "files": """
        run --name wrote busybox sh -c "echo x > /new; rm /bin/vi; mkdir /dir; echo y > /dir/f; ln -s /dir /link"
        diff wrote
        cp wrote:/new -
        cp wrote:/nosuch -
        cp wrote:/dir/f /nosuchdir/x
        commit -m words -a someone -c "CMD [\\"cat\\", \\"/new\\"]" -c "ENV A=1" wrote kept:1
        image inspect -f "{{json .Config.Cmd}} {{json .Config.Env}} {{.Author}} {{.Comment}}" kept:1
        run --rm kept:1
        history --format "{{.CreatedBy}}|{{.Comment}}" kept:1
        rmi kept:1
        rm wrote
    """,
    "restart": """
        run -d --name again --restart on-failure:2 busybox sh -c "exit 5"
        sleep 4
        inspect -f "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}} {{json .HostConfig.RestartPolicy}}" again
        ps -a --format "{{.Names}} {{.State}}"
        rm again
    """,
    "health": """
        run -d --name well --health-cmd true --health-interval 200ms --health-retries 2 busybox sleep 60
        sleep 1.2
        ps --format "{{.Names}} {{.State}}" --filter health=healthy
        inspect -f "{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{json .Config.Healthcheck}}" well
        rm -f well
        run -d --name ill --health-cmd "echo no; exit 1" --health-interval 200ms --health-retries 1 busybox sleep 60
        sleep 1.2
        inspect -f "{{.State.Health.Status}} {{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}" ill
        rm -f ill
    """,
    "prune": """
        create --name stopped busybox true
        container prune -f --filter label=nosuch
        container prune -f
        image prune -f
        volume prune -f
        network prune -f
        system prune -f
        container prune -f --filter nosuch=1
        system df --format "{{.Type}} {{.TotalCount}} {{.Active}}"
    """,
    "events": """
        run --rm --name heard busybox true
        sleep 1.1
        events --since 1m --until 0s --format "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}" --filter container=heard
    """,
    "formats": """
        create --name shaped busybox true
        ps -a --format "table {{.Names}}\\t{{.Image}}\\t{{.Status}}"
        ps -a --format "{{json .Names}} {{upper .Names}} {{.Label \\"x\\"}}"
        ps -a --format "{{.NoSuch}}"
        inspect -f "{{.NoSuch}}" shaped
        inspect -f "{{range .Mounts}}x{{else}}none{{end}} {{len .Name}} {{printf \\"%q\\" .Path}}" shaped
        inspect -f "{{index .Config.Labels \\"nosuch\\"}}" shaped
        rm shaped
    """,
}
