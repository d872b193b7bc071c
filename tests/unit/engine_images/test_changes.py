import pytest

from corten.engine.images.changes import apply
from corten.errors import InvalidArgument, NotSupported
from corten.oci.image import ContainerConfig


def changed(*lines: str) -> ContainerConfig:
    return apply(ContainerConfig(), lines)


def test_commands_in_both_forms() -> None:
    assert changed('CMD ["a", "b c"]').cmd == ("a", "b c")
    assert changed("cmd a b").cmd == ("/bin/sh", "-c", "a b")
    assert changed('ENTRYPOINT ["/x"]').entrypoint == ("/x",)
    assert changed("CMD [broken").cmd == ("/bin/sh", "-c", "[broken")


def test_environment_quotes_and_expansion() -> None:
    found = changed("ENV A=1 B='$A c' C=\"x $A\"", "ENV D=$A:${B}", "ENV OLD form here", "ENV A=2")
    assert found.env == ("A=2", "B=$A c", "C=x ", "D=1:$A c", "OLD=form here")


def test_labels_ports_volumes_and_the_rest() -> None:
    found = changed(
        "LABEL a=b 'c d'=\"e f\"", "EXPOSE 80 90-91/udp", "VOLUME /a /b", 'VOLUME ["/c"]', "WORKDIR /x",
        "WORKDIR y/../z", "USER u:g", "STOPSIGNAL SIGINT", "ONBUILD RUN x",
    )  # fmt: skip
    assert found.labels == {"a": "b", "c d": "e f"}
    assert set(found.exposed_ports or {}) == {"80/tcp", "90/udp", "91/udp"}
    assert set(found.volumes or {}) == {"/a", "/b", "/c"}
    assert found.working_dir == "/x/z"
    assert (found.user, found.stop_signal, found.on_build) == ("u:g", "SIGINT", ("RUN x",))


def test_healthchecks() -> None:
    found = changed("HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f x").healthcheck
    assert found is not None
    assert (found.test, found.interval, found.retries) == (("CMD-SHELL", "curl -f x"), 90_000_000_000, 3)
    none = changed("HEALTHCHECK NONE").healthcheck
    assert none is not None
    assert none.test == ("NONE",)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("ADD a b", "ADD is not a valid change command"),
        ("RUN x", "RUN is not a valid change command"),
        ("ENV", "ENV requires at least one argument"),
        ("EXPOSE 0", "invalid containerPort: 0"),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("LABEL a=1 b", "can't find = in"),
        ("ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"),
    ],
)
def test_refusals(line: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        changed(line)


def test_modifiers_are_not_silently_ignored() -> None:
    with pytest.raises(NotSupported, match="modifier"):
        changed("ENV A=${B:-x}")
