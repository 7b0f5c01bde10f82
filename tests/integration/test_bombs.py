# SPDX-License-Identifier: Apache-2.0
"""Small inputs that unfold to much: refused before they take memory. Facts of the peak of resident memory."""
import re
import subprocess

import forge
import images
import lies
import limits
import pytest
import zstandard
from oci_layout import LayoutBuilder
from tars import Tar

MIB = 1 << 20


def peak_of_failure(tarn, message, *arguments):
    """Bytes of resident memory at most of a command that must fail saying this."""
    words = ["/usr/bin/python3", "-c", limits.MEASURE, str(tarn.program), *map(str, arguments)]
    done = subprocess.run(words, env=tarn.environ, capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == 1, done
    assert re.search(message, done.stderr), done.stderr
    return int(done.stdout.split()[0]) * 1024


def check_peak(used, limit):
    assert limits.sanitized() or used < limit, f"{used >> 20} MiB, limit {limit >> 20}"


@pytest.fixture(scope="module")
def victim(session_tarn, tmp_path_factory):
    directory = tmp_path_factory.mktemp("victim")
    return images.convert(session_tarn, images.from_tars("victim", lies.victim(), directory),
                          directory)


@pytest.mark.parametrize("title", ["a bomb of 3 GiB", "many names"])
def test_layer_metadata(victim, tarn, tmp_path, title):
    message, change = lies.METADATA[title]
    made = forge.Forge(victim.converted, tmp_path / "forged")
    change(made)
    check_peak(peak_of_failure(tarn, message, "check", "--quick", made.save()), 64 * MIB)


def test_hard_links(tarn, tmp_path):
    """Hard links that add one xattr each to an inode that has all the ones before."""
    tar, path = Tar(), tmp_path / "t.tar.zst"
    tar.add(b"f")
    for i in range(200):
        tar.hard_link(b"l%d" % i, b"f", xattrs={b"user.%d" % i: b"x" * 60000})
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(tar)))
    assert path.stat().st_size < 20000
    message = r"entry 'l\d+': hard links change more than 128 MiB of xattrs"
    check_peak(peak_of_failure(tarn, message, "convert", f"tar:{path}", f"oci:{tmp_path}/o:t"),
               320 * MIB)


def test_tree_of_an_archive(tarn, tmp_path):
    """Each entry makes 25,000 directories."""
    tar, path = Tar(), tmp_path / "t.tar.zst"
    for i in range(130):
        tar.add(b"%d" % i + b"/a" * 25000)
    path.write_bytes(zstandard.ZstdCompressor(level=9).compress(bytes(tar)))
    assert path.stat().st_size < 100000
    message = r"entry '\d+/a.*': the layer's tree takes more than \d+ MiB already"
    check_peak(peak_of_failure(tarn, message, "convert", f"tar:{path}", f"oci:{tmp_path}/o:t"),
               400 * MIB)


def test_links_to_a_layer_below(tarn, tmp_path):
    """Each has a name of one inode below, and changes one of its xattrs."""
    below, above, layout = Tar(), Tar(), LayoutBuilder(tmp_path / "layout")
    below.add(b"x", xattrs={b"user.%d" % i: b"x" * 60000 for i in range(4)})
    for i in range(2000):
        below.hard_link(b"l%d" % i, b"x")
        above.hard_link(b"m%d" % i, b"l%d" % i, xattrs={b"user.0": b"%d" % i})
    layout.image([below, above])
    message = r"layer 1: 'm\d+': hard links change more than 128 MiB of xattrs"
    check_peak(peak_of_failure(tarn, message, "convert", f"oci:{layout.path}:latest",
                               f"oci:{tmp_path}/o:t"), 200 * MIB)


def test_links_that_change_nothing(tarn, tmp_path):
    """They cost nothing but their names, however much their inode has."""
    tar = Tar()
    tar.add(b"x", xattrs={b"user.%d" % i: b"x" * 60000 for i in range(4)})
    for i in range(2000):
        tar.hard_link(b"l%d" % i, b"x", xattrs={b"user.0": b"x" * 60000} if i % 8 == 0 else {})
    (tmp_path / "t.tar").write_bytes(bytes(tar))
    tarn("convert", f"tar:{tmp_path}/t.tar", f"oci:{tmp_path}/o:t")


def test_names_of_one_link(tarn, tmp_path):
    """Its xattrs are looked through once, not for each name, which would take ten minutes."""
    below, above, layout = Tar(), Tar(), LayoutBuilder(tmp_path / "layout")
    below.add(b"x")
    for i in range(40000):
        above.hard_link(b"%d" % i, b"x", xattrs={} if i else
                        {b"user.%d" % k: b"" for k in range(100000)})
    layout.image([below, above])
    message = r"bootstrap: /0: the xattrs take more than 262140 bytes"
    check_peak(peak_of_failure(tarn, message, "convert", f"oci:{layout.path}:latest",
                               f"oci:{tmp_path}/o:t"), 200 * MIB)
