"""What a client sends and what the image says, as one configuration; pure.

Docker's rules (``docker run`` reference, "Overriding image defaults"): the client's value wins; lists of ports,
volumes, labels and environment variables are joined; an image's command counts only when the client named neither
entrypoint nor command.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from corten.api.types.container import ContainerConfig, HealthConfig
from corten.errors import InvalidArgument
from corten.oci import image as oci

#: The value of a set written as a JSON object.
Keys = dict[str, Any] | None


def merge(client: ContainerConfig, image: oci.ContainerConfig) -> ContainerConfig:
    """``client`` completed from ``image``."""
    entrypoint, command = client.Entrypoint, client.Cmd
    if not entrypoint:
        if not command:
            command = list(image.cmd) if image.cmd is not None else command
        if entrypoint is None and image.entrypoint is not None:
            entrypoint = list(image.entrypoint)
    if entrypoint == [""]:
        entrypoint = None
    return msgspec.structs.replace(
        client,
        User=client.User or image.user,
        ExposedPorts=_joined(image.exposed_ports, client.ExposedPorts),
        Env=_environment(client.Env, image.env),
        Labels={**(image.labels or {}), **(client.Labels or {})},
        Volumes=_joined(image.volumes, client.Volumes),
        WorkingDir=client.WorkingDir or image.working_dir,
        StopSignal=client.StopSignal or image.stop_signal or None,
        Healthcheck=_healthcheck(client.Healthcheck, image.healthcheck),
        Entrypoint=entrypoint,
        Cmd=command,
    )


def _healthcheck(client: HealthConfig | None, image: oci.Healthcheck | None) -> HealthConfig | None:
    """Member by member: ``--health-interval`` alone changes how often the image's check is run."""
    if image is None:
        return client
    given = client or HealthConfig()
    return HealthConfig(
        Test=given.Test or list(image.test) or None,
        Interval=given.Interval or image.interval,
        Timeout=given.Timeout or image.timeout,
        StartPeriod=given.StartPeriod or image.start_period,
        StartInterval=given.StartInterval or image.start_interval,
        Retries=given.Retries or image.retries,
    )


def _joined(first: Mapping[str, Keys] | None, second: dict[str, Keys] | None) -> dict[str, Keys] | None:
    """A client that names none has the image's, whether these are none or an empty set."""
    if not second:
        return None if first is None else dict(first)
    return {**(first or {}), **second}


def _environment(client: list[str] | None, image: tuple[str, ...] | None) -> list[str] | None:
    """The client's variables, then those of the image it does not name."""
    if not client or image is None:
        return list(image) if image is not None else client or None
    named = {entry.partition("=")[0] for entry in client}
    return [*client, *(entry for entry in image if entry.partition("=")[0] not in named)]


def command_line(config: ContainerConfig) -> list[str]:
    """Entrypoint and command as one argument vector.

    Raises:
        InvalidArgument: both are empty.
    """
    vector = [*(config.Entrypoint or ()), *(config.Cmd or ())]
    if not vector:
        raise InvalidArgument("no command specified")
    return vector
