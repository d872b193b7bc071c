"""Content: verified while it streams, resumable, invisible until complete."""

import os
import threading
import time
from contextlib import suppress

import pytest

from corten.errors import Conflict, CorruptData, NotFound
from corten.oci.digest import Digest
from corten.storage.content import STALE_AFTER, ContentStore

DATA = os.urandom(300_000)
DIGEST = Digest.of(DATA)


@pytest.fixture
def store(tmp_path):
    return ContentStore(tmp_path)


def receive(store, data):
    with store.writer("layer", expected=DIGEST, size=len(DATA)) as ingest:
        ingest.write(data)
        ingest.commit()


def test_a_blob_appears_only_when_it_is_complete(store):
    with store.writer("layer", expected=DIGEST, size=len(DATA)) as ingest:
        ingest.write(DATA[:1000])
        assert not store.has(DIGEST)
        assert not ingest.complete
        ingest.write(DATA[1000:])
        assert ingest.complete
        assert not store.has(DIGEST)
        assert ingest.commit() == DIGEST
    assert store.has(DIGEST)
    assert store.size(DIGEST) == len(DATA)
    assert store.read(DIGEST, limit=1 << 20) == DATA
    assert list(store.walk()) == [DIGEST]
    assert store.ingests() == []


@pytest.mark.parametrize("change", ["flip", "short", "long"])
def test_corrupt_and_truncated_blobs_leave_nothing(store, change):
    data = {"flip": b"x" + DATA[1:], "short": DATA[:-1], "long": DATA + b"x"}[change]
    with pytest.raises(CorruptData):
        receive(store, data)
    assert not store.has(DIGEST)
    assert store.ingests() == []
    assert list(store.walk()) == []


def test_an_ingest_is_resumed_by_another_process(store, tmp_path):
    with suppress(OSError), store.writer("layer", expected=DIGEST, size=len(DATA)) as ingest:
        ingest.write(DATA[:100_000])
        raise OSError("line is cut")
    later = ContentStore(tmp_path)
    assert [(status.offset, status.size) for status in later.ingests()] == [(100_000, len(DATA))]
    assert later.recover() == 0
    with later.writer("other name", expected=DIGEST, size=len(DATA)) as ingest:
        assert ingest.offset == 100_000
        assert b"".join(ingest.read_back()) == DATA[:100_000]
        ingest.write(DATA[100_000:])
        assert ingest.commit() == DIGEST


def test_bytes_damaged_between_two_attempts_are_noticed(store, tmp_path):
    with store.writer("layer", expected=DIGEST, size=len(DATA)) as ingest:
        ingest.write(DATA[:1000])
    (data,) = (tmp_path / "ingest").glob("*/data")
    data.write_bytes(b"x" * 1000)
    with pytest.raises(CorruptData):
        receive(store, DATA[1000:])
    assert not store.has(DIGEST)


def test_a_source_that_cannot_resume_starts_again(store):
    with store.writer("layer", expected=DIGEST) as ingest:
        ingest.write(b"wrong")
        ingest.restart()
        ingest.write(DATA)
        assert ingest.commit() == DIGEST
    assert store.read(DIGEST, limit=1 << 20) == DATA


def test_one_writer_at_a_time_per_digest(store):
    first = store.writer("one", expected=DIGEST, size=len(DATA))
    with pytest.raises(Conflict, match="being written"):
        store.writer("two", expected=DIGEST, size=len(DATA))

    def finish():
        time.sleep(0.05)
        first.write(DATA)
        first.commit()

    thread = threading.Thread(target=finish)
    thread.start()
    with store.writer("two", expected=DIGEST, size=len(DATA), wait=10) as second:
        assert store.has(DIGEST)
        assert second.offset == 0
        second.abort()
    thread.join()
    assert store.ingests() == []


def test_stale_and_unusable_ingests_are_removed(store, tmp_path):
    store.writer("layer", expected=DIGEST, size=len(DATA)).close()
    (tmp_path / "ingest" / "half").mkdir()
    active = store.writer("busy", expected=Digest.of(b"y"))
    assert store.recover() == 1
    assert store.recover(now=time.time() + STALE_AFTER + 60) == 1
    assert len(store.ingests()) == 1
    active.abort()


def test_damage_on_disk_is_found(store, tmp_path):
    digest = store.put(b"document")
    assert store.put(b"document", digest) == digest
    assert store.damage(digest) == ""
    store.path(digest).write_bytes(b"documenT")
    assert store.damage(digest) == f"content {digest} no longer has its digest"
    with pytest.raises(CorruptData, match="damaged"):
        store.read(digest, limit=100)
    with pytest.raises(CorruptData, match="larger"):
        store.read(digest, limit=3)
    with pytest.raises(CorruptData):
        store.put(b"other", digest)


def test_deleting_gives_the_bytes_back(store):
    digest = store.put(b"x" * 5000)
    assert store.usage() >= 5000
    assert 5000 <= store.delete(digest) <= 5000 + 4096
    assert store.delete(digest) == 0
    for method in (store.size, store.open):
        with pytest.raises(NotFound):
            method(digest)


def test_sha512_content_is_verified_by_its_own_algorithm(store):
    import hashlib

    digest = Digest("sha512:" + hashlib.sha512(b"x").hexdigest())
    with store.writer("r", expected=digest) as ingest:
        ingest.write(b"x")
        assert ingest.commit() == digest
    assert list(store.walk()) == [digest]


def test_an_ingest_nobody_can_find_again_does_not_outlive_its_process(store, tmp_path):
    with suppress(OSError), store.writer("document-1", expected=DIGEST, size=len(DATA), shared=False) as ingest:
        ingest.write(DATA[:1000])
        raise OSError("killed")
    assert len(store.ingests()) == 1
    assert ContentStore(tmp_path).recover() == 1
    assert store.ingests() == []
