import json

import pytest

from corten.engine.images import bundle
from corten.engine.images.bundle import Documents, blob_path, clean, link_target
from corten.errors import CorruptData, InvalidArgument, NotSupported
from corten.oci.digest import Digest


def docker(*items: dict[str, object], **files: bytes) -> Documents:
    return Documents({"manifest.json": json.dumps(items).encode(), **files}, {})


def test_names_cannot_leave_the_archive_and_have_one_spelling() -> None:
    assert clean("./a//b/../c") == "a/c"
    assert clean("../../etc/passwd") == "etc/passwd"
    assert link_target("id/layer.tar", "../x.tar", symbolic=True) == "x.tar"
    assert link_target("id/layer.tar", "x.tar", symbolic=False) == "x.tar"


def test_dockers_list() -> None:
    documents = docker({"Config": "c.json", "RepoTags": ["a:1", "127.0.0.1:5000/b:2"], "Layers": ["l/layer.tar"]})
    documents.links["l/layer.tar"] = "x.tar"  # type: ignore[index]
    (found,) = bundle.images(documents, None)
    assert [name.familiar() for name in found.names] == ["a:1", "127.0.0.1:5000/b:2"]
    assert (found.config, found.layers, found.manifest) == ("c.json", ["x.tar"], None)


def layout(annotations: dict[str, str]) -> dict[str, bytes]:
    config = b"{}"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": str(Digest.of(config)),
                "size": len(config),
            },
            "layers": [],
        }
    ).encode()
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": str(Digest.of(manifest)),
        "size": len(manifest),
        "annotations": annotations,
    }
    return {
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        blob_path(Digest.of(manifest)): manifest,
        blob_path(Digest.of(config)): config,
    }


def test_a_layouts_manifest_is_kept_byte_for_byte_also_under_dockers_list() -> None:
    files = layout({"io.containerd.image.name": "docker.io/library/x:1"})
    (alone,) = bundle.images(Documents(files, {}), None)
    assert [name.familiar() for name in alone.names] == ["x:1"]
    both = {**files, **docker({"Config": alone.config, "RepoTags": ["y:2"], "Layers": []}).files}
    (joined,) = bundle.images(Documents(both, {}), None)
    assert [name.familiar() for name in joined.names] == ["y:2"]
    assert joined.manifest is not None
    assert joined.manifest in files.values()


def test_a_bare_tag_names_nothing() -> None:
    files = layout({"org.opencontainers.image.ref.name": "latest"})
    assert bundle.images(Documents(files, {}), None)[0].names == []


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, InvalidArgument),
        ({"repositories": b"{}"}, NotSupported),
        ({"manifest.json": b"[1]"}, CorruptData),
        ({"manifest.json": b'[{"Config":"c","RepoTags":["a@b"]}]'}, InvalidArgument),
        ({"manifest.json": b'[{"Config":"c","RepoTags":["a"]}]'}, CorruptData),
    ],
)
def test_what_is_no_archive(files: dict[str, bytes], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        bundle.images(Documents(files, {}), None)


def test_links_that_go_in_a_circle() -> None:
    with pytest.raises(CorruptData, match="too many links"):
        Documents({}, {"a": "b", "b": "a"}).resolve("a")


def test_a_blob_that_lies_about_its_digest() -> None:
    files = layout({})
    name = next(key for key, raw in files.items() if b"schemaVersion" in raw and key.startswith("blobs"))
    with pytest.raises(CorruptData, match="does not have the digest"):
        bundle.images(Documents({**files, name: files[name] + b" "}, {}), None)
