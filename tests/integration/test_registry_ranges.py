# SPDX-License-Identifier: Apache-2.0
"""Several ranges of a blob in one request: right bytes from servers that know it, that do not, and that
lie, and what is remembered of them."""
import re
import subprocess
from dataclasses import dataclass

import bad_server
import corner_cases
import environment
import oci_layout
import pytest
import registries

NAME = "ranges/blob"
SIZE = 3 << 20
PATIENCE = 120  # seconds within which any read must have ended
TIMEOUT = 30  # seconds without progress that the program bears
# Neighbours, gaps small and large, a last byte.
RANGES = [(10, 10), (12, 4999), (5000, 9000), (20000, 90000), (1 << 20, (1 << 20) + 70000),
          (2 << 20, (2 << 20) + 1), (SIZE - 1, SIZE - 1)]
CLOSE = [(1000, 1999), (2500, 2600), (2700, 9999)]
MOST = 32  # ranges in a request


@dataclass
class Blob:
    digest: str
    data: bytes

    def of(self, ranges):
        return b"".join(self.data[first:last + 1] for first, last in ranges)


@pytest.fixture(scope="module")
def blob(registry):
    """A blob at the registry that is like no other, but for what looks like an end of a part."""
    data = bytearray(corner_cases.noise(SIZE, 71))
    data[4990:5000] = b"\r\n--tarn\r\n"
    data[89991:90001] = b"\r\n--limit-"
    data = bytes(data)
    made = Blob(oci_layout.sha256(data), data)
    status, headers, _ = registry.request("POST", f"/v2/{NAME}/blobs/uploads/")
    assert status == 202
    place = re.sub(r"^https?://[^/]*", "", headers["Location"])
    status, _, _ = registry.request("PUT", f"{place}&digest={made.digest}",
                                    {"Content-Type": "application/octet-stream"}, data)
    assert status == 201
    return made


@dataclass
class Read:
    status: int
    most: int  # ranges in one read, said afterwards
    text: str
    data: bytes


def read(server, blob, *reads, timeout=TIMEOUT, size=SIZE):
    """Reads of one repository object, each of several ranges -> [Read]"""
    lines = "".join(",".join(f"{first}-{last}" for first, last in one) + "\n" for one in reads)
    done = subprocess.run([environment.BUILD / "tests/read_ranges", f"docker://{server.host}/{NAME}",
                           blob.digest, str(size), str(timeout)], input=lines.encode(),
                          capture_output=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode(errors="replace")[-4000:]
    left, found = done.stdout, []
    while left:
        line, _, left = left.partition(b"\n")
        status, length, most, text = line.decode().split(" ", 3)
        found.append(Read(int(status), int(most), text, left[:int(length)]))
        left = left[int(length):]
    assert len(found) == len(reads)
    return found


def right(one, blob, ranges):
    assert (one.status, one.text) == (0, "")
    assert one.data == blob.of(ranges)
    return True


def several(bad):
    """Requests for several ranges that came so far."""
    return [r for r in bad.log if "," in (r["range"] or "")]


# --- the real registry ---------------------------------------------------------------------------
def test_registry(registry, bad, blob):
    """It knows several ranges, and one request brings them."""
    status, headers, _ = registry.request("GET", f"/v2/{NAME}/blobs/{blob.digest}",
                                          {"Range": "bytes=0-0,5-5"})
    assert status == 206 and headers["Content-Type"].startswith("multipart/byteranges")
    reads = RANGES, CLOSE, RANGES[:1]
    for one, ranges in zip(read(bad, blob, *reads), reads):
        assert right(one, blob, ranges) and one.most == MOST
    assert len(several(bad)) == 2 and len(bad.requests("/blobs/")) == 3
    assert len({r["connection"] for r in bad.requests("/blobs/")}) == 1, "connections are kept"
