# SPDX-License-Identifier: Apache-2.0
"""Several ranges of a blob in one request: right bytes from servers that know it, that do not, and that
lie, and what is remembered of them."""
import errno
import re
import subprocess
from dataclasses import dataclass

import bad_parts
import bad_server
import corner_cases
import environment
import oci_layout
import pytest
from bad_parts import parts

NAME = "ranges/blob"
SIZE = 900000
PATIENCE = 120  # seconds within which any read must have ended
TIMEOUT = 30  # seconds without progress that the program bears
# Neighbours, gaps small and large, a last byte.
RANGES = [(10, 10), (12, 4999), (5000, 9000), (20000, 90000), (400000, 470000),
          (800000, 800001), (SIZE - 1, SIZE - 1)]
CLOSE = [(1000, 1999), (2500, 2600), (2700, 9999)]
ENDLESS = 1 << 30  # bytes that nobody should take
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
    data[89993:90001] = b"\r\n--limi"
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


def test_many(bad, blob):
    """More than go into one request."""
    many = [(at, at + 500) for at in range(0, SIZE, 15000)]
    assert right(read(bad, blob, many)[0], blob, many)
    assert len(many) == 60 and len(several(bad)) == 2


def test_past_the_end(bad, blob):
    one, two = read(bad, blob, [(0, 1), (SIZE - 1, SIZE)], CLOSE)
    assert one.status == -errno.EUCLEAN and "past its end" in one.text
    assert right(two, blob, CLOSE)


# --- what a server may do: one request is enough, and the next read does it again --------------------
def changed(number, change):
    """Another part instead of one of the right ones."""
    return lambda made: [*made[:number], change(*made[number]), *made[number + 1:]]


def joined(made):
    """Ranges that lie close together are one part."""
    first, last, data = made[1][0], made[2][1], made[1][2] + made[2][2]
    assert made[1][1] + 1 == made[2][0]
    return [made[0], (first, last, data), *made[3:]]


GOOD = {
    "another boundary": parts(boundary="a b:c", told='charset=x; Boundary="a b:c"'),
    "line feeds": parts(end="\n", before=b"hello\n"),
    "an epilogue": parts(before=b"", after=b"\r\nbye\r\n"),
    "no end of line": parts(after=b""),
    "headers in capitals": parts(header="CONTENT-RANGE :  BYTES {}-{}/{}"),
    "no size": parts(total="*"),
    "joined parts": parts(parts=joined),
    "a wider part": parts(parts=changed(1, lambda first, last, data:
                                        (first - 1, last, b"?" + data))),
    "no final boundary": parts(close=False),
    "small pieces": bad_parts.slow_parts(997),
    "moved": bad_server.redirect(),
    "in chunks": bad_server.chunked(),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(bad, blob, name):
    bad.fail(GOOD[name], "/blobs/")
    for one in read(bad, blob, RANGES, RANGES):
        assert right(one, blob, RANGES) and one.most == MOST
    assert len(several(bad)) == len(bad.requests("/blobs/")) == (4 if name == "moved" else 2)


def test_merged(bad, blob):
    """One part that is all of them, where what lies between is little."""
    bad.fail(bad_parts.merged(), "/blobs/")
    for one in read(bad, blob, CLOSE, CLOSE):
        assert right(one, blob, CLOSE) and one.most == MOST
    assert len(bad.requests("/blobs/")) == 2


SHORT = {
    "cut": bad_parts.cut_parts(0.4),
    "cut in the headers": bad_parts.cut_parts(0.0002),
    "closed": bad_server.drop(),
    "503": bad_server.status(503),
    "429": bad_server.status(429),
}


@pytest.mark.parametrize("name", SHORT)
def test_short(bad, blob, name):
    """A short disturbance: what is missing then is asked for, in one request again."""
    bad.fail(SHORT[name], "/blobs/", times=1)
    for one in read(bad, blob, RANGES, RANGES):
        assert right(one, blob, RANGES) and one.most == MOST
    asked = [r["range"].count(",") + 1 for r in bad.requests("/blobs/")]
    assert asked == [7, 4 if name == "cut" else 7, 7]


# --- what it may not do: one range at a time, from then on -------------------------------------------
JSON = {"Content-Type": "application/json"}  # or it might be a TLS server's 400
FALLBACK = {
    "whole blob": bad_parts.endless_whole(ENDLESS),
    "400": bad_server.status(400, JSON),
    "403": bad_server.status(403),
    "416": bad_server.status(416, {"Content-Range": "bytes */10"}),
    "501": bad_server.status(501),
    "a long refusal": bad_server.status(400, JSON, b"x" * 1000000),
    "closed": bad_server.drop(),
    "503": bad_server.status(503),
    "the first range": bad_parts.only_first(),
    "all from the start": bad_parts.merged(0),
    "a web page": bad_server.status(206, {"Content-Type": "text/html"}),
    "no boundary": parts(told="charset=x"),
    "another boundary": parts(told="boundary=other"),
    "a boundary that is in the blob": parts(boundary="tarn", told="boundary=tarn"),
    "endless headers": bad_parts.endless_headers(ENDLESS),
    "no Content-Range": parts(header="Content-Length: {}"),
    "no numbers": parts(header="Content-Range: bytes */{2}"),
    "a longer part": parts(parts=changed(1, lambda first, last, data: (first, last, data + b"x"))),
    "a shorter part": parts(parts=changed(1, lambda first, last, data: (first, last, data[:-1]))),
    "an empty part": parts(parts=changed(3, lambda first, last, data: (first, last, b""))),
    "a part elsewhere": parts(parts=changed(1, lambda first, last, data: (first + 1, last + 1, data))),
    "overlapping parts": parts(parts=lambda made: [made[0], (5, made[1][1], bytes(4995)),
                                                   *made[2:]]),
    "another order": parts(parts=lambda made: made[::-1]),
    "a part missing": parts(parts=lambda made: [*made[:2], *made[3:]]),
    "a part twice": parts(parts=lambda made: [*made[:2], *made[1:]]),
    "a part too many": parts(parts=lambda made: [*made, (SIZE - 1, SIZE - 1, b"x")]),
    "short": bad_parts.short_parts(0.5),
}


@pytest.mark.parametrize("name", FALLBACK)
def test_fallback(bad, blob, name):
    bad.fail(bad_parts.several(FALLBACK[name]), "/blobs/")
    for one in read(bad, blob, RANGES, RANGES):
        assert right(one, blob, RANGES) and one.most == 1
    tries = 3 if name in ("closed", "503") else 1
    assert len(several(bad)) == tries, "it is remembered"
    assert len(bad.requests("/blobs/")) <= tries + 2 * len(RANGES)
    assert max(r.get("sent", 0) for r in bad.log) < ENDLESS >> 4, "it is cut off"


def test_no_ranges_at_all(bad, blob):
    """A registry that sends the whole blob, whatever is asked: once is enough."""
    bad.fail(bad_server.whole(), "/blobs/")
    one, two = read(bad, blob, RANGES, RANGES)
    assert right(one, blob, RANGES) and right(two, blob, RANGES)
    assert len(several(bad)) == 1 and len(bad.requests("/blobs/")) == 3


# --- what nothing helps against -----------------------------------------------------------------------
LIES = {
    "another size": (parts(total=SIZE + 1), "bytes and not"),
    "another digest": (bad_server.header("Docker-Content-Digest", "sha256:" + "0" * 64), "Digest"),
    "404": (bad_server.status(404), "404"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies(bad, blob, name):
    bad.fail(LIES[name][0], "/blobs/")
    one = read(bad, blob, RANGES)[0]
    assert one.status < 0 and LIES[name][1] in one.text and bad.host in one.text
    assert blob.of(RANGES).startswith(one.data)


def test_stalled(bad, blob):
    bad.fail(bad_server.stall(1000), "/blobs/")
    one = read(bad, blob, RANGES, timeout=1)[0]
    assert one.status == -errno.ETIMEDOUT and blob.of(RANGES).startswith(one.data)


def test_away(bad, blob):
    """An outage says nothing about several ranges."""
    rule = bad.fail(bad_server.drop(), "/blobs/", times=4)
    one = read(bad, blob, RANGES)[0]
    assert right(one, blob, RANGES) and rule.hits == 4
    assert one.most == MOST
