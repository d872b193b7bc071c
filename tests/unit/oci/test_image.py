"""Image documents: strict where it protects, tolerant where Go is."""

import json

import pytest

from corten.errors import InvalidArgument
from corten.oci import image, platform
from corten.oci.digest import Digest
from corten.oci.image import Descriptor, Platform

D = "sha256:" + "a" * 64
LAYER = {"mediaType": image.DOCKER_LAYER_GZIP, "size": 5, "digest": D}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": image.DOCKER_MANIFEST,
    "config": {"mediaType": image.DOCKER_CONFIG, "size": 9, "digest": D},
    "layers": [LAYER],
}
INDEX = {"schemaVersion": 2, "manifests": [{**LAYER, "mediaType": image.OCI_MANIFEST}]}


def raw(document):
    return json.dumps(document).encode()


def test_manifest_and_index_are_told_apart():
    found = image.decode_manifest(raw(MANIFEST))
    assert isinstance(found, image.Manifest)
    assert found.layers[0].digest == Digest(D)
    assert isinstance(found.layers[0].digest, Digest)
    assert isinstance(image.decode_manifest(raw(INDEX)), image.Index)
    assert isinstance(image.decode_manifest(raw({**INDEX, "mediaType": image.DOCKER_LIST})), image.Index)


@pytest.mark.parametrize(
    ("document", "sent_as", "words"),
    [
        ({**MANIFEST, "manifests": []}, "", "ambiguous"),
        ({**INDEX, "layers": []}, image.OCI_INDEX, "ambiguous"),
        ({**INDEX, "mediaType": image.OCI_INDEX}, image.OCI_MANIFEST, "was sent as"),
        ({**MANIFEST, "schemaVersion": 1}, "", "schema 1"),
        ({**MANIFEST, "layers": [{**LAYER, "digest": "sha256:../.."}]}, "", r"\$\.layers\[0\]\.digest|digest format"),
        ({**MANIFEST, "layers": [{**LAYER, "size": -1}]}, "", "negative"),
        ({**MANIFEST, "layers": [{**LAYER, "size": "5"}]}, "", "size"),
        ([], "", "not a JSON object"),
    ],
)
def test_cve_2021_41190_and_other_malformed_manifests_are_refused(document, sent_as, words):
    with pytest.raises(InvalidArgument, match=words):
        image.decode_manifest(raw(document), sent_as)


def test_documents_have_a_size_limit_and_a_depth_limit():
    with pytest.raises(InvalidArgument, match="larger than"):
        image.decode_manifest(b" " * (image.MANIFEST_LIMIT + 1))
    with pytest.raises(InvalidArgument, match="invalid manifest"):
        image.decode_manifest(b'{"a":' * 5000 + b"1" + b"}" * 5000)


def test_config_tolerates_null_and_keeps_dockers_fields():
    document = {
        "architecture": "arm", "os": "linux", "variant": "v7", "rootfs": {"type": "layers", "diff_ids": [D]},
        "config": {
            "Cmd": None, "Entrypoint": ["/x"], "OnBuild": [], "Labels": None, "ArgsEscaped": True,
            "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}, "StopTimeout": 3,
            "Unknown": {"kept": True},
        },
        "history": [{"created_by": "x", "empty_layer": True}], "unknown": [1, 2], "docker_version": "1",
    }  # fmt: skip
    config = image.decode_config(raw(document))
    assert config.config.cmd is None
    assert config.config.entrypoint == ("/x",)
    assert config.config.exposed_ports == {"80/tcp": {}}
    assert config.config.healthcheck is not None
    assert config.config.healthcheck.interval == 5
    assert config.platform == Platform("arm", "linux", variant="v7")
    amended = json.loads(image.amend(raw(document), config))
    assert amended["unknown"] == [1, 2]
    assert amended["config"]["Unknown"] == {"kept": True}
    assert amended["config"]["StopTimeout"] == 3
    assert amended["rootfs"] == document["rootfs"]
    assert image.decode_config(json.dumps(amended).encode()) == config


def test_config_without_rootfs_is_refused():
    with pytest.raises(InvalidArgument, match="rootfs"):
        image.decode_config(b"{}")


def test_platforms_have_one_spelling():
    assert platform.parse("linux/aarch64/v8") == Platform("arm64", "linux")
    assert platform.parse("x86_64") == Platform("amd64", "linux")
    assert platform.parse("linux/arm") == Platform("arm", "linux", variant="v7")
    assert platform.display(platform.parse("linux/armel")) == "linux/arm/v6"
    assert platform.host().os == "linux"
    for text in ("", "linux/", "a/b/c/d", "linux/a b", "nothing"):
        with pytest.raises(InvalidArgument):
            platform.parse(text)


def test_the_best_manifest_is_chosen():
    names = [
        "unknown/unknown",
        "linux/386",
        "linux/arm/v5",
        "linux/arm/v7",
        "linux/arm64/v8",
        "linux/amd64",
        "windows/amd64",
    ]
    offered = []
    for number, name in enumerate(names):
        parts = name.split("/")
        shape = Platform(parts[1], parts[0], variant=parts[2] if len(parts) > 2 else "")
        offered.append(Descriptor(image.OCI_MANIFEST, Digest.of(name.encode()), number, platform=shape))

    def chosen(text):
        found = platform.choose(offered, platform.parse(text))
        return names[found.size] if found else None

    assert chosen("linux/amd64") == "linux/amd64"
    assert chosen("linux/arm64") == "linux/arm64/v8"
    assert chosen("linux/arm/v7") == "linux/arm/v7"
    assert chosen("linux/arm/v6") == "linux/arm/v5"
    assert chosen("linux/s390x") is None
    assert platform.choose(offered[:2], platform.parse("linux/amd64")) is offered[1]
    assert platform.matches(Platform("386", "linux"), platform.parse("linux/amd64"))
    assert not platform.matches(Platform("386", "linux"), platform.parse("linux/amd64"), exact=True)
