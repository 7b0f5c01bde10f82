# SPDX-License-Identifier: Apache-2.0
"""Equal trees have equal digests, equal layers equal bytes, whoever makes them."""
import hashlib
import json
import random
import struct

import corner_cases
import images
import model
import oci_layout
import pytest
import random_layers
from reader.image import Image
from tars import Tar

# Of the fixed input below. They change only when the format or libzstd does.
GOLDEN_TREE = "sha256:bbd147f807e6b477e240f34a23d56c7eb516e55671f1eabb31491af9e393db1e"
# libzstd version -> digests of the blobs and of the bootstrap
GOLDEN_BYTES = {
    10504: (["sha256:27c6d212890edab3c606534a3a83f48eb02449cbcbc86ccf139950775db0a69a",
             "sha256:1d4422a3e645ddf588e672bb02d2f06b6b1a8ab6e378e118fa742ad635568b0b"],
            "sha256:779f9e994fc8e1170fd57efe501784976873066e8b2657c45e8832a2ebd4d997"),
}


def digest(tarn, name):
    return tarn("digest", name).text.split()[0]


def convert_tar(tarn, tar, directory, *options):
    directory.mkdir(exist_ok=True)
    (directory / "layer.tar").write_bytes(bytes(tar))
    tarn("convert", "--quiet", *options, f"tar:{directory}/layer.tar", f"oci:{directory}/out:t")
    return f"oci:{directory}/out:t"


def filled(tar, order=None, dots=False):
    """The same tree in another order, with the hard links' roles as the order has them."""
    files = [b"%02d" % i for i in range(40)]
    if order is not None:
        random.Random(order).shuffle(files)
    prefix = b"./" if dots else b""
    for name in files:
        tar.add(b"d/" + name, data=corner_cases.noise(20000, int(name)), uid=1000, mtime=3)
    links = [b"d/link", b"a-link", b"z-link"]
    if order is not None:
        random.Random(order).shuffle(links)
    tar.add(links[0], data=b"linked", mode=0o640, mtime=4)
    for name in links[1:]:
        tar.hard_link(name, prefix + links[0], mode=0o640, mtime=4)
    tar.directory(b"d", mode=0o750, mtime=5)
    tar.directory(b"", mode=0o755, mtime=6)
    return tar


def test_order_and_format_do_not_count(tarn, tmp_path):
    wanted = None
    for number, tar in enumerate((
            filled(Tar()), filled(Tar(), 1), filled(Tar(), 2), filled(Tar("gnu")),
            filled(Tar("ustar"), 3), filled(Tar("pax", b"./"), 4, True))):
        name = convert_tar(tarn, tar, tmp_path / str(number))
        found = digest(tarn, name)
        assert found == (wanted or found), f"tar {number}"
        wanted = found
        read = Image(name)
        facts = [b.digest for b in read.bootstrap.blobs], read.manifest.bootstrap_digest
        assert facts == (first := facts if number == 0 else first), f"tar {number}: other bytes"


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("name", ["corner", "quirks"])
def test_threads_do_not_count(name, threads, tarn, tmp_path, request):
    image = request.getfixturevalue(name)
    tarn("convert", "--quiet", "--threads", threads, image.source, f"oci:{tmp_path}/out:latest")
    assert images.file_digests(tmp_path / "out") == images.file_digests(image.layout)


@pytest.mark.threads
def test_threads_on_small_layers(tarn, tmp_path):
    oci_layout.LayoutBuilder(tmp_path / "source").image(random_layers.layers(5) * 2)
    for threads in (1, 4):
        tarn("convert", "--quiet", "--threads", threads, f"oci:{tmp_path}/source:latest",
             f"oci:{tmp_path}/{threads}:t")
    one, four = (Image(f"oci:{tmp_path}/{n}:t").descriptor for n in (1, 4))
    assert one["digest"] == four["digest"]


def test_compression_of_the_source_does_not_count(tarn, tmp_path):
    layers, found = random_layers.layers(8), set()
    for number, compression in enumerate(oci_layout.COMPRESS):
        oci_layout.LayoutBuilder(tmp_path / f"s{number}").image(layers, compression=compression)
        tarn("convert", "--quiet", f"oci:{tmp_path}/s{number}:latest",
             f"oci:{tmp_path}/o{number}:t")
        read = Image(f"oci:{tmp_path}/o{number}:t")
        found.add((read.manifest.bootstrap_digest, *(b.layer.digest for b in read.blobs)))
    assert len(found) == 1


def test_where_does_not_count(tarn, tmp_path, monkeypatch):
    """Another directory, time zone, umask, locale."""
    layers = random_layers.layers(9)
    found = set()
    for number, env in enumerate(({}, {"TZ": "Asia/Tokyo", "LC_ALL": "C", "HOME": "/nowhere"})):
        source = tmp_path / ("x" * 50 * (number + 1)) / "s"
        oci_layout.LayoutBuilder(source).image(layers)
        tarn("convert", "--quiet", f"oci:{source}:latest", f"oci:{tmp_path}/{number}:t", env=env,
             umask=0o077 if number else 0o022)
        found.add(Image(f"oci:{tmp_path}/{number}:t").descriptor["digest"])
    assert len(found) == 1


def test_a_second_run_takes_what_is_there(corner, tarn, tmp_path):
    images.copy_layout(corner.layout, tmp_path / "out")
    before = images.file_digests(tmp_path / "out")
    summary = tarn.json("convert", corner.source, f"oci:{tmp_path}/out:latest")
    after = images.file_digests(tmp_path / "out")
    assert before == after
    assert json.dumps(summary)


def test_without_reuse_the_bytes_are_the_same(corner, tarn, tmp_path):
    images.copy_layout(corner.layout, tmp_path / "out")
    before = images.file_digests(tmp_path / "out")
    tarn("convert", "--no-reuse", corner.source, f"oci:{tmp_path}/out:latest")
    assert before == images.file_digests(tmp_path / "out")


def golden_layers():
    one, two = Tar(), Tar()
    one.directory(b"", mode=0o755, mtime=1)
    one.directory(b"etc", mtime=2)
    one.add(b"etc/passwd", data=b"root:x:0:0::/:/bin/sh\n", mtime=3, nsec=4,
            xattrs={b"user.x": b"y"})
    one.add(b"noise", data=corner_cases.noise(500000, 1), mode=0o755, uid=70000, mtime=5)
    one.add(b"text", data=b"".join(b"%d\n" % i for i in range(100000)), mtime=5)
    one.add(b"zeros", data=bytes(600000) + b"end", mtime=-6)
    one.symlink(b"etc/link", b"passwd", mtime=7)
    two.whiteout(b"noise")
    two.add(b"noise-2", data=corner_cases.noise(500000, 1)[1:] + b"end", mtime=8)
    two.hard_link(b"etc/passwd-", b"etc/passwd", mode=0o600, mtime=9)
    return [one, two]


def test_golden_digests(tarn, tmp_path):
    layers = golden_layers()
    assert model.expected(layers)[1] == GOLDEN_TREE
    oci_layout.LayoutBuilder(tmp_path / "source").image(layers)
    tarn("convert", "--quiet", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    assert digest(tarn, f"oci:{tmp_path}/out:t") == GOLDEN_TREE
    read = Image(f"oci:{tmp_path}/out:t")
    found = [blob.layer.digest for blob in read.blobs], read.manifest.bootstrap_digest
    assert GOLDEN_BYTES.get(read.layers[0].libzstd, found) == found


def test_key_of_each_layer(tarn, tmp_path):
    """dev.tarn.key is what format.md says, from the source's diff_ids alone."""
    oci_layout.LayoutBuilder(tmp_path / "source").image(golden_layers())
    tarn("convert", "--quiet", "--level", 5, f"oci:{tmp_path}/source:latest",
         f"oci:{tmp_path}/out:t")
    read = Image(f"oci:{tmp_path}/out:t")
    key = bytes(32)
    for blob, tar in zip(read.blobs, golden_layers(), strict=True):
        whole = hashlib.sha256(b"tarn key 4\n" + key + hashlib.sha256(bytes(tar)).digest())
        whole.update(struct.pack("<IIiII", 1, read.layers[0].libzstd, 5, 1, 0))
        key = whole.digest()
        assert blob.layer.descriptor["annotations"]["dev.tarn.key"].endswith(key.hex())
