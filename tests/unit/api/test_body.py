"""JSON bodies as Go's decoder reads them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.body import decode
from corten.api.types.container import ContainerCreate, HostConfig
from corten.api.types.volume import VolumeCreate
from corten.errors import InvalidArgument


def test_null_is_absent_in_structs_and_kept_in_maps():
    body = decode(
        b'{"Image":"a","Env":null,"HostConfig":{"RestartPolicy":null,"PortBindings":{"80/tcp":null}},"ExposedPorts":{"1/tcp":null}}',
        ContainerCreate,
    )
    assert body.Env is None
    assert body.HostConfig is not None
    assert body.HostConfig.RestartPolicy == HostConfig().RestartPolicy
    assert body.HostConfig.PortBindings == {"80/tcp": None}
    assert body.ExposedPorts == {"1/tcp": None}


def test_names_match_in_any_case_at_every_depth():
    body = decode(b'{"image":"a","hostconfig":{"MOUNTS":[{"type":"bind","bindOptions":{"propagation":"slave"}}]}}',
                  ContainerCreate)  # fmt: skip
    assert body.Image == "a"
    assert body.HostConfig is not None
    assert body.HostConfig.Mounts is not None
    assert body.HostConfig.Mounts[0].BindOptions is not None
    assert body.HostConfig.Mounts[0].BindOptions.Propagation == "slave"


def test_map_keys_keep_their_case():
    assert decode(b'{"Labels":{"Name":"a","name":"b"}}', VolumeCreate).Labels == {"Name": "a", "name": "b"}


def test_unknown_members_are_ignored():
    assert decode(b'{"Name":"v","Nonsense":{"deep":[1,2]}}', VolumeCreate).Name == "v"


def test_a_repeated_name_means_its_last_value():
    assert decode(b'{"Name":"a","Name":"b"}', VolumeCreate).Name == "b"
    assert decode(b'{"Name":"a","name":"b"}', VolumeCreate).Name == "b"
    assert decode(b'{"Name":"a","name":null}', VolumeCreate).Name == ""


def test_words_may_be_one_text_or_a_list():
    assert decode(b'{"Cmd":"ls"}', ContainerCreate).Cmd == "ls"
    assert decode(b'{"Cmd":["ls","-l"]}', ContainerCreate).Cmd == ["ls", "-l"]


def test_an_error_names_the_member():
    with pytest.raises(InvalidArgument, match=r"invalid JSON: .*\$\.HostConfig\.Memory"):
        decode(b'{"HostConfig":{"Memory":"1g"}}', ContainerCreate)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"1", b"\xff\xfe", b'{"Name":1}', b'{"a":' * 3000])
def test_what_is_no_such_body_is_refused(raw):
    with pytest.raises(InvalidArgument, match="invalid JSON"):
        decode(raw, VolumeCreate)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(
        st.sampled_from(["Image", "hostconfig", "Mounts", "Labels", "x", "Ulimits", "PortBindings", "Healthcheck"]),
        children, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(_json)
def test_any_document_is_a_body_or_a_refusal(document):
    try:
        body = decode(json.dumps(document).encode(), ContainerCreate)
    except InvalidArgument:
        return
    assert isinstance(body, ContainerCreate)
