# SPDX-License-Identifier: Apache-2.0
"""Images mounted from a real registry: what moves over the line, and how often."""
import concurrent.futures
import hashlib
import os
import random
import threading

import daemon_help
import images
import pytest
import registries
import registry_help as help_
from reader.image import Image
from registry_help import assert_disjoint, blob_requests, content, plain_layer, published, ranges
from tars import Tar

MANY, READERS, READS = 1200, 64, 1000


@pytest.fixture(autouse=True)
def clean_log(tarn):
    yield
    daemon_help.assert_clean(tarn)


@pytest.fixture(scope="module")
def small(tmp_path_factory, session_tarn, registry):
    return help_.converted(tmp_path_factory, session_tarn, registry, "mount/small",
                     [plain_layer(31, 8), plain_layer(32, 4), plain_layer(33, 1, 4 << 20)])


@pytest.fixture(scope="module")
def other(tmp_path_factory, session_tarn, registry):
    return help_.converted(tmp_path_factory, session_tarn, registry, "mount/other", [plain_layer(34, 4)])


def file_of_many(i):
    rng = random.Random(i)
    return rng.randbytes(rng.randrange(100, 12000))


@pytest.fixture(scope="module")
def many(tmp_path_factory, session_tarn, registry):
    """Thousands of small files."""
    layers = []
    for half in range(2):
        tar = Tar()
        tar.directory(b"m%d" % half)
        for i in range(half * MANY // 2, (half + 1) * MANY // 2):
            tar.add(b"m%d/%d" % (half, i), data=file_of_many(i))
        layers.append(tar)
    return help_.converted(tmp_path_factory, session_tarn, registry, "mount/many", layers)


def at(server, made):
    return f"docker://{server.host}/{made.name}:t"


def test_mount_fetches_no_blob(small, tarn, line, place):
    tarn("mount", at(line, small), place)
    log = line.log()
    assert {r["path"].rpartition("/")[2] for r in log if "/blobs/" in r["path"]} <= {
        small.blobs[-1], small.manifest["config"]["digest"]}, log
    assert len([r for r in log if "/manifests/" in r["path"]]) <= 3
    assert sum(r["received"] for r in log) < len(small.registry.blob(small.blobs[-1])) + 10000
    line.reset()
    assert sorted(p.name for p in (place / "d31").iterdir()) == [f"f{i}" for i in range(8)]
    assert (place / "d33/f0").stat().st_size == 4 << 20
    assert line.log() == [] and daemon_help.stats(tarn)["ranges"] == 0


def test_statistics_are_the_lines(small, other, tarn, line, place, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    tarn("mount", at(line, small), place)
    tarn("mount", at(line, other), second)
    line.reset()
    assert (place / "d31/f3").read_bytes() == content(31, 3)
    one = blob_requests(line.log(), small.blobs)
    assert (second / "d34/f2").read_bytes() == content(34, 2)
    two = blob_requests(line.log(), other.blobs)
    total = daemon_help.stats(tarn)
    assert total["ranges"] == len(one) + len(two) == len(line.log())
    assert total["fetched_bytes"] == sum(r["received"] for r in one + two)
    report = tarn.json("stats")
    shares = {m["directory"]: m for m in report["mounts"]}
    for where, requests in ((place, one), (second, two)):
        image = shares[str(where)]
        assert image["read_bytes"] > 0, report
        (counters,) = [i["counters"] for i in report["images"] if i["bootstrap"] ==
                       image["bootstrap"]]
        assert counters["fetched_bytes"] == sum(r["received"] for r in requests)
        assert counters["ranges"] == len(requests)


def test_one_page_is_one_request(small, tarn, line, place):
    tarn("mount", at(line, small), place)
    line.reset()
    with open(place / "d33/f0", "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, 2 << 20) == content(33, 0, 4 << 20)[2 << 20:][:4096]
    requests = blob_requests(line.log(), small.blobs)
    assert len(requests) == 1 and requests[0]["status"] == 206, requests
    assert requests[0]["received"] < 1 << 20


def test_nothing_is_fetched_twice_in_sequence(small, tarn, line, place):
    tarn("mount", at(line, small), place)
    line.reset()
    data = content(33, 0, 4 << 20)
    assert (place / "d33/f0").read_bytes() == data
    assert_disjoint(ranges(line.log()))
    moved = sum(r["received"] for r in line.log())
    assert moved < 1.02 * len(data)
    daemon_help.drop_caches()
    assert (place / "d33/f0").read_bytes() == data
    assert sum(r["received"] for r in line.log()) == moved


def read_many(place, seed, digests):
    """In a process of its own -> exit status."""
    rng = random.Random(seed)
    for i in rng.sample(range(MANY), READS):
        with open(f"{place}/m{int(i >= MANY // 2)}/{i}", "rb", buffering=0) as file:
            if hashlib.md5(file.read()).digest() != digests[i]:
                return 1
    return 0


@pytest.mark.threads
def test_many_readers_at_once(many, tarn, line, place):
    """64 processes, 1,000 random files each, all cold: no byte comes twice."""
    tarn("mount", at(line, many), place)
    line.reset()
    line.set(rtt=20)
    digests = [hashlib.md5(file_of_many(i)).digest() for i in range(MANY)]
    children = []
    for seed in range(READERS):
        pid = os.fork()
        if pid == 0:
            status = 2
            try:
                status = read_many(place, seed, digests)
            finally:
                os._exit(status)
        children.append(pid)
    ended = [os.waitpid(pid, 0)[1] for pid in children]
    assert ended == [0] * READERS
    requests = blob_requests(line.log(), many.blobs)
    found = ranges(requests)
    assert_disjoint(found)
    assert all(r["range"] and r["status"] == 206 for r in requests)
    total = daemon_help.stats(tarn)
    parts = [(first, last) for list_ in found.values() for first, last in list_]
    assert total["fetched_bytes"] == sum(last + 1 - first for first, last in parts)
    heads = sum(r["received"] for r in requests) - total["fetched_bytes"]
    assert 0 <= heads < 300 * len(parts), "what multipart answers add"
    assert total["read_errors"] == 0 and total["ranges"] == len(requests)
    assert line.stats()["connections"] <= 16, "requests of a host are bounded"


def test_http2_shares_a_connection(small, tarn, tls_registry, authority, place, tmp_path):
    """Over TLS all goes through one or two connections."""
    line = registries.SlowLine(tls_registry.port, rtt=5)
    try:
        tarn.environ.update(registries.write_login(tmp_path / "docker", [line.host]))
        tarn("mount", "--ca", authority.ca, f"docker://{line.host}/{small.name}:t", place)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            files = [(31, i) for i in range(8)] + [(32, i) for i in range(4)]
            read = pool.map(lambda f: (place / f"d{f[0]}/f{f[1]}").read_bytes(), files)
            assert list(read) == [content(*f) for f in files]
        assert (place / "d33/f0").read_bytes() == content(33, 0, 4 << 20)
        assert line.stats()["connections"] <= 3
    finally:
        line.close()


@pytest.mark.threads
def test_one_fetch_for_all_readers_of_a_chunk(small, tarn, line, place):
    tarn("mount", at(line, small), place)
    line.reset()
    line.set(rtt=100)
    results = []
    threads = [threading.Thread(target=lambda: results.append((place / "d31/f1").read_bytes()))
               for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [content(31, 1)] * 16
    assert_disjoint(ranges(line.log()))


# --- updates ------------------------------------------------------------------------------------------

def version(number):
    """A tree whose second version has a tenth of its files changed: some in the middle, some longer."""
    tar = Tar()
    for i in range(80):
        rng = random.Random(7000 + i)
        words = [rng.randbytes(rng.randrange(3, 9)).hex().encode() for _ in range(800)]
        text = bytearray(b" ".join(rng.choices(words, k=rng.randrange(2000, 16000))))
        if number == 2 and i % 10 == 3:
            text[len(text) // 2:len(text) // 2] = b"changed in version 2 " * 5
        if number == 2 and i % 20 == 7:
            text += random.Random(i).randbytes(20000)
        tar.add(b"file%d" % i, data=bytes(text))
    return tar


def read_whole(place):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(place.iterdir())}


def test_update(tarn, registry, line, place, tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        source = help_.make_source(tmp_path / str(number), registry, "mount/update-source",
                                   [version(number)])
        tarn("convert", source.at(registry), f"oci:{tmp_path}/out:v{number}")
        tarn("convert", source.at(registry), f"docker://{registry.host}/mount/update:v{number}")
    first, second = (Image(f"oci:{tmp_path}/out:v{number}") for number in (1, 2))
    known = {row.digest for layer in first.layers for row in layer.own.rows[:-1]}
    lacking = sum(row.size for layer in second.layers for row in layer.own.rows[:-1]
                  if row.kind == "stored" and row.digest not in known)
    whole = sum(row.size for layer in second.layers for row in layer.own.rows[:-1]
                if row.kind == "stored")
    tarn("mount", f"docker://{line.host}/mount/update:v1", place)
    read_whole(place)
    tarn("umount", place)
    line.reset()
    tarn("mount", f"docker://{line.host}/mount/update:v2", place)
    bootstrap = sum(r["received"] for r in line.log())
    seen = read_whole(place)
    made = published(registry, "mount/update", "v2")
    moved = sum(r["received"] for r in blob_requests(line.log(), made.blobs[:-1]))
    assert moved <= 1.10 * lacking, f"{moved} of {lacking}, {whole} without the first version"
    assert bootstrap < len(registry.blob(made.blobs[-1])) + 10000
    assert lacking < whole / 2
    tarn("export", f"oci:{tmp_path}/out:v2", f"oci:{tmp_path}/back:t")
    tree = images.unpack_by_umoci(tmp_path / "back", "t", tmp_path)
    assert seen == {path.decode(): entry.sha256 for path, entry in tree.items() if path}
