from hypothesis import given
from hypothesis import strategies as st

from corten.registry.challenge import Challenge, parse


def test_bearer_as_docker_hub_writes_it() -> None:
    line = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'
    assert parse([line]) == [
        Challenge(
            "bearer",
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:a/b:pull,push",
            },
        )
    ]


def test_several_challenges_in_one_line_and_in_two() -> None:
    line = 'Basic realm="a", Bearer realm="https://x/t" , service=y'
    assert [found.scheme for found in parse([line])] == ["basic", "bearer"]
    assert parse([line])[1].parameters == {"realm": "https://x/t", "service": "y"}
    assert parse(['Negotiate YWJj==, Basic realm="x"'])[1] == Challenge("basic", {"realm": "x"})
    assert [found.scheme for found in parse(["Negotiate", "basic realm=q"])] == ["negotiate", "basic"]


def test_quoted_pairs_commas_and_case() -> None:
    assert parse(['BASIC Realm="a\\"b, c\\\\d"']) == [Challenge("basic", {"realm": 'a"b, c\\d'})]


def test_the_first_of_a_repeated_parameter_counts() -> None:
    assert parse(["Basic realm=a, realm=b"]) == [Challenge("basic", {"realm": "a"})]


@given(st.text(max_size=200))
def test_any_text_is_read_without_failing(text: str) -> None:
    parse([text, "Basic realm=a"])
