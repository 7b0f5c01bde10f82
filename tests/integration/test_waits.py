# SPDX-License-Identifier: Apache-2.0
"""Reads that wait for a registry which does not answer."""
import errno
import mmap
import os
import signal
import subprocess
import sys
import time

import bad_server
import daemon_help
import pytest
import registry_help as help_
from environment import wait_until
from registry_help import content, plain_layer, published, read_errno

ANY_BLOB = "/blobs/"
# Both have FUSE wait for one process, which it can interrupt.
START = """import mmap, os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
"""
READERS = {
    "fault": START + """
file = os.open(sys.argv[1], os.O_RDONLY)
pages = mmap.mmap(file, 0, prot=mmap.PROT_READ)
pages.madvise(mmap.MADV_RANDOM)
sys.stdout.buffer.write(pages[:16])
""",
    "direct": START + """
file = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
os.preadv(file, [page], 0)
sys.stdout.buffer.write(page[:16])
""",
}


@pytest.fixture(autouse=True)
def clean_log(tarn):
    yield
    daemon_help.assert_clean(tarn)


@pytest.fixture(scope="module")
def made(tmp_path_factory, session_tarn, registry):
    source = help_.make_source(tmp_path_factory.mktemp("waits"), registry, "waits/image",
                               [plain_layer(45, 4)])
    session_tarn("convert", source.at(registry), f"docker://{registry.host}/waits/image:t")
    return published(registry, "waits/image")


def start(kind, path):
    return subprocess.Popen([sys.executable, "-c", READERS[kind], path], stdout=subprocess.PIPE)


@pytest.mark.parametrize("kind", READERS)
def test_killed_reader(tarn, made, bad, place, kind):
    """It ends at once, though its answer is far away; one that handles a signal goes on to wait."""
    tarn("mount", f"docker://{bad.host}/{made.name}:t", place)
    bad.fail(bad_server.mute(), ANY_BLOB)
    with start(kind, place / "d45/f0") as killed, \
            start(kind, place / "d45/f1") as patient:
        assert wait_until(lambda: bad.requests(ANY_BLOB))
        assert wait_until(lambda: daemon_help.stats(tarn)["read_waits"] >= 2)
        patient.send_signal(signal.SIGUSR1)
        killed.kill()
        assert killed.wait(20) == -signal.SIGKILL
        assert patient.poll() is None
        bad.clear()
        assert patient.communicate(timeout=300)[0] == content(45, 1)[:16]
        assert patient.returncode == 0
    assert (place / "d45/f0").read_bytes() == content(45, 0)


def test_a_read_waits_no_longer_than_told(tarn, made, bad, place):
    """The kernel asks again when its readahead failed; that wait is a short one."""
    tarn("mount", "--timeout", 4, f"docker://{bad.host}/{made.name}:t", place)
    bad.fail(bad_server.mute(), ANY_BLOB)
    began = time.monotonic()
    assert read_errno(place / "d45/f0") == errno.EIO
    assert time.monotonic() - began < 20
    bad.clear()
    assert (place / "d45/f0").read_bytes() == content(45, 0)


def test_a_read_waits_while_its_chunks_come(tarn, tmp_path, registry, line, place):
    """A line that takes longer than the deadline for one read, but never stands still."""
    size = 750000
    source = help_.make_source(tmp_path, registry, "waits/large", [plain_layer(46, 1, size)])
    tarn("convert", source.at(registry), f"docker://{registry.host}/waits/large:t")
    tarn("mount", "--timeout", 3, f"docker://{line.host}/waits/large:t", place)
    line.set(mbit=1)
    file = os.open(place / "d46/f0", os.O_RDONLY | os.O_DIRECT)
    with open(file, "rb", buffering=0), mmap.mmap(-1, 1 << 20) as room:
        assert os.preadv(file, [room], 0) == size
        assert room[:size] == content(46, 0, size)


def test_a_chunk_comes_from_where_it_can(tarn, made, bad, registry, place, tmp_path):
    """A reader does not wait for the dead source of another image that reads the same chunk."""
    second = tmp_path / "second"
    second.mkdir()
    tarn("mount", f"docker://{bad.host}/{made.name}:t", place)
    tarn("mount", f"docker://{registry.host}/{made.name}:t", second)
    bad.fail(bad_server.mute(), ANY_BLOB)
    with start("direct", place / "d45/f0") as stuck:
        assert wait_until(lambda: daemon_help.stats(tarn)["read_waits"] >= 1)
        assert (second / "d45/f0").read_bytes() == content(45, 0)
        assert stuck.poll() is None
        first, other = tarn.json("stats")["mounts"]
        assert first["fetched_bytes"] == 0 < other["fetched_bytes"]
        assert other["ranges"] > 0
        bad.clear()
        assert stuck.communicate(timeout=300)[0] == content(45, 0)[:16]
