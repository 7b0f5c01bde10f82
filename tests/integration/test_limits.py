# SPDX-License-Identifier: Apache-2.0
"""Many layers, long lists, deep trees, large files, little memory."""
import os
import random

import corner_cases
import images
import limits
import model
import oci_layout
import pytest
import trees
from reader import check
from tars import Tar, header, pad


@pytest.fixture(scope="module")
def many_layers(session_tarn, tmp_path_factory):
    """128 layers; each adds, changes and removes, so that all but a few are pointed into."""
    layers = []
    for number in range(128):
        tar = Tar()
        tar.add(b"own/%03d" % number, data=corner_cases.noise(5000 + number, number), mtime=number)
        tar.add(b"changed", data=b"by layer %d" % number, mode=0o600 + number % 8, mtime=number)
        if number % 3 == 2:
            tar.whiteout(b"own/%03d" % (number - 2))
        if number % 5 == 4:
            tar.hard_link(b"links/%03d" % number, b"own/%03d" % (number - 1), mtime=number)
        layers.append(tar)
    directory = tmp_path_factory.mktemp("many-layers")
    image = images.from_tars("128 layers", layers, directory)
    return images.convert(session_tarn, image, directory)


def test_128_layers_by_the_reader(many_layers):
    check.check(many_layers.read)
    assert "sha256:" + many_layers.read.bootstrap.tree_digest.hex() == many_layers.digest
    trees.assert_same(many_layers.expected, images.entries_by_blobs(many_layers.read))


def test_128_layers_by_the_kernel(many_layers, place):
    files = many_layers.mount_by_kernel(place)
    assert len(files) > 80
    trees.assert_same(many_layers.expected, trees.scan(place))


def test_128_layers_by_tarn(many_layers, tarn, place):
    tarn("mount", many_layers.converted, place)
    trees.assert_same(many_layers.expected, trees.scan(place))
    tarn("check", many_layers.converted)


def test_names_and_depth(tarn, tmp_path, place):
    """20,000 names of 255 bytes in one directory; 300 levels; a path beyond PATH_MAX."""
    tar = Tar()
    for i in range(20000):
        tar.add(b"d/" + (b"%05d" % i).ljust(255, b"x"), mtime=i)
    path = b"deep"
    for level in range(300):
        path += b"/%d" % level
    tar.add(path, data=b"bottom")
    tar.add(b"/".join([b"p" * 255] * 20) + b"/end", data=b"far away")
    oci_layout.LayoutBuilder(tmp_path / "source").image([tar])
    tarn("convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    digest = model.expected([tar])[1]
    assert tarn("digest", f"oci:{tmp_path}/out:t").text.split()[0] == digest
    read = images.reader_image.Image(f"oci:{tmp_path}/out:t")
    check.check(read)
    tarn("mount", f"oci:{tmp_path}/out:t", place)
    assert len(os.listdir(place / "d")) == 20000
    assert (place / "d" / "19999".ljust(255, "x")).stat().st_mtime == 19999
    assert (place / os.fsdecode(path)).read_bytes() == b"bottom"


def test_memory_of_a_large_layer(tarn, tmp_path):
    rng, path = random.Random(2), tmp_path / "large.tar"
    block = rng.randbytes(8 << 20)
    with open(path, "wb") as file:
        for number in range(5):
            size = 80 << 20
            file.write(header(b"large-%d" % number, size=size))
            for i in range(10):
                at = rng.randrange(len(block))
                file.write(block[at:] + block[:at])
        file.write(pad(b"\0" * 1024))
    used, _ = limits.usage(tarn, "convert", "--quiet", f"tar:{path}", f"oci:{tmp_path}/out:t")
    assert limits.sanitized() or used < 256 << 20, f"{used >> 20} MiB"


def test_memory_of_many_entries(tarn, tmp_path):
    count, path = 200000, tmp_path / "many.tar"
    with open(path, "wb") as file:
        for i in range(count):
            file.write(header(b"directory-%03d/name-of-a-file-%06d" % (i // 1000, i), mtime=i))
        file.write(bytes(1024))
    used, _ = limits.usage(tarn, "convert", "--quiet", f"tar:{path}", f"oci:{tmp_path}/out:t")
    assert limits.sanitized() or used < (64 << 20) + count * 700, f"{used >> 20} MiB"
    read = tarn.json("inspect", f"oci:{tmp_path}/out:t")
    assert read["names"] == count + count // 1000


def test_a_large_directory(tarn, tmp_path):
    limits.entries(tarn, tmp_path, 20000, 20000)


def test_a_large_file(tarn, tmp_path):
    limits.large_file(tarn, tmp_path, 192 << 20, 64 << 20, 1 << 20)


def test_many_mounts(tarn, tmp_path):
    limits.mounts(tarn, tmp_path, 60, 6)
