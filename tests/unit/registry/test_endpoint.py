import pytest

from corten.errors import InvalidArgument
from corten.registry.endpoint import Endpoint, RegistrySettings, endpoints, is_insecure, settings_from_flags, split_port


def bases(domain: str, settings: RegistrySettings | None = None, *, push: bool = False) -> list[str]:
    return [found.base for found in endpoints(domain, settings or RegistrySettings(), push=push)]


def test_docker_hub_lives_under_another_name() -> None:
    assert endpoints("docker.io", RegistrySettings()) == [
        Endpoint("https://registry-1.docker.io", "registry-1.docker.io")
    ]


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:443", "localhost"])
def test_loopback_tries_https_and_then_http(host: str) -> None:
    assert bases(host) == [f"https://{host}", f"http://{host}"]


def test_everything_else_is_https_only() -> None:
    assert bases("quay.io") == ["https://quay.io"]
    assert bases("10.0.0.1:5000") == ["https://10.0.0.1:5000"]
    assert bases("localhost.example.com") == ["https://localhost.example.com"]


def test_configured_insecure_registries_by_name_and_network() -> None:
    settings = settings_from_flags([], ["reg.example.com:5000", "10.1.0.0/16"])
    assert is_insecure("reg.example.com:5000", settings)
    assert not is_insecure("reg.example.com", settings)
    assert is_insecure("10.1.2.3:80", settings)
    assert not is_insecure("10.2.2.3:80", settings)


def test_mirrors_come_first_for_pulls_and_never_for_pushes() -> None:
    settings = settings_from_flags(["https://m.example.com/", "quay.io=https://q.example.com/v"], [])
    assert bases("docker.io", settings) == ["https://m.example.com", "https://registry-1.docker.io"]
    assert bases("quay.io", settings) == ["https://q.example.com/v", "https://quay.io"]
    assert bases("docker.io", settings, push=True) == ["https://registry-1.docker.io"]
    assert [found.mirror for found in endpoints("docker.io", settings)] == [True, False]


@pytest.mark.parametrize("value", ["m.example.com", "ftp://x", "https://user@x", "https://x?y=1"])
def test_a_mirror_must_be_a_plain_url(value: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid mirror"):
        settings_from_flags([value], [])


def test_an_insecure_registry_has_no_scheme() -> None:
    with pytest.raises(InvalidArgument, match="should not contain '://'"):
        settings_from_flags([], ["http://x"])


def test_ports() -> None:
    assert split_port("[::1]:5000") == ("::1", "5000")
    assert split_port("host") == ("host", "")
