"""What a container keeps of its network: persisted inside the container's record.

Owns the shape on disk. Refuses to know the wire (:mod:`corten.engine.networks.settings` renders it) and the kernel.
"""

import msgspec


class PublishedPort(msgspec.Struct, frozen=True):
    """One host address and port that leads to a container port; ``host_ip`` ``0.0.0.0`` is every address."""

    protocol: str
    container_port: int
    host_ip: str
    host_port: int


class EndpointRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A container's place in its network while it runs.

    ``mode`` is ``bridge``, ``host``, ``none`` or ``container:ID`` (then nothing else is filled); ``network`` the name
    clients see. Addresses are dotted quads; ``mac`` is colon separated; ``veth`` is the host side's name.
    """

    mode: str
    network: str = ""
    network_id: str = ""
    endpoint_id: str = ""
    sandbox_id: str = ""
    ip: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    veth: str = ""
    ports: tuple[PublishedPort, ...] = ()
    name: str = ""
