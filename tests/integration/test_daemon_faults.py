# SPDX-License-Identifier: Apache-2.0
"""What may happen to the daemon from outside: clients, its own processes, its store."""
import array
import concurrent.futures
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path

import daemon_help as help_
import environment
import images
import mounts
import pytest
from corner_cases import noise
from daemon_help import read, slots, small_image, stats
from environment import wait_until
from tars import Tar

FILES, SIZE = 6, 50000


@pytest.fixture(scope="module")
def two(session_tarn, tmp_path_factory):
    return [small_image(session_tarn, tmp_path_factory.mktemp(f"faults-{i}"), seed=i)
            for i in range(2)]


@pytest.fixture(autouse=True)
def clean_log(tarn):
    yield
    help_.assert_clean(tarn)


def check_files(where, seed, count=FILES):
    for i in range(count):
        assert read(where / "d" / f"f{i}") == noise(SIZE + i, 1000 * seed + i), (where, i)


def test_log_that_is_a_fifo(two, tarn, place):
    (tarn.root / "run").mkdir(parents=True)
    os.mkfifo(tarn.root / "run" / "tarnd.log")
    try:
        tarn.fails("cannot open .*tarnd.log", "mount", two[0].converted, place, timeout=60)
    finally:
        os.unlink(tarn.root / "run" / "tarnd.log")


# --- its clients ------------------------------------------------------------------------------

def connect(tarn):
    """A client of the control socket."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    directory = os.open(tarn.root / "run", os.O_RDONLY)
    client.connect(f"/proc/self/fd/{directory}/control.sock")
    os.close(directory)
    return client


def test_garbage(two, tarn, place):
    tarn("mount", two[0].converted, place)
    for data in (b"\xff\xff\xff\xff", b"\x05\0\0\0hello", b"\x02\0\0\0{}", b"\x02\0\0\0[]",
                 b"\x0d\0\0\0" + b'{"op":"fuse"}', b"\x0f\0\0\0" + b'{"op":"umount"}'):
        with connect(tarn) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1000):
                pass
    check_files(place, 0)
    tarn("umount", place)


def ask(client, descriptors=(), **message):
    text = json.dumps(message).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    client.sendmsg([struct.pack("<I", len(text)) + text], rights if descriptors else [])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def anonymous_memory(pid):
    """In KiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1])


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))


# What of a root -> how it is taken over.
STRANGERS = {
    "root of another": (".", lambda path: os.chown(path, 12345, 0), "belongs to another user"),
    "root for all": (".", lambda path: path.chmod(0o1777), "can be written by others"),
    "run of another": ("run", lambda path: os.chown(path, 12345, 0), "belongs to another user"),
    "bootstraps for a group": ("bootstraps", lambda path: path.chmod(0o770), "written by others"),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_root_of_a_stranger(two, tarn, place, what):
    name, take, message = STRANGERS[what]
    (tarn.root / name).mkdir(parents=True)
    take(tarn.root / name)
    tarn.fails(message, "mount", two[0].converted, place)
    log = tarn.root / "run" / "tarnd.log"
    assert not log.exists() or not log.stat().st_size
    done = subprocess.run([environment.BUILD / "tarnd", "--root", tarn.root], capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 1 and message in done.stderr, done


def test_daemon_says_when_clients_can_come(tarn):
    tarnd = environment.BUILD / "tarnd"
    read, write = os.pipe()
    with subprocess.Popen([tarnd, "--root", tarn.root, "--ready", str(write)], pass_fds=[write],
                          stderr=subprocess.PIPE) as process:
        os.close(write)
        assert os.read(read, 1) == b""
        os.close(read)
        assert tarn.json("ps")["pid"] == process.pid
        process.terminate()
        assert process.communicate(timeout=300)[1] == b"" and process.returncode == 0
    for words in ("2", "999", "x", ""):
        done = subprocess.run([tarnd, "--root", tarn.root, "--ready", words], check=False,
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 2 and f"'{words}' is no open descriptor" in done.stderr, done


def test_daemon_of_a_stranger(two, tarn, place):
    """It gets neither credentials nor a directory."""
    (tarn.root / "run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.open(tarn.root / "run", os.O_RDONLY)
        server.bind(f"/proc/self/fd/{directory}/control.sock")
        os.close(directory)
        os.seteuid(12345)  # who listens is the peer
        try:
            server.listen()
        finally:
            os.seteuid(0)
        tarn.fails("belongs to another user", "mount", two[0].converted, place)


def test_client_that_does_not_read(two, tarn, place):
    """It is not served any more; what it asks for does not fill the daemon's memory."""
    tarn("mount", two[0].converted, place)
    pid = help_.daemon(tarn)
    before = anonymous_memory(pid)
    with connect(tarn) as client:
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(100000):
                ask(client, op="stats")
        assert anonymous_memory(pid) - before < 32 << 10
        check_files(place, 0)
    tarn("umount", place)


def test_clients_without_end(two, tarn, place):
    """They leave descriptors to the data, and do not keep the daemon busy."""
    done = tarn.run("mount", two[0].converted, place, preexec_fn=few_descriptors)
    assert done.code == 0, done.stderr
    pid = help_.daemon(tarn)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(tarn))
        assert wait_until(lambda: descriptors(pid) > 35)
        check_files(place, 0)
        assert descriptors(pid) < 70
    assert len(slots(tarn)) == 1
    tarn("umount", place)


def test_too_many_descriptors_in_a_message(two, tarn, place):
    tarn("mount", two[0].converted, place)
    pid = help_.daemon(tarn)
    before = descriptors(pid)
    with connect(tarn) as client:
        for _ in range(20):
            ask(client, [1, 2], op="ps")
            assert client.recv(1 << 16)
    assert wait_until(lambda: descriptors(pid) <= before)
    tarn("umount", place)


def test_mounter_that_dies(two, tarn, place, tmp_path):
    """Who waits for it is told, what is mounted stays, and the daemon can still end."""
    tarn("mount", "--idle", 0, two[0].converted, place)
    pid = help_.daemon(tarn)
    mounter, = (p for p in environment.processes(tarn.root) if p != pid)
    more = [tmp_path / f"m{i}" for i in range(3)]
    for where in more:
        where.mkdir()
    os.kill(mounter, signal.SIGSTOP)
    clients = [tarn.start("mount", two[1].converted, where) for where in more]
    assert wait_until(lambda: len(slots(tarn)) == 4)
    os.kill(mounter, signal.SIGKILL)
    for client in clients:
        assert b"that mounts has gone" in client.communicate(timeout=300)[1]
    tarn.fails("that mounts has gone", "mount", two[1].converted, more[0])
    check_files(place, 0)
    tarn("umount", place)
    assert wait_until(lambda: help_.ended(pid))
    assert environment.mounts_below(tarn.root) == []
    tarn("mount", two[1].converted, place)
    check_files(place, 1)


def test_base_that_is_unmounted(two, tarn, place, tmp_path):
    """What is mounted stays; the next daemon mounts again."""
    second = tmp_path / "second"
    second.mkdir()
    tarn("mount", "--idle", 0, two[0].converted, place)
    pid = help_.daemon(tarn)
    subprocess.run(["umount", "-l", tarn.root / "mnt"], check=True)
    tarn.fails("unmount all images, then tarnd starts anew", "mount", two[1].converted, second)
    check_files(place, 0)
    tarn("umount", place)
    assert wait_until(lambda: help_.ended(pid), 20)
    tarn("mount", two[1].converted, second)
    check_files(second, 1)
    tarn("umount", second)


# --- its store --------------------------------------------------------------------------------

@pytest.fixture
def own(tarn, tmp_path):
    return small_image(tarn, tmp_path / "own", seed=9, files=20)


def test_data_that_is_cut(own, tarn, place):
    """What was there is fetched again; nobody reads an error, or zeros."""
    tarn("mount", own.converted, place)
    check_files(place, 9, 20)
    fetched = stats(tarn)["fetched_bytes"]
    data, = (tarn.root / "blobs").glob("*/data")
    os.truncate(data, 0)
    help_.drop_caches()
    check_files(place, 9, 20)
    total = stats(tarn)
    assert total["read_errors"] == 0 and total["fetched_bytes"] > fetched, total
    tarn("umount", place)


def test_store_that_is_removed(own, two, tarn, place, tmp_path):
    """Images that are mounted go on, and others can be mounted."""
    second = tmp_path / "second"
    second.mkdir()
    tarn("mount", own.converted, place)
    check_files(place, 9, 2)
    for name in ("blobs", "bootstraps"):
        shutil.rmtree(tarn.root / name)
    help_.drop_caches()
    check_files(place, 9, 20)
    tarn("mount", two[0].converted, second)
    check_files(second, 0)
    assert stats(tarn)["read_errors"] == 0
    tarn("umount", place, second)


def test_room_after_a_full_disk(own, tarn, place):
    """What is read is kept again as soon as there is room."""
    with mounts.Mounted("tmpfs", "tmpfs", tarn.root, "size=64k,mode=0700"):
        with contextlib.suppress(OSError):
            (tarn.root / "fill").write_bytes(bytes(1 << 20))
        tarn("mount", own.converted, place)
        check_files(place, 9, 20)
        assert stats(tarn)["unstored_chunks"] > 0
        (tarn.root / "fill").unlink()
        subprocess.run(["mount", "-o", "remount,size=16m", str(tarn.root)], check=True)

        def is_kept():
            before = stats(tarn)["fetched_bytes"]
            help_.drop_caches()
            check_files(place, 9, 20)
            return stats(tarn)["fetched_bytes"] == before

        assert wait_until(is_kept), stats(tarn)
        tarn("umount", place)
        help_.stop(tarn)
        tarn("mount", own.converted, place)  # and by the next daemon
        check_files(place, 9, 20)
        assert stats(tarn)["fetched_bytes"] == 0
        tarn("umount", place)
        help_.stop(tarn)


# --- its sources ------------------------------------------------------------------------------

def test_limit_on_the_size_of_files(two, tarn, place, tmp_path):
    """As a store that is full, and no end by SIGXFSZ; a conversion says so."""
    limits = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))}
    tarn("mount", two[0].converted, place, **limits)
    check_files(place, 0)
    assert stats(tarn)["unstored_chunks"] > 0
    tarn.fails("File too large", "convert", two[0].source, f"oci:{tmp_path}/copy:t", **limits)


def test_layout_on_a_dead_file_system(own, two, tarn, place, tmp_path):
    """It takes some threads that read the disk, not all: others are mounted and read. The file system
    is that of another tarnd, which is stopped."""
    tar = Tar()
    for path in sorted(Path(own.layout).rglob("*")):
        if path.is_file():
            tar.add(os.fsencode(path.relative_to(own.layout)), data=path.read_bytes())
    around = tmp_path / "around"
    around.mkdir()
    around = images.convert(tarn, images.from_tars("around", [tar], around), around)
    other, inside, second = environment.Tarn(tmp_path / "root-2"), tmp_path / "in", tmp_path / "m2"
    inside.mkdir()
    second.mkdir()
    other("mount", around.converted, inside)
    stopped = help_.daemon(other)
    tarn("mount", f"oci:{inside}:latest", place)
    os.kill(stopped, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        try:
            reading = [pool.submit(read, place / "d" / f"f{i}") for i in range(20)]
            assert wait_until(lambda: stats(tarn)["read_waits"] >= 10, 20)
            tarn("mount", two[0].converted, second, timeout=60)
            check_files(second, 0)
            assert not any(one.done() for one in reading)
        finally:
            os.kill(stopped, signal.SIGCONT)
    for i, one in enumerate(reading):
        assert one.result() == noise(SIZE + i, 9000 + i)
    tarn("umount", second, place)
    other.close(tmp_path)
