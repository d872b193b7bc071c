"""Events on the wire (API 1.51)."""

import msgspec


class Actor(msgspec.Struct):
    """Whom an event is about."""

    ID: str = ""
    Attributes: dict[str, str] = {}


_Actor = Actor


class EventMessage(msgspec.Struct, kw_only=True, omit_defaults=True, rename={"from_": "from"}):
    """One message of ``GET /events``; ``status``, ``id`` and ``from`` repeat the actor for old clients."""

    status: str = ""
    id: str = ""
    from_: str = ""
    Type: str
    Action: str
    Actor: _Actor
    scope: str = ""
    time: int = 0
    timeNano: int = 0
