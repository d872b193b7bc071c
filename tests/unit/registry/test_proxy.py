import pytest

from corten.registry.proxy import from_environment, proxy_for

ENVIRONMENT = {
    "HTTP_PROXY": "http://plain:1",
    "https_proxy": "secure:2",
    "NO_PROXY": "example.com, .only-below.org,10.0.0.0/8,host:8443,[::2]",
}


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://a.net/", "http://plain:1"),
        ("https://a.net/", "http://secure:2"),
        ("https://example.com/", None),
        ("https://sub.example.com/", None),
        ("https://notexample.com/", "http://secure:2"),
        ("https://only-below.org/", "http://secure:2"),
        ("https://x.only-below.org/", None),
        ("https://10.2.3.4:5000/", None),
        ("https://11.2.3.4/", "http://secure:2"),
        ("https://host:8443/", None),
        ("https://host/", "http://secure:2"),
        ("http://localhost:5000/", None),
        ("http://127.0.0.5/", None),
        ("http://[::1]:80/", None),
    ],
)
def test_the_rules_of_go(url: str, proxy: str | None) -> None:
    assert proxy_for(url, from_environment(ENVIRONMENT)) == proxy


def test_star_turns_proxies_off_and_nothing_means_none() -> None:
    assert proxy_for("http://a/", from_environment({"HTTP_PROXY": "http://p", "NO_PROXY": "*"})) is None
    assert proxy_for("http://a/", from_environment({})) is None
