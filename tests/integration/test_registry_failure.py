# SPDX-License-Identifier: Apache-2.0
"""A mounted image whose registry goes away, stalls or lies: EIO within the deadline, right bytes as
soon as it behaves again, and never a wrong one."""
import concurrent.futures
import errno
import mmap
import os
import re
import resource
import threading
import time

import bad_server
import daemon_help
import pytest
import registry_help as help_
from environment import wait_until
from registry_help import content, plain_layer, read_errno

TIMEOUT = 2  # seconds, of mounts that are to fail
PATIENCE = 300  # within which anything must have ended
ANY_BLOB = "/blobs/"
LARGE = 400000
WIDE = 4000  # seed of the first layer of the wide image


@pytest.fixture(autouse=True)
def clean_log(tarn):
    yield
    daemon_help.assert_clean(tarn)


@pytest.fixture(scope="module")
def made(tmp_path_factory, session_tarn, registry):
    return help_.converted(tmp_path_factory, session_tarn, registry, "failure/image",
                     [plain_layer(41, 8)])


@pytest.fixture(scope="module")
def wide(tmp_path_factory, session_tarn, registry):
    """Many layers, for as many faults at once."""
    return help_.converted(tmp_path_factory, session_tarn, registry, "failure/wide",
                     [plain_layer(WIDE + i, 4) for i in range(len(LASTING))])


@pytest.fixture(scope="module")
def other(tmp_path_factory, session_tarn, registry):
    return help_.converted(tmp_path_factory, session_tarn, registry, "failure/other",
                     [plain_layer(42, 8)])


@pytest.fixture(scope="module")
def large(tmp_path_factory, session_tarn, registry):
    """Files of several chunks."""
    return help_.converted(tmp_path_factory, session_tarn, registry, "failure/large",
                     [plain_layer(43, 2, LARGE)])


@pytest.fixture
def mount(tarn, made, bad, place):
    """Mounts it by way of the bad server -> (file by number, its content)."""
    def mount(timeout=TIMEOUT):
        tarn("mount", "--timeout", timeout, f"docker://{bad.host}/{made.name}:t", place)
        bad.log.clear()
    return mount


def right(place, number=0):
    assert (place / f"d41/f{number}").read_bytes() == content(41, number)
    return True


def fails(place, number=0):
    """A read that fails with EIO in bounded time."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(read_errno, place / f"d41/f{number}").result(PATIENCE) == errno.EIO


def right_layer(path):
    """The last file of a layer of the wide image, then all of them."""
    seed = int(path.parent.name[1:])
    return all((path.parent / f"f{i}").read_bytes() == content(seed, i) for i in (3, 0, 1, 2))


def at_once(function, place, names):
    """Of the first file of a layer for each of the names -> {name: result}"""
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        paths = [place / f"d{WIDE + i}/f0" for i in range(len(names))]
        return dict(zip(names, pool.map(function, paths, timeout=PATIENCE)))


def assert_told(tarn, bad, made, *words):
    """The daemon's log names image, URL and what else is expected, in one line."""
    lines = daemon_help.log_of(tarn).splitlines()
    wanted = [re.escape(f"{bad.host}/{made.name}"), *words]
    assert any(all(re.search(word, line, re.I) for word in wanted) for line in lines), \
        f"want {wanted} in one line of {lines}"


# --- it fails, says why, and goes on ----------------------------------------------------------------

LASTING = {
    "stalled in the body": (bad_server.stall(1000), ["no answer", "--timeout"]),
    "no answer": (bad_server.mute(), ["no answer", "--timeout"]),
    "500": (bad_server.status(500), ["500", "--timeout"]),
    "503 for long": (bad_server.status(503, {"Retry-After": "600"}), ["503", "--timeout"]),
    "429": (bad_server.status(429), ["429", "--timeout"]),
    "404": (bad_server.status(404), ["404", "deleted"]),
    "403": (bad_server.status(403), ["403", "log in"]),
    "401": (bad_server.status(401, {"WWW-Authenticate": 'Basic realm="x"'}), ["401", "login"]),
    "416": (bad_server.status(416, {"Content-Range": "bytes */10"}), ["416", "whole"]),
    "cut at once": (bad_server.cut(0), ["--timeout"]),
    "closed": (bad_server.drop(), ["--timeout"]),
    "another range": (bad_server.other_range(4096), ["bytes 4096-", "proxy"]),
    "redirects without end": (bad_server.redirect(endless=True), ["redirect"]),
    "wrong byte": (bad_server.corrupt(100), ["wrong digest", "push it again"]),
}


@pytest.mark.threads
def test_lasting(tarn, wide, bad, place):
    """All at once, each on a layer of its own."""
    tarn("mount", "--timeout", TIMEOUT, f"docker://{bad.host}/{wide.name}:t", place)
    for digest, (fault, _) in zip(wide.blobs, LASTING.values()):
        bad.fail(fault, digest)
    assert at_once(read_errno, place, LASTING) == dict.fromkeys(LASTING, errno.EIO)
    for digest, (_, words) in zip(wide.blobs, LASTING.values()):
        assert_told(tarn, bad, wide, digest, *words)
    assert daemon_help.stats(tarn)["read_errors"] >= len(LASTING)
    bad.clear()
    assert set(at_once(right_layer, place, LASTING).values()) == {True}


@pytest.mark.threads
def test_registry_away(tarn, made, bad, mount, place):
    mount()
    bad.down()
    fails(place)
    fails(place, 1)
    assert_told(tarn, bad, made, "refused|connect")
    bad.up()
    assert right(place) and right(place, 1)


def test_stalled_line(tarn, made, line, place):
    """Nothing is closed, nothing moves."""
    tarn("mount", "--timeout", TIMEOUT, f"docker://{line.host}/{made.name}:t", place)
    line.set(stall=1)
    fails(place)
    line.set(stall=0)
    assert right(place)


def read_directly(path):
    """All of it, in one request, whatever the kernel has."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 1 << 20) as room:
            return room[:os.preadv(fd, [room], 0)]
    finally:
        os.close(fd)


def test_store_that_fails_while_a_read_waits(tarn, large, line, place):
    """What was local when it began to wait becomes zeros; what it waits for can only be had from memory."""
    image = f"docker://{line.host}/{large.name}:t"
    tarn("mount", image, place)
    truth = [content(43, i, LARGE) for i in range(2)]
    assert [(place / f"d43/f{i}").read_bytes() for i in range(2)] == truth
    tarn("umount", place)
    daemon_help.stop(tarn)
    data, = (tarn.root / "blobs").glob("*/data")
    size, last = data.stat().st_size, truth[0][-100:]
    daemon_help.flip(data, data.read_bytes().index(last))
    tarn("mount", "--timeout", PATIENCE, image, place)
    line.set(stall=1)

    def waiting(count):
        return wait_until(lambda: daemon_help.stats(tarn)["read_waits"] >= count)

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        reads = [threads.submit(read_directly, place / "d43/f0")]
        assert waiting(1)
        os.truncate(data, 0)
        reads.append(threads.submit(read_directly, place / "d43/f1"))  # finds that out
        assert waiting(2)
        os.truncate(data, size)
        resource.prlimit(daemon_help.daemon(tarn), resource.RLIMIT_FSIZE, (4096, 4096))
        line.set(stall=0)
        assert [read.result(PATIENCE) for read in reads] == truth


def test_wrong_byte_for_ever(tarn, bad, mount, place):
    mount()
    rule = bad.fail(bad_server.corrupt(100), ANY_BLOB)
    fails(place)
    total = daemon_help.stats(tarn)  # the kernel asks again by itself after a read ahead
    assert rule.hits == 2 * total["read_errors"] == total["digest_errors"], "once more, then EIO"


def test_little_at_a_time(tarn, bad, mount, place):
    """Answers that bring next to nothing are followed by a pause, not by thousands of requests."""
    mount(1)
    rule = bad.fail(bad_server.short_range(1), ANY_BLOB)
    fails(place)
    assert rule.hits < 500


def test_broken_off_at_the_same_place(tarn, made, bad, place):
    """What only comes again and again is no progress."""
    bad.fail(bad_server.cut(300), "/manifests/")
    run = tarn.run("mount", "--timeout", 1, f"docker://{bad.host}/{made.name}:t", place)
    assert run.code == 1 and "no answer or progress for 1 s" in run.stderr


def test_whole_body_broken_off(tarn, bad, mount, place):
    """As before, of a blob that comes without ranges: what is asked for is never reached."""
    mount(1)

    def whole_and_cut(exchange):
        answer = exchange.forward(range=None)
        exchange.head(answer)
        exchange.write(answer.body[:2000])
        exchange.hang_up()
    rule = bad.fail(whole_and_cut, ANY_BLOB)
    fails(place, 5)
    hits = []  # at most one request in 100 ms while it is asked at all

    def quiet():
        time.sleep(0.5)
        hits.append(rule.hits)
        return hits[-2:] == [rule.hits] * 2
    assert wait_until(quiet)
    bad.clear()
    assert right(place, 5)


def test_wrong_token_server(tarn, bad, mount, place):
    """Something between here and the registry wants a login: a while later it does not."""
    mount()
    challenge = f'Bearer realm="http://{bad.host}/nowhere",service="x"'
    bad.fail(bad_server.status(401, {"WWW-Authenticate": challenge}), ANY_BLOB)
    fails(place)
    bad.clear()
    assert right(place)


@pytest.mark.threads
def test_reader_that_comes_late(tarn, made, bad, mount, place, tmp_path):
    """A fetch that is given up fails its own reader, not the one that joined it a moment ago."""
    mount()
    second = tmp_path / "second"
    second.mkdir()
    tarn("mount", "--timeout", TIMEOUT, f"docker://{bad.host}/{made.name}:t", second)
    bad.fail(bad_server.mute(), ANY_BLOB)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        early = pool.submit(read_errno, place / "d41/f0")
        time.sleep(0.6 * TIMEOUT)
        late = pool.submit(right, second)
        assert early.result(PATIENCE) == errno.EIO
        bad.clear()
        assert late.result(PATIENCE)
    tarn("umount", second)


# --- a short disturbance is only a wait -----------------------------------------------------------------

SHORT = {
    "wrong byte": bad_server.corrupt(100),
    "500": bad_server.status(500),
    "502": bad_server.status(502),
    "503": bad_server.status(503, {"Retry-After": "1"}),
    "429": bad_server.status(429, {"Retry-After": "1"}),
    "cut": bad_server.cut(1000),
    "closed": bad_server.drop(),
}
GOOD = {
    "cut again and again": bad_server.cut(60000),
    "whole body": bad_server.whole(),
    "in chunks": bad_server.chunked(),
    "short range": bad_server.short_range(5000),
    "moved": bad_server.redirect(),
    "moved for good": bad_server.redirect(code=301),
    "silent end": bad_server.hang_up(),
    "slow": bad_server.trickle(3000, 0.05),
    "no digest": bad_server.header("Docker-Content-Digest", None),
    "another type": bad_server.header("Content-Type", "text/html"),
}
ALWAYS = ("whole body", "in chunks", "cut again and again")


def test_short(tarn, wide, bad, place):
    tarn("mount", f"docker://{bad.host}/{wide.name}:t", place)
    rules = {}
    for i, (digest, name) in enumerate(zip(wide.blobs, SHORT)):
        times = 1 if name == "wrong byte" else 1 + i % 3
        rules[name] = bad.fail(SHORT[name], digest, times=times)
    assert set(at_once(right_layer, place, SHORT).values()) == {True}
    for (name, rule), digest in zip(rules.items(), wide.blobs):
        assert rule.hits == rule.times and len(bad.requests(digest)) > rule.times, name
    total = daemon_help.stats(tarn)
    assert total["read_errors"] == 0 and total["digest_errors"] > 0


def test_good(tarn, wide, bad, place):
    """What a server may do; gaps and repetitions are for the client to mend."""
    tarn("mount", f"docker://{bad.host}/{wide.name}:t", place)
    for digest, name in zip(wide.blobs, GOOD):
        bad.fail(GOOD[name], digest, times=None if name in ALWAYS else 2)
    assert set(at_once(right_layer, place, GOOD).values()) == {True}
    total = daemon_help.stats(tarn)
    assert total["read_errors"] == total["digest_errors"] == 0


def test_whole_body_is_used(tarn, made, bad, mount, place):
    """A registry without ranges: what it sends is kept."""
    mount(100)
    bad.fail(bad_server.whole(), ANY_BLOB)
    for number in range(8):
        assert right(place, number)
    assert len(bad.requests(ANY_BLOB)) <= 8
    assert daemon_help.stats(tarn)["digest_errors"] == 0


def test_short_outage(tarn, bad, mount, place):
    mount(100)
    bad.down()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(right, place)
        time.sleep(1)
        assert not reading.done()
        bad.up()
        assert reading.result(PATIENCE)
    assert daemon_help.stats(tarn)["read_errors"] == 0


def test_line_down_for_a_moment(tarn, made, line, place):
    tarn("mount", f"docker://{line.host}/{made.name}:t", place)
    line.set(mbit=1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(right, place)
        assert wait_until(lambda: line.stats()["down_bytes"] > 5000)
        line.set(down=1)
        line.set(down=0, mbit=0)
        assert reading.result(PATIENCE)
    assert daemon_help.stats(tarn)["read_errors"] == 0


# --- others are not disturbed ---------------------------------------------------------------------------

@pytest.mark.threads
def test_other_images_go_on(tarn, other, bad, mount, registry, place, tmp_path):
    """While reads of one image hang, by the dozen, another one's are answered."""
    second = tmp_path / "second"
    second.mkdir()
    mount(100)
    tarn("mount", f"docker://{registry.host}/{other.name}:t", second)
    bad.fail(bad_server.stall(100), ANY_BLOB)
    results = []
    hanging = [threading.Thread(target=lambda n=n: results.append(right(place, n % 8)))
               for n in range(32)]
    for thread in hanging:
        thread.start()
    assert wait_until(lambda: bad.requests(ANY_BLOB))
    for number in range(8):
        assert (second / f"d42/f{number}").read_bytes() == content(42, number)
    assert not results, "the stalled image was answered"
    bad.clear()
    for thread in hanging:
        thread.join(PATIENCE)
    assert results == [True] * 32


def test_silence_ends(tarn, bad, mount, place):
    """A connection that closes after a long silence is no error either."""
    mount(100)
    bad.fail(bad_server.mute(), ANY_BLOB)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_errno, place / "d41/f0")
        assert wait_until(lambda: bad.requests(ANY_BLOB))
        bad.clear()
        assert reading.result(PATIENCE) == 0


# --- documents ---------------------------------------------------------------------------------------------

DOCUMENTS = {
    "wrong manifest byte": (bad_server.corrupt(60), "/manifests/sha256", "digest|sha256"),
    "endless manifest": (bad_server.endless(), "/manifests/", "large|limit|bytes|size"),
    "huge manifest": (bad_server.endless(length=1 << 40), "/manifests/", "large|limit|bytes|size"),
    "lying digest": (bad_server.header("Docker-Content-Digest", "sha256:" + "0" * 64),
                     "/manifests/t", "digest|sha256"),
    "a web page": (bad_server.status(200, {"Content-Type": "text/html"}, b"<html>sign in</html>"),
                   "/manifests/", "html|JSON|type"),
    "wrong type": (bad_server.header("Content-Type", "application/vnd.oci.image.index.v1+json"),
                   "/manifests/sha256", "type|mediaType|index"),
    "colours": (bad_server.header("Content-Encoding", "\x1b[31m\xc2\x9b31m"), "/manifests/",
                r"Content-Encoding \?\[31m\?31m,"),
    "gone": (bad_server.status(404), "/manifests/", "404|no such|not found|not there"),
    "broken": (bad_server.status(500), "/manifests/", "500"),
    "no answer": (bad_server.mute(), "/manifests/", "seconds|timeout|deadline|answer"),
    "wrong bootstrap byte": (bad_server.corrupt(1000), "/blobs/", "digest|sha256"),
    "endless bootstrap": (bad_server.endless("application/octet-stream"), "/blobs/", "."),
    "cut bootstrap": (bad_server.cut(0), "/blobs/", "."),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(tarn, made, bad, place, name):
    fault, path, word = DOCUMENTS[name]
    image = f"docker://{bad.host}/{made.name}:t"
    bad.fail(fault, path)
    done = tarn.fails(word, "mount", "--timeout", TIMEOUT, image, place, timeout=PATIENCE)
    assert bad.host in done.stderr and made.name in done.stderr, done.stderr
    assert max([0, *(r.get("sent", 0) for r in bad.log)]) < 256 << 20
    bad.clear()
    tarn("mount", image, place)
    assert right(place)


@pytest.mark.parametrize("name", ["once broken", "busy", "slow", "hangs up", "closed"])
def test_documents_after_all(tarn, made, bad, place, name):
    fault = {"once broken": bad_server.status(500), "busy": bad_server.status(
        429, {"Retry-After": "1"}), "slow": bad_server.trickle(200, 0.02),
             "hangs up": bad_server.hang_up(), "closed": bad_server.drop()}[name]
    bad.fail(fault, "/v2/.", times=2)
    tarn("mount", f"docker://{bad.host}/{made.name}:t", place)
    assert right(place)
