# SPDX-License-Identifier: Apache-2.0
"""The reader's parts that no image shows, against the document itself."""
import hashlib
import re
import subprocess
import sys

import environment
import mounts
import trees
from reader import chunks, sections

DOCUMENT = (environment.SOURCE / "docs" / "format.md").read_text(encoding="utf-8")


def test_gear_table():
    rows = re.findall(r"^(?:[0-9a-f]{16} ){3}[0-9a-f]{16}$", DOCUMENT, re.M)
    assert [f"{number:016x}" for number in chunks.gear()] == " ".join(rows).split()


def numbers(text):
    return [int(number) for number in re.findall(r"\d+", text)]


def test_golden_cut_points():
    endless = b"".join(hashlib.sha256(i.to_bytes(8, "little")).digest() for i in range(32768))
    first, zeros, mixed = re.search(
        r"The first 1,048,576 bytes of S: ([\d,\s]+)\.\n- (.*)\n"
        r"- The first 100,000 bytes of S, 200,000 zeros, the first 500,000 bytes of S: ([\d,\s]+)\.",
        DOCUMENT).groups()
    assert [end for _, end in chunks.cuts(endless)] == numbers(first)
    assert "multiple of 131072" in zeros
    assert [end for _, end in chunks.cuts(bytes(1 << 20))] == list(range(131072, 2**20 + 1, 131072))
    data = endless[:100000] + bytes(200000) + endless[:500000]
    assert [end for _, end in chunks.cuts(data)] == numbers(mixed)


def test_transposition():
    data = bytes(range(60))
    columns = sections.transpose(data, 12)
    assert columns[:5] == bytes([0, 12, 24, 36, 48])
    assert sections.untranspose(columns, 12, "test") == data


def run_reader(*words):
    return subprocess.run([sys.executable, "-m", "reader", *map(str, words)], check=False,
                          cwd=environment.SOURCE / "tests", capture_output=True, text=True,
                          errors="surrogateescape",
                          env={"PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"})


def test_command_line(corner, tmp_path):
    done = run_reader("digest", corner.converted)
    assert done.stdout.strip() == corner.digest, done.stderr
    done = run_reader("ls", corner.converted)
    assert len(done.stdout.splitlines()) == len(corner.expected), done.stderr
    with mounts.Mounted("tmpfs", "tmpfs", tmp_path / "out", "mode=0755") as out:
        done = run_reader("extract", corner.converted, out)
        assert done.returncode == 0, done.stderr
        for way in ("blobs", "bootstrap"):
            trees.assert_same(corner.expected, trees.scan(f"{out}/{way}"), way)
