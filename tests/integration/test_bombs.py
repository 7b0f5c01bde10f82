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


def test_tree_of_an_archive(tarn, tmp_path):
    """Hard links that add one xattr each to an inode that has all the ones before."""
    tar, path = Tar(), tmp_path / "t.tar.zst"
    tar.add(b"f")
    for i in range(200):
        tar.hard_link(b"l%d" % i, b"f", xattrs={b"user.%d" % i: b"x" * 60000})
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(tar)))
    assert path.stat().st_size < 20000
    message = r"entry 'l\d+': the layer's tree takes more than \d+ MiB already"
    check_peak(peak_of_failure(tarn, message, "convert", f"tar:{path}", f"oci:{tmp_path}/o:t"),
               320 * MIB)
