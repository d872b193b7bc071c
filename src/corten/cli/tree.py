"""Every command: the words that name it, and where it is. Data only; a module is imported when its command is typed.

``module:function``; the command's flags are the constant of the function's name in capitals beside it. A word that is
a group of its own stands in ``GROUPS`` with its one line of help.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

GROUPS: Final[dict[str, str]] = {
    "container": "Manage containers",
    "image": "Manage images",
    "network": "Manage networks",
    "system": "Manage Corten",
    "volume": "Manage volumes",
}

_C: Final = "corten.cli.commands"

#: Verbs of ``corten container``, all of them also typed without the group unless listed in _GROUP_ONLY.
_CONTAINER: Final[dict[str, str]] = {
    "attach": f"{_C}.attach:attach",
    "create": f"{_C}.run:create",
    "exec": f"{_C}.exec:exec_",
    "kill": f"{_C}.lifecycle:kill",
    "logs": f"{_C}.logs:logs",
    "port": f"{_C}.containers:port",
    "rename": f"{_C}.lifecycle:rename",
    "restart": f"{_C}.lifecycle:restart",
    "rm": f"{_C}.lifecycle:rm",
    "run": f"{_C}.run:run",
    "start": f"{_C}.start:start",
    "stop": f"{_C}.lifecycle:stop",
    "top": f"{_C}.containers:top",
    "wait": f"{_C}.lifecycle:wait",
}
_IMAGE: Final[dict[str, str]] = {
    "history": f"{_C}.images:history",
    "import": f"{_C}.archives:import_",
    "load": f"{_C}.archives:load",
    "pull": f"{_C}.registry:pull",
    "push": f"{_C}.registry:push",
    "save": f"{_C}.archives:save",
    "tag": f"{_C}.images:tag",
}

TREE: Final[dict[tuple[str, ...], str]] = {
    **{(verb,): where for verb, where in _CONTAINER.items()},
    **{("container", verb): where for verb, where in _CONTAINER.items()},
    **{(verb,): where for verb, where in _IMAGE.items()},
    **{("image", verb): where for verb, where in _IMAGE.items()},
    ("container", "inspect"): f"{_C}.inspect:container_inspect",
    ("container", "ls"): f"{_C}.ps:ps",
    ("container", "prune"): f"{_C}.prune:container_prune",
    ("doctor",): f"{_C}.system:doctor",
    ("events",): f"{_C}.system:events",
    ("image", "inspect"): f"{_C}.inspect:image_inspect",
    ("image", "ls"): f"{_C}.images:images",
    ("image", "prune"): f"{_C}.prune:image_prune",
    ("image", "rm"): f"{_C}.images:rmi",
    ("images",): f"{_C}.images:images",
    ("info",): f"{_C}.info:info",
    ("inspect",): f"{_C}.inspect:inspect",
    ("login",): f"{_C}.login:login",
    ("logout",): f"{_C}.login:logout",
    ("network", "inspect"): f"{_C}.inspect:network_inspect",
    ("network", "ls"): f"{_C}.networks:network_ls",
    ("ps",): f"{_C}.ps:ps",
    ("rmi",): f"{_C}.images:rmi",
    ("search",): f"{_C}.registry:search",
    ("system", "df"): f"{_C}.system:df",
    ("system", "events"): f"{_C}.system:events",
    ("system", "info"): f"{_C}.info:info",
    ("system", "prune"): f"{_C}.prune:system_prune",
    ("version",): f"{_C}.version:version",
    ("volume", "create"): f"{_C}.volumes:volume_create",
    ("volume", "inspect"): f"{_C}.inspect:volume_inspect",
    ("volume", "ls"): f"{_C}.volumes:volume_ls",
    ("volume", "prune"): f"{_C}.prune:volume_prune",
    ("volume", "rm"): f"{_C}.volumes:volume_rm",
}

#: Other words for the same command.
ALIASES: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    ("container", "list"): ("container", "ls"),
    ("container", "ps"): ("container", "ls"),
    ("container", "remove"): ("container", "rm"),
    ("image", "list"): ("image", "ls"),
    ("image", "remove"): ("image", "rm"),
    ("network", "list"): ("network", "ls"),
    ("volume", "list"): ("volume", "ls"),
    ("volume", "remove"): ("volume", "rm"),
}

#: Docker has these; this engine does not yet. They are known, so that the answer is not "unknown command".
NOT_YET: Final = frozenset(
    """build builder buildx checkpoint commit compose config context cp diff export manifest node pause plugin secret
    service stack stats swarm trust unpause update""".split()
)
