# SPDX-License-Identifier: Apache-2.0
"""Images that are unusual, but right: they are converted, and come back by export. And those with nothing
to convert, which are refused by name."""
import oci_layout
import pytest
from oci_layout import ARCH, CONFIG, INDEX, MANIFEST, LayoutBuilder
from tars import Tar

PLAIN = "application/vnd.in-toto+json"


def tar(count=1):
    made = Tar()
    for i in range(count):
        made.add(b"f%d" % i, data=b"data %d" % i)
    return made


def with_config(make):
    """One layer below the config that make(rootfs) gives."""
    def build(layout):
        layer, diff_id = layout.layer(tar())
        config = layout.json(make({"type": "layers", "diff_ids": [diff_id]}), CONFIG)
        layout.tag(layout.json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                                "layers": [layer]}, MANIFEST))
    return build


def for_platforms(layout, *entries):
    """An index of [(descriptor, os, architecture)]."""
    layout.tag(layout.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {**d, "platform": {"os": os, "architecture": arch}} for d, os, arch in entries]}, INDEX))


def attestation(layout):
    text = b'{"_type":"x"}'
    return layout.manifest([(layout.blob(text, PLAIN), oci_layout.sha256(text))]), "unknown", "unknown"


def image(layout, count=1, arch=ARCH):
    return layout.manifest([layout.layer(tar(count))], os_arch=("linux", arch)), "linux", arch


def nested(layout):
    inner = layout.index([(image(layout)[0], ("linux", ARCH))])
    layout.tag(layout.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner]}, INDEX))


def same_image_twice(layout):
    one = image(layout)
    for_platforms(layout, one, (one[0], "linux", "riscv64"))


def foreign_layer(layout):
    layer, diff_id = layout.layer(tar())
    layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    layout.tag(layout.manifest([({**layer, "urls": ["http://127.0.0.1/"]}, diff_id)]))


GOOD = {
    "a layer without entries": lambda layout: layout.image([Tar()]),
    "a layer without bytes": lambda layout: layout.image([b""]),
    "Docker's schema 2": lambda layout: layout.image([tar()], docker=True, compression=""),
    "the same layer three times": lambda layout: layout.image([tar(3)] * 3),
    "a foreign layer": foreign_layer,
    "a config without platform": with_config(lambda rootfs: {"rootfs": rootfs}),
    "a config of nulls": with_config(lambda rootfs: {
        "architecture": None, "os": "linux", "config": None, "history": None, "rootfs": rootfs}),
    "a history that is no array": with_config(lambda rootfs: {
        "architecture": ARCH, "os": "linux", "history": "x", "rootfs": rootfs}),
    "a history that names tarn": with_config(lambda rootfs: {
        "architecture": ARCH, "os": "linux", "rootfs": rootfs,
        "history": [{"created_by": "tarn"}] * 3 + [{"empty_layer": True}]}),
    "another operating system": with_config(lambda rootfs: {
        "architecture": "arm64", "os": "windows", "os.version": "10", "rootfs": rootfs}),
    "attestations": lambda layout: for_platforms(
        layout, image(layout), image(layout, 2, "riscv64"), attestation(layout)),
    "an index in an index": nested,
    "one image for two platforms": same_image_twice,
}


@pytest.mark.parametrize("title", GOOD)
@pytest.mark.parametrize("options", ((), ("--all-platforms",)), ids=("one", "all"))
def test_converted(tarn, tmp_path, title, options):
    GOOD[title](LayoutBuilder(tmp_path / "source"))
    source, out = f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t"
    tarn("convert", *options, source, out)
    tarn("check", out)
    digest = tarn("digest", source).text
    assert tarn("digest", out).text == digest
    tarn("export", out, f"oci:{tmp_path}/plain:t")
    assert tarn("digest", f"oci:{tmp_path}/plain:t").text == digest
    top = oci_layout.tags(tmp_path / "source")["latest"]["digest"]
    if options or "index" not in oci_layout.tags(tmp_path / "source")["latest"]["mediaType"]:
        assert oci_layout.tags(tmp_path / "out")["t"]["digest"] == top


def artifact(layout):
    empty = layout.blob(b"{}", "application/vnd.oci.empty.v1+json")
    layout.tag(layout.json({"schemaVersion": 2, "mediaType": MANIFEST, "config": empty,
                            "artifactType": "application/x", "layers": [empty]}, MANIFEST))


REFUSED = {
    "no layers": (lambda layout: layout.image([]), "0 layers, there is nothing to convert"),
    "an artifact": (artifact, "1 layers, its config 0 diff_ids"),
    "another platform": (lambda layout: for_platforms(layout, image(layout, 1, "riscv64")),
                         f"no image for platform linux/{ARCH}; there are: linux/riscv64"),
    "attestations alone": (lambda layout: for_platforms(layout, attestation(layout)),
                           "the index holds no image"),
    "an empty index": (for_platforms, "the index holds no image"),
}


@pytest.mark.parametrize("title", REFUSED)
def test_refused(tarn, tmp_path, title):
    make, message = REFUSED[title]
    make(LayoutBuilder(tmp_path / "source"))
    tarn.fails(f"^tarn: oci:[^ ]+: (?!oci:).*{message}", "convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    assert not (tmp_path / "out").exists()


def test_converted_already(tarn, tmp_path):
    LayoutBuilder(tmp_path / "source").image([tar()])
    tarn("convert", "--replace", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    tarn.fails("it is converted already; `tarn export` gives plain layers back", "convert",
               f"oci:{tmp_path}/out:t", f"oci:{tmp_path}/again:t")
    assert not (tmp_path / "again").exists()
