# SPDX-License-Identifier: Apache-2.0
"""--dict with registries: the foreign blobs get to the destination, which then needs nobody else."""
import corner_cases
import images
import mounts
import oci_layout
import pytest
import registries
import registry_help as help_
from reader import check
from registry_help import blob_requests, published, uploads
from tars import Tar

COMMON = corner_cases.noise(1 << 20, 91)


def versions():
    """Two images that share most bytes, at other places."""
    one, two, top = Tar(), Tar(), Tar()
    one.add(b"first", data=COMMON[:700000])
    one.add(b"second", data=COMMON[700000:])
    two.add(b"other", data=corner_cases.noise(100000, 92) + COMMON[100:])
    top.add(b"top", data=COMMON[50:300000] + corner_cases.noise(1000, 93))
    return [one], [two, top]


@pytest.fixture(scope="module")
def pair(session_tarn, registry, tmp_path_factory):
    """-> (a converted image at the registry, the name of a plain one that resembles it)"""
    directory = tmp_path_factory.mktemp("pair")
    for name, layers in zip(("one", "two"), versions()):
        oci_layout.LayoutBuilder(directory / name).image(layers)
    session_tarn("convert", f"oci:{directory}/one:latest", f"docker://{registry.host}/dict/one:t")
    return published(registry, "dict/one"), f"oci:{directory}/two:latest"


@pytest.fixture
def target(registry, request):
    name = help_.repository_name("dict", request)
    yield name
    registry.forget(name)


def foreign(made):
    return [layer for layer in made.manifest["layers"]
            if layer.get("annotations", {}).get("dev.tarn.role") == "dict"]


def assert_whole(tarn, plain, name, tmp_path, place):
    """Checked, mounted, copied into a layout and exported it is the plain image."""
    tarn("check", name)
    digest = tarn("digest", plain).text
    assert tarn("digest", name).text == digest
    tarn("mount", name, place)
    assert (place / "other").read_bytes()[100000:] == COMMON[100:]
    assert (place / "top").read_bytes()[:1000] == COMMON[50:1050]
    assert help_.unmounted(tarn, place)
    tarn("export", name, f"oci:{tmp_path}/plain:t")
    assert tarn("digest", f"oci:{tmp_path}/plain:t").text == digest


def test_mounted_from_another_repository(pair, tarn, line, registry, target, tmp_path, place):
    dictionary, plain = pair
    name = f"docker://{line.host}/{target}:t"
    summary = tarn.json("convert", "--dict", f"docker://{line.host}/dict/one:t", plain, name)
    assert summary["references"] > 8 and summary["unique_bytes"] < 1 << 19, summary
    made = published(registry, target)
    assert [x["digest"] for x in foreign(made)] == dictionary.blobs[:1]
    mounted = [r for r in line.log() if r["method"] == "POST" and "mount=" in r["path"]]
    assert [r["status"] for r in mounted if dictionary.blobs[0][7:] in r["path"]] == [201]
    assert not blob_requests(line.log(), set(dictionary.blobs[:1]))
    assert dictionary.blobs[0] in registry.blobs(target)
    assert_whole(tarn, plain, name, tmp_path, place)


def test_copied_to_another_registry_and_to_a_layout(pair, tarn, registry, tmp_path, place):
    dictionary, plain = pair
    options = ("--quiet", "--dict", f"docker://{registry.host}/dict/one:t", plain)
    other = registries.Registry(tmp_path / "other")
    try:
        name = f"docker://{other.host}/a/b:t"
        tarn("convert", *options, name)
        assert other.blob(dictionary.blobs[0]) == registry.blob(dictionary.blobs[0])
        assert_whole(tarn, plain, name, tmp_path, place)
        made = published(other, "a/b")
    finally:
        other.close()
    tarn("convert", *options, f"oci:{tmp_path}/layout:t")
    check.check(images.reader_image.Image(f"oci:{tmp_path}/layout:t"))
    for digest in (made.entry["digest"], *made.blobs):
        path = tmp_path / "layout/blobs" / digest.replace(":", "/")
        assert path.read_bytes() == made.registry.blob(digest)


def test_of_the_same_repository(pair, tarn, line, registry, target):
    """The next version beside the last one: nothing of the last moves."""
    name = f"docker://{line.host}/{target}"
    tarn("convert", f"docker://{line.host}/dict/one:t", f"{name}:one")
    last = published(registry, target, "one")
    line.reset()
    tarn("convert", "--dict", f"{name}:one", pair[1], f"{name}:two")
    assert not blob_requests(line.log(), set(last.blobs[:1]))
    assert not [r for r in line.log() if "mount=" in r["path"]]
    made = published(registry, target, "two")
    assert [x["digest"] for x in foreign(made)] == last.blobs[:1]
    assert sum(r["sent"] for r in uploads(line.log())) < 2 << 20, "only the original and what is new"
    tarn("check", f"{name}:two")


def test_a_blob_that_cannot_be_had_is_left_out(pair, tarn, registry, target, tmp_path):
    dictionary, plain = pair
    tarn("convert", f"docker://{registry.host}/dict/one:t", f"oci:{tmp_path}/one:t")
    (tmp_path / "one/blobs" / dictionary.blobs[0].replace(":", "/")).unlink()
    done = tarn("convert", "--dict", f"oci:{tmp_path}/one:t", plain,
                f"docker://{registry.host}/{target}:t")
    assert f"warning: a dict blob is left out: blob {dictionary.blobs[0]}" in done.stderr
    made = published(registry, target)
    assert not foreign(made)
    tarn("check", f"docker://{registry.host}/{target}:t")


def test_refused(pair, tarn, registry, target, tmp_path):
    plain, name = pair[1], f"docker://{registry.host}/{target}:t"
    tarn.fails("--dict oci:.*: it is not converted; `tarn convert` makes",
               "convert", "--dict", plain, plain, name)
    tarn.fails("--dict docker://.*none.*none", "convert", "--dict",
               f"docker://{registry.host}/dict/none:t", plain, name)
    tarn.fails("--dict dir:.*: it is no image", "convert", "--dict", f"dir:{tmp_path}", plain, name)
    help_.assert_no_image(registry, target)
