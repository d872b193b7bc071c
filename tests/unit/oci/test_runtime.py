"""config.json: JSON without the json package, and what is refused by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import InvalidArgument, NotSupported
from corten.oci import runtime
from corten.runtime.describe import template

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(DOCUMENTS)
def test_the_same_json_as_the_standard_library(value: object) -> None:
    assert runtime.decode(runtime.encode(value)) == value
    assert runtime.decode(json.dumps(value, indent=2)) == value
    assert json.loads(runtime.encode(value)) == value


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nope", "1 2", '{"a" 1}', '"\n"', b"\xff"])
def test_what_is_no_json(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the text differs by Python version
        runtime.decode(text)


def test_refusals() -> None:
    spec = template()
    runtime.validate(spec)
    with pytest.raises(InvalidArgument, match="need a namespace of type user"):
        runtime.validate(
            {**spec, "linux": {**spec["linux"], "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}}
        )
    with pytest.raises(NotSupported, match="mount namespace"):
        runtime.validate({**spec, "linux": {"namespaces": []}})
    with pytest.raises(InvalidArgument, match="duplicated ns pid"):
        runtime.namespaces({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}})
    with pytest.raises(InvalidArgument, match="absolute path"):
        runtime.validate_process({"args": ["x"], "cwd": "relative"})
    with pytest.raises(InvalidArgument, match=r"process.args\[0\] must not contain null bytes"):
        runtime.validate_process({"args": ["x\0y"], "cwd": "/"})
