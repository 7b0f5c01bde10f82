# SPDX-License-Identifier: Apache-2.0
"""The daemon's life, its store, and what it does with damage."""
import concurrent.futures
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import time

import daemon_help as help_
import environment
import images
import mounts
import pytest
import trees
from corner_cases import noise
from daemon_help import Namespace, flip, read, slots, small_image, stats
from environment import wait_until

FILES, SIZE = 6, 50000


@pytest.fixture(scope="module")
def five(session_tarn, tmp_path_factory):
    return [small_image(session_tarn, tmp_path_factory.mktemp(f"image-{i}"), seed=i)
            for i in range(5)]


@pytest.fixture(autouse=True)
def clean_log(tarn):
    yield
    help_.assert_clean(tarn)


@pytest.fixture
def own(tarn, tmp_path):
    """An image that the test may damage."""
    return small_image(tarn, tmp_path / "own", seed=9, files=20)


def check_files(where, seed, count=FILES):
    for i in range(count):
        assert read(where / "d" / f"f{i}") == noise(SIZE + i, 1000 * seed + i), (where, i)


def base_mounts(tarn):
    return environment.mounts_below(tarn.root)


# --- coming and going ----------------------------------------------------------------------------------

def test_idle_exit(five, tarn, place):
    tarn("mount", "--idle", "1", five[0].converted, place)
    pid = help_.daemon(tarn)
    assert base_mounts(tarn)
    time.sleep(2)
    assert environment.alive(pid)
    tarn("umount", place)
    assert wait_until(lambda: help_.ended(pid))
    assert not base_mounts(tarn)
    assert wait_until(lambda: environment.processes(tarn.root) == [])
    assert slots(tarn) == []
    assert not (tarn.root / "run" / "control.sock").exists()


def test_mount_wins_against_idle_exit(five, tarn, place):
    """A daemon that ends at once after each mount, and a mount right then."""
    for i in range(30):
        tarn("mount", "--idle", "0", five[i % 5].converted, place)
        check_files(place, i % 5, 1)
        subprocess.run(["umount", place], check=True)


def test_two_start_one(five, tarn, tmp_path):
    """Twelve clients at once, none finds a daemon."""
    places = [tmp_path / f"m{i}" for i in range(12)]
    for where in places:
        where.mkdir()
    running = [tarn.start("mount", five[i % 5].converted, where)
               for i, where in enumerate(places)]
    for client in running:
        _, stderr = client.communicate(timeout=300)
        assert client.returncode == 0, stderr
    assert len({m["slot"] for m in slots(tarn)}) == 12
    for i, where in enumerate(places):
        check_files(where, i % 5, 2)
        tarn("umount", where)


def test_sigterm_without_mounts(five, tarn, place):
    tarn("mount", five[0].converted, place)
    tarn("umount", place)
    help_.stop(tarn)
    assert not base_mounts(tarn)


def test_sigterm_waits_for_the_last_mount(five, tarn, place, tmp_path):
    tarn("mount", five[0].converted, place)
    pid = help_.daemon(tarn)
    os.kill(pid, signal.SIGTERM)
    assert wait_until(lambda: not base_mounts(tarn))
    check_files(place, 0)
    other = tmp_path / "other"
    other.mkdir()
    tarn.fails("told to end", "mount", five[1].converted, other)
    assert environment.alive(pid)
    tarn("umount", place)
    assert wait_until(lambda: help_.ended(pid))
    tarn("mount", five[1].converted, other)
    tarn("umount", other)


def test_killed(five, tarn, place):
    """No hang, and the next one starts as if nothing had been."""
    tarn("mount", five[0].converted, place)
    check_files(place, 0, 1)
    pid = help_.daemon(tarn)
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: help_.ended(pid))
    with pytest.raises(OSError) as caught:
        os.listdir(place)
    # The second one for a request that was on its way when the connection ended.
    assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    assert wait_until(lambda: not base_mounts(tarn)), "the mounter left the base"
    tarn("umount", place)
    tarn("mount", five[0].converted, place)
    check_files(place, 0)
    tarn("umount", place)


def test_client_that_dies_leaves_nothing(five, tarn, place):
    """Killed at different moments of a mount."""
    tarn("mount", five[1].converted, place)
    for delay in range(12):
        client = tarn.start("mount", five[0].converted, place)
        time.sleep(delay * 0.002)
        client.kill()
        client.communicate()
    while os.path.ismount(place):
        subprocess.run(["umount", place], check=True)
    assert wait_until(lambda: slots(tarn) == []), slots(tarn)


def test_daemon_that_cannot_start(tarn, five, place):
    tarn.fails("tarnd did not start", "mount", five[0].converted, place,
               env={"TARN_TARND": "/bin/false"})
    tarn.fails("tarnd did not start.*cannot run /none", "mount", five[0].converted, place,
               env={"TARN_TARND": "/none"})


# --- many -----------------------------------------------------------------------------------------------

@pytest.mark.threads
def test_hundred_mounts(five, tarn, tmp_path):
    places = [tmp_path / f"m{i}" for i in range(100)]

    def mount(i):
        places[i].mkdir()
        tarn("mount", five[i % 5].converted, places[i])
        check_files(places[i], i % 5)
        return {e.inode() for e in os.scandir(places[i] / "d")}

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        inodes = list(pool.map(mount, range(100)))
        assert len(set().union(*inodes)) == 100 * FILES, "two mounts show one inode number"
        assert len(slots(tarn)) == 100
        assert len({m["bootstrap"] for m in slots(tarn)}) == 5
        threads = len(os.listdir(f"/proc/{help_.daemon(tarn)}/task"))
        assert threads < 25, f"{threads} threads"
        list(pool.map(lambda where: tarn("umount", where), places))
    assert slots(tarn) == []


@pytest.mark.threads
def test_many_readers_of_one_image(five, tarn, place):
    tarn("mount", five[2].converted, place)

    def look(n):
        for i in range(FILES):
            offset = (n * 7919 + i * 104729) % SIZE
            with open(place / "d" / f"f{(n + i) % FILES}", "rb", buffering=0) as file:
                file.seek(offset)
                want = noise(SIZE + (n + i) % FILES, 2000 + (n + i) % FILES)[offset:offset + 3000]
                assert file.read(3000) == want

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(look, range(64)))
    total = stats(tarn)
    assert total["digest_errors"] == total["read_errors"] == 0
    check_files(place, 2)
    chunks = sum(blob.rows for blob in blob_rows(five[2]))
    assert stats(tarn)["decoded_chunks"] <= chunks, "a chunk was decoded twice"
    tarn("umount", place)


class Rows:
    def __init__(self, rows):
        self.rows = rows


def blob_rows(image):
    """The number of chunks of each blob, from the store's rows in `tarn inspect`."""
    return [Rows(blob["chunks"]) for blob in image_report(image)]


def image_report(image):
    tarn = environment.Tarn("/nonexistent")
    report = tarn.json("inspect", image.converted)
    return report["blobs"]


# --- unmounting elsewhere ---------------------------------------------------------------------------------

def test_plain_umount(five, tarn, place):
    tarn("mount", five[0].converted, place)
    subprocess.run(["umount", place], check=True)
    assert wait_until(lambda: slots(tarn) == [])


def test_other_namespaces_keep_it(five, tarn, place):
    tarn("mount", five[0].converted, place)
    with Namespace() as other:
        tarn("umount", place, timeout=300)  # which does not wait for the other
        time.sleep(2.5)
        assert [m["state"] for m in slots(tarn)] == ["mounted"]
        done = other.run("cat", place / "d" / "f0")
        assert done.stdout == noise(SIZE, 0)
        assert other.run("umount", place).returncode == 0
        assert wait_until(lambda: slots(tarn) == [])
    tarn("mount", five[0].converted, place)
    with Namespace() as other:
        subprocess.run(["umount", place], check=True)
        time.sleep(1.5)
        assert len(slots(tarn)) == 1
        other.end()
        assert wait_until(lambda: slots(tarn) == [])


def test_mounted_in_another_namespace(five, tarn, place):
    """The client's namespace counts, not the daemon's."""
    other_place = place.parent / "other"
    other_place.mkdir()
    tarn("mount", five[1].converted, other_place)  # the daemon starts in ours
    with Namespace() as other:
        done = other.run("env", f"TARN_ROOT={tarn.root}", tarn.program, "mount", five[0].converted,
                         place)
        assert done.returncode == 0, done
        assert not os.path.ismount(place)
        assert other.run("cat", place / "d" / "f1").stdout == noise(SIZE + 1, 1)
        time.sleep(2.5)
        assert len(slots(tarn)) == 2
        done = other.run("env", f"TARN_ROOT={tarn.root}", tarn.program, "umount", place)
        assert done.returncode == 0, done
        assert len(slots(tarn)) == 1
    tarn("umount", other_place)


def test_mounts_inside_are_left_alone(five, tarn, place):
    """What others have mounted in an image stays as long as someone sees it."""
    tarn("mount", five[0].converted, place)
    with Namespace() as other:
        assert other.run("mount", "-t", "tmpfs", "mine", place / "d").returncode == 0
        assert other.run("touch", place / "d" / "here").returncode == 0
        tarn("umount", place)
        time.sleep(2.5)
        assert other.run("ls", place / "d").stdout == b"here\n"
    assert wait_until(lambda: slots(tarn) == [])


def test_bind_mounts_keep_it(five, tarn, place):
    part = place.parent / "part"
    part.mkdir()
    tarn("mount", five[0].converted, place)
    subprocess.run(["mount", "--bind", place / "d", part], check=True)
    tarn("umount", place)
    time.sleep(1.5)
    assert [m["state"] for m in slots(tarn)] == ["mounted"]
    assert read(part / "f0") == noise(SIZE, 0)
    subprocess.run(["umount", part], check=True)
    assert wait_until(lambda: slots(tarn) == [])


# --- the store ----------------------------------------------------------------------------------------------

def test_the_store_lasts(five, tarn, place):
    """A second daemon checks what is there and decodes nothing."""
    for round_ in range(2):
        tarn("mount", five[0].converted, place)
        check_files(place, 0)
        total = stats(tarn)
        if round_ == 0:
            assert total["decoded_chunks"] > 0 and total["checked_chunks"] == 0
        else:
            assert total["decoded_chunks"] == total["fetched_bytes"] == 0
            assert total["checked_chunks"] > 0
        tarn("umount", place)
        help_.stop(tarn)


def test_second_mount_decodes_nothing(five, tarn, place):
    tarn("mount", five[0].converted, place)
    check_files(place, 0)
    tarn("umount", place)
    before = stats(tarn)
    tarn("mount", five[0].converted, place)
    check_files(place, 0)
    assert stats(tarn)["decoded_chunks"] == before["decoded_chunks"]
    tarn("umount", place)


def test_chunks_of_other_images_are_used(tarn, tmp_path, place):
    """Another image with most of the same files in another order: only the rest is fetched."""
    one = small_image(tarn, tmp_path / "one", seed=30, files=20)
    two = small_image(tarn, tmp_path / "two", seed=30, files=20,
                      more=lambda tar: tar.add(b"a-first", data=noise(30000, 77)))
    tarn("mount", one.converted, place)
    check_files(place, 30, 20)
    before = stats(tarn)
    other = tmp_path / "other"
    other.mkdir()
    tarn("mount", two.converted, other)
    check_files(other, 30, 20)
    assert read(other / "a-first") == noise(30000, 77)
    after = stats(tarn)
    assert after["copied_chunks"] > 10
    assert after["fetched_bytes"] - before["fetched_bytes"] < 300000, after
    tarn("umount", place, other)


def test_damage_in_the_store_is_found(own, tarn, place):
    tarn("mount", own.converted, place)
    check_files(place, 9, 20)
    tarn("umount", place)
    help_.stop(tarn)
    data = help_.blob_files(tarn.root / "blobs")
    assert len(data) == 1
    length = data[0].stat().st_size
    for offset in range(1000, length, 90001):
        flip(data[0], offset)
    tarn("mount", own.converted, place)
    check_files(place, 9, 20)
    total = stats(tarn)
    assert total["dropped_chunks"] >= 5 and total["decoded_chunks"] >= 5, total
    assert total["read_errors"] == 0
    tarn("umount", place)
    help_.stop(tarn)
    tarn("mount", own.converted, place)
    check_files(place, 9, 20)
    assert stats(tarn)["dropped_chunks"] == 0
    tarn("umount", place)


@pytest.mark.parametrize("what", ["data", "written", "table", "bootstrap", "gone"])
def test_any_damage_of_the_store(own, tarn, place, what):
    tarn("mount", own.converted, place)
    check_files(place, 9, 10)
    tarn("umount", place)
    help_.stop(tarn)
    [table] = help_.blob_files(tarn.root / "blobs", "table")
    if what == "bootstrap":
        [path] = (tarn.root / "bootstraps").iterdir()
        flip(path, path.stat().st_size // 2)
    elif what == "gone":
        os.unlink(table.parent / "data")
    elif what == "table":
        flip(table, table.stat().st_size - 40)
    elif what == "written":
        path = table.parent / "written"
        path.write_bytes(b"\xff" * path.stat().st_size)
    else:
        with open(table.parent / "data", "r+b") as file:
            file.truncate(5000)
    tarn("mount", own.converted, place)
    check_files(place, 9, 20)
    assert stats(tarn)["read_errors"] == 0
    tarn("umount", place)


def test_full_disk(own, tarn, place, tmp_path):
    """Reads go on, with right bytes, and nothing is broken afterwards."""
    with mounts.Mounted("tmpfs", "tmpfs", tarn.root, "size=400k,mode=0700"):
        tarn("mount", own.converted, place)
        for _ in range(2):
            check_files(place, 9, 20)
            help_.drop_caches()
        total = stats(tarn)
        assert total["unstored_chunks"] > 0 and total["read_errors"] == 0, total
        tarn("umount", place)
        help_.stop(tarn)


def test_each_mount_has_its_share(own, tarn, place, tmp_path):
    """Of two mounts of one image the one that reads is counted for what was fetched."""
    second = tmp_path / "second"
    second.mkdir()
    tarn("mount", own.converted, place)
    tarn("mount", own.converted, second)
    assert read(place / "d" / "f0") == noise(SIZE, 9000)
    assert help_.wait_until_idle(tarn)
    report = tarn.json("stats")
    total = report["total"]
    shares = {m["directory"]: m for m in report["mounts"]}
    assert shares[str(place)]["fetched_bytes"] == total["fetched_bytes"] > 0, report
    assert shares[str(place)]["ranges"] == total["ranges"] > 0
    assert shares[str(second)]["fetched_bytes"] == shares[str(second)]["ranges"] == 0
    for what in ("mount_requests", "mount_bytes"):
        assert sum(m[what] for m in report["mounts"]) == total[what]
        assert all(m[what] > 0 for m in report["mounts"]), report
    # The second found the bootstrap open: one request less.
    assert shares[str(second)]["mount_requests"] == shares[str(place)]["mount_requests"] - 1
    tarn("umount", second)


def test_full_disk_from_the_start(own, tarn, place, tmp_path):
    """An image can be mounted and read with no room for its bootstrap or tables."""
    with mounts.Mounted("tmpfs", "tmpfs", tarn.root, "size=64k,mode=0700"):
        with contextlib.suppress(OSError):
            (tarn.root / "fill").write_bytes(bytes(1 << 20))
        tarn("mount", own.converted, place)
        for _ in range(2):
            check_files(place, 9, 20)
            help_.drop_caches()
        total = stats(tarn)
        assert total["unstored_chunks"] > 0 and total["read_errors"] == 0, total
        assert list((tarn.root / "blobs").iterdir()) == []
        assert list((tarn.root / "bootstraps").iterdir()) == []
        tarn("umount", place)
        # With room the next daemon stores again.
        help_.stop(tarn)
        (tarn.root / "fill").unlink()


# --- damage in the image ----------------------------------------------------------------------------------

def blob_path(image, index=0):
    digest = image.read.blobs[index].layer.digest
    return os.path.join(image.layout, "blobs", *digest.split(":"))


def outcome(where, seed, count):
    """For each file whether it could be read; what could be read must be right."""
    out = []
    for i in range(count):
        try:
            got = read(where / "d" / f"f{i}")
        except OSError as error:
            assert error.errno == errno.EIO, error
            out.append(False)
            continue
        assert got == noise(SIZE + i, 1000 * seed + i), f"f{i}: wrong bytes"
        out.append(True)
    return out


def test_damage_in_a_blob(own, tarn, place):
    path = blob_path(own)
    flip(path, 100)  # the first chunk: the others of its run have it as prefix
    tarn("mount", own.converted, place)
    result = outcome(place, 9, 20)
    in_order = [result[i] for i in sorted(range(20), key=str)]
    assert not in_order[0] and all(in_order[7:]), result
    total = stats(tarn)
    assert total["digest_errors"] >= 2 and total["read_errors"] > 0
    log = help_.log_of(tarn)
    assert own.read.blobs[0].layer.digest in log and "offset 0 " in log and own.converted in log
    flip(path, 100)
    assert all(outcome(place, 9, 20)), "an error was remembered"
    tarn("umount", place)


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_in_a_blob(own, tarn, place, seed):
    """Never a wrong byte; and all is well again when the blob is."""
    path = blob_path(own)
    offsets = [int.from_bytes(noise(4, 50 + 10 * seed + i), "big") % 900000 for i in range(3)]
    for offset in offsets:
        flip(path, offset)
    tarn("mount", own.converted, place)
    assert not all(outcome(place, 9, 20))
    for offset in offsets:
        flip(path, offset)
    assert all(outcome(place, 9, 20))
    tarn("umount", place)


def test_blob_that_is_gone(own, tarn, place):
    path = blob_path(own)
    tarn("mount", own.converted, place)
    os.rename(path, path + ".away")
    assert not any(outcome(place, 9, 20))
    os.rename(path + ".away", path)
    assert all(outcome(place, 9, 20))
    tarn("umount", place)


def test_blob_that_is_short(own, tarn, place):
    path = blob_path(own)
    tarn("mount", own.converted, place)
    with open(path, "r+b") as file:
        data = file.read()
        file.truncate(400000)
    result = outcome(place, 9, 20)
    assert any(result) and not all(result)
    with open(path, "wb") as file:
        file.write(data)
    assert all(outcome(place, 9, 20))
    tarn("umount", place)


def descriptors(image):
    """(what, digest) of all that a mount reads first: not the config, as the index tells the platform."""
    manifest = image.read.descriptor["digest"]
    value = __import__("oci_layout").read_json(image.layout, manifest)
    return [("manifest", manifest), ("bootstrap", value["layers"][-1]["digest"])]


@pytest.mark.parametrize("index", range(2))
def test_damage_that_refuses_the_mount(own, tarn, place, index):
    what, digest = descriptors(own)[index]
    path = os.path.join(own.layout, "blobs", *digest.split(":"))
    flip(path, os.path.getsize(path) // 2)
    done = tarn.fails("digest|damaged|wrong", "mount", own.converted, place)
    assert digest in done.stderr or what in done.stderr, done.stderr
    assert not os.path.ismount(place)
    assert slots(tarn) == []
    flip(path, os.path.getsize(path) // 2)
    tarn("mount", own.converted, place)
    check_files(place, 9, 20)
    tarn("umount", place)


# --- without root ---------------------------------------------------------------------------------------

@pytest.fixture
def user():
    """A user's own root directory and copies of the programs that he can run."""
    mode = os.stat("/dev/fuse").st_mode & 0o777
    os.chmod("/dev/fuse", 0o666)
    try:
        with help_.open_place() as directory:
            for name in ("tarn", "tarnd"):
                shutil.copy(environment.BUILD / name, directory / name)
            (directory / "home").mkdir()
            os.chown(directory / "home", 65534, 65534)
            yield directory
            for name in os.listdir("/proc"):
                try:
                    if os.readlink(f"/proc/{name}/exe").startswith(str(directory)):
                        os.kill(int(name), signal.SIGTERM)
                        assert wait_until(lambda pid=int(name): help_.ended(pid))
                except (OSError, ValueError):
                    continue
    finally:
        os.chmod("/dev/fuse", mode)


def test_rootless(five, user, tarn):
    def run(*words):
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(user / "home"), "LC_ALL": "C.UTF-8"}
        done = help_.as_user(65534, *map(str, words), env=environ)
        assert done.returncode == 0, done
        return done.stdout

    for i, image in enumerate(five[:3]):
        images.copy_layout(image.layout, user / f"layout{i}")
        run("mkdir", user / "home" / f"m{i}")
        run(user / "tarn", "mount", "--idle", "1", f"oci:{user}/layout{i}:latest",
            user / "home" / f"m{i}")
    for i in range(3):
        where = user / "home" / f"m{i}"
        for n in range(FILES):
            assert run("cat", where / "d" / f"f{n}") == noise(SIZE + n, 1000 * i + n)
        names = run("ls", "-a", where / "d").decode().split()
        assert names == [".", "..", *(f"f{n}" for n in range(FILES))]
    assert b"mounted" in run(user / "tarn", "ps")
    options = run("findmnt", "-n", "-o", "OPTIONS", user / "home" / "m0").decode()
    assert "nosuid" in options and "nodev" in options and "ro" in options
    run(user / "tarn", "umount", user / "home" / "m0")
    run("fusermount3", "-u", user / "home" / "m1")
    assert run("cat", user / "home" / "m2" / "d" / "f0") == noise(SIZE, 2000)
    run(user / "tarn", "umount", user / "home" / "m2")
    assert not environment.mounts_below(user)
    assert (user / "home" / ".local/share/tarn/blobs").exists()


def test_compared_after_reads_in_parts(own, tarn, place):
    """Small random reads first: what they leave must fit together."""
    tarn("mount", own.converted, place)
    for n in range(200):
        i = n * 7 % 20
        offset = n * 7919 % SIZE
        with open(place / "d" / f"f{i}", "rb", buffering=0) as file:
            file.seek(offset)
            assert file.read(100) == noise(SIZE + i, 9000 + i)[offset:offset + 100]
    help_.drop_caches()
    trees.assert_same(own.expected, trees.scan(place))
    tarn("umount", place)
