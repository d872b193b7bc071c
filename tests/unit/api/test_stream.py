"""Frames of a multiplexed stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.api.stream import STDERR, STDOUT, Demultiplexer, frame

_frames = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)), max_size=8)


def test_a_frame_is_type_zeros_length_payload():
    assert frame(STDERR, b"abc") == b"\x02\0\0\0\0\0\0\x03abc"


@given(_frames, st.integers(1, 17))
def test_frames_survive_any_cutting(frames, step):
    wire = b"".join(frame(*item) for item in frames)
    reader = Demultiplexer()
    found = [item for start in range(0, len(wire), step) for item in reader.feed(wire[start : start + step])]
    assert found == frames
    assert reader.pending == 0


def test_a_cut_off_frame_is_noticed():
    reader = Demultiplexer()
    assert list(reader.feed(frame(STDOUT, b"abc")[:-1])) == []
    assert reader.pending


def test_a_raw_stream_is_not_taken_for_frames():
    with pytest.raises(ValueError, match="not a frame head"):
        list(Demultiplexer().feed(b"hello world"))
