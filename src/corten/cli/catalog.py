"""Every command as data: its words, usage line, number of arguments, and where its code is.

Nothing of a command is imported before it is chosen. A row's ``code`` is ``module:name`` below ``corten.cli.commands``;
the module has ``name(session, options, arguments) -> exit code`` and ``NAME_FLAGS``. A row without code is a command
of Docker's that is not there yet.
"""

from __future__ import annotations

MANY = 1 << 30


class Command:
    """One verb. ``words`` is its place in the tree (``container ls``), ``aliases`` other places, in help's order."""

    __slots__ = ("aliases", "arguments", "code", "high", "interspersed", "low", "words")

    def __init__(
        self, words: str, arguments: str, counts: tuple[int, int], code: str,
        aliases: tuple[str, ...] = (), *, interspersed: bool = True,
    ) -> None:  # fmt: skip
        self.words = words
        self.arguments = arguments
        self.low, self.high = counts
        self.code = code
        self.aliases = aliases
        self.interspersed = interspersed


O = "[OPTIONS]"  # noqa: E741 - one letter keeps the rows aligned
ONE = f"{O} CONTAINER"
SOME = f"{O} CONTAINER [CONTAINER...]"
RUN = f"{O} IMAGE [COMMAND] [ARG...]"
EXEC = f"{O} CONTAINER COMMAND [ARG...]"
COPY = f"{O} CONTAINER:SRC_PATH DEST_PATH|-\n\tcorten cp {O} SRC_PATH|- CONTAINER:DEST_PATH"

GROUPS = ("container", "context", "image", "network", "system", "volume")
COMMANDS = (
    Command("container attach", ONE, (1, 1), "attach:attach", ("attach",)),
    Command("container commit", f"{O} CONTAINER [REPOSITORY[:TAG]]", (1, 2), "commit:commit", ("commit",)),
    Command("container cp", COPY, (2, 2), "cp:cp", ("cp",)),
    Command("container create", RUN, (1, MANY), "create:create", ("create",), interspersed=False),
    Command("container diff", "CONTAINER", (1, 1), "export:diff", ("diff",)),
    Command("container exec", EXEC, (2, MANY), "execute:execute", ("exec",), interspersed=False),
    Command("container export", ONE, (1, 1), "export:export", ("export",)),
    Command("container inspect", SOME, (1, MANY), "inspect:container"),
    Command("container kill", SOME, (1, MANY), "lifecycle:kill", ("kill",)),
    Command("container logs", ONE, (1, 1), "logs:logs", ("logs",)),
    Command("container ls", O, (0, 0), "ps:ps", ("container list", "container ps", "ps")),
    Command("container pause", "CONTAINER [CONTAINER...]", (1, MANY), "lifecycle:pause", ("pause",)),
    Command("container port", "CONTAINER [PRIVATE_PORT[/PROTO]]", (1, 2), "containers:port", ("port",)),
    Command("container prune", O, (0, 0), "prune:container"),
    Command("container rename", "CONTAINER NEW_NAME", (2, 2), "lifecycle:rename", ("rename",)),
    Command("container restart", SOME, (1, MANY), "lifecycle:restart", ("restart",)),
    Command("container rm", SOME, (1, MANY), "lifecycle:rm", ("container remove", "rm")),
    Command("container run", RUN, (1, MANY), "run:run", ("run",), interspersed=False),
    Command("container start", SOME, (1, MANY), "attach:start", ("start",)),
    Command("container stats", f"{O} [CONTAINER...]", (0, MANY), "stats:stats", ("stats",)),
    Command("container stop", SOME, (1, MANY), "lifecycle:stop", ("stop",)),
    Command("container top", "CONTAINER [ps OPTIONS]", (1, MANY), "containers:top", ("top",), interspersed=False),
    Command("container unpause", "CONTAINER [CONTAINER...]", (1, MANY), "lifecycle:unpause", ("unpause",)),
    Command("container update", SOME, (1, MANY), "update:update", ("update",)),
    Command("container wait", "CONTAINER [CONTAINER...]", (1, MANY), "lifecycle:wait", ("wait",)),
    Command("context create", f"{O} CONTEXT", (1, 1), "context:create"),
    Command("context export", "CONTEXT [FILE|-]", (1, 2), "context_archive:export"),
    Command("context import", "CONTEXT FILE|-", (2, 2), "context_archive:import_"),
    Command("context inspect", f"{O} [CONTEXT] [CONTEXT...]", (0, MANY), "context:inspect"),
    Command("context ls", O, (0, 0), "context:ls", ("context list",)),
    Command("context rm", "CONTEXT [CONTEXT...]", (1, MANY), "context:rm", ("context remove",)),
    Command("context show", "", (0, 0), "context:show"),
    Command("context update", f"{O} CONTEXT", (1, 1), "context:update"),
    Command("context use", "CONTEXT", (1, 1), "context:use"),
    Command("image build", f"{O} PATH | URL | -", (1, 1), "", ("build",)),
    Command("image history", f"{O} IMAGE", (1, 1), "images:history", ("history",)),
    Command("image import", f"{O} file|URL|- [REPOSITORY[:TAG]]", (1, 2), "archives:import_", ("import",)),
    Command("image inspect", f"{O} IMAGE [IMAGE...]", (1, MANY), "inspect:image"),
    Command("image load", O, (0, 0), "archives:load", ("load",)),
    Command("image ls", f"{O} [REPOSITORY[:TAG]]", (0, 1), "images:ls", ("image list", "images")),
    Command("image prune", O, (0, 0), "prune:image"),
    Command("image pull", f"{O} NAME[:TAG|@DIGEST]", (1, 1), "transfer:pull", ("pull",)),
    Command("image push", f"{O} NAME[:TAG]", (1, 1), "transfer:push", ("push",)),
    Command("image rm", f"{O} IMAGE [IMAGE...]", (1, MANY), "images:rm", ("image remove", "rmi")),
    Command("image save", f"{O} IMAGE [IMAGE...]", (1, MANY), "archives:save", ("save",)),
    Command("image tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", (2, 2), "images:tag", ("tag",)),
    Command("network connect", f"{O} NETWORK CONTAINER", (2, 2), "networks:connect"),
    Command("network create", f"{O} NETWORK", (1, 1), "networks:create"),
    Command("network disconnect", f"{O} NETWORK CONTAINER", (2, 2), "networks:disconnect"),
    Command("network inspect", f"{O} NETWORK [NETWORK...]", (1, MANY), "inspect:network"),
    Command("network ls", O, (0, 0), "networks:ls", ("network list",)),
    Command("network prune", O, (0, 0), "prune:network"),
    Command("network rm", "NETWORK [NETWORK...]", (1, MANY), "networks:rm", ("network remove",)),
    Command("system df", O, (0, 0), "usage:df"),
    Command("system events", O, (0, 0), "events:events", ("events",)),
    Command("system info", O, (0, 0), "info:info", ("info",)),
    Command("system prune", O, (0, 0), "prune:system"),
    Command("volume create", f"{O} [VOLUME]", (0, 1), "volumes:create"),
    Command("volume inspect", f"{O} VOLUME [VOLUME...]", (1, MANY), "inspect:volume"),
    Command("volume ls", O, (0, 0), "volumes:ls", ("volume list",)),
    Command("volume prune", O, (0, 0), "prune:volume"),
    Command("volume rm", f"{O} VOLUME [VOLUME...]", (1, MANY), "volumes:rm", ("volume remove",)),
    Command("doctor", O, (0, 0), "doctor:doctor"),
    Command("inspect", f"{O} NAME|ID [NAME|ID...]", (1, MANY), "inspect:inspect"),
    Command("login", f"{O} [SERVER]", (0, 1), "login:login"),
    Command("logout", "[SERVER]", (0, 1), "login:logout"),
    Command("search", f"{O} TERM", (1, 1), "search:search"),
    Command("version", O, (0, 0), "system:version"),
)  # fmt: skip

#: The commands help names first.
COMMON = ("run", "exec", "ps", "pull", "push", "images", "login", "logout", "version", "info", "doctor")


def find(words: list[str]) -> tuple[Command, str, list[str]] | None:
    """The command that the first one or two words name, the words it was called by, and the words after them."""
    if not words:
        return None
    wanted = words[0]
    taken = 1
    if wanted in GROUPS:
        if len(words) < 2:
            return None
        wanted = f"{words[0]} {words[1]}"
        taken = 2
    for command in COMMANDS:
        if command.words == wanted or wanted in command.aliases:
            return command, wanted, words[taken:]
    return None
