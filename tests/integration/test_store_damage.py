# SPDX-License-Identifier: Apache-2.0
"""What lies below tarnd while it runs is cut, cannot be read or written: it lives, and every answer
is right or EIO."""
import concurrent.futures
import contextlib
import ctypes
import errno
import fcntl
import os
import re
import stat
import struct
import subprocess
from pathlib import Path

import daemon_help as help_
import environment
import images
import mounts
import pytest
import trees
from corner_cases import noise
from daemon_help import small_image
from tars import Tar

PAGE = os.sysconf("SC_PAGESIZE")


def image(tarn, directory, seed, shared):
    """Two layers, of which images have the first in common; metadata of several pages."""
    one, two = Tar(), Tar()
    one.directory(b"shared")
    for i in range(12):
        one.add(b"shared/f%d" % i, data=noise(20000 + i, shared + i))
    two.directory(b"d")
    for i in range(100):
        two.add(b"d/a name that is rather long %d" % i, mode=0o600, data=b"%d" % (seed + i) * i)
        two.symlink(b"d/l%d" % i, b"/".join([b"target", b"%d" % (seed + i)] * 10))
    for i in range(12):
        two.add(b"d/x%d" % i, data=noise(30000, seed + i),
                xattrs={b"user.x": noise(3000, seed + i)})
    two.add(b"d/holes", data=noise(5000, seed) + bytes(1 << 20) + b"end")
    directory.mkdir()
    name = f"damage-{seed}"
    return images.convert(tarn, images.from_tars(name, [one, two], directory), directory)


@pytest.fixture(scope="module")
def both(session_tarn, tmp_path_factory):
    directory = tmp_path_factory.mktemp("damage")
    return [image(session_tarn, directory / str(i), 100000 * i, 7) for i in range(2)]


@pytest.fixture(scope="module")
def third(session_tarn, tmp_path_factory):
    return small_image(session_tarn, tmp_path_factory.mktemp("third"), seed=5)


@pytest.fixture(autouse=True)
def clean_log(tarn):
    yield
    help_.assert_clean(tarn)


@pytest.fixture(scope="module")
def truth(both, tmp_path_factory):
    """Of each image all entries, as a daemon gives them that nobody disturbs."""
    top = tmp_path_factory.mktemp("truth")
    tarn, found = environment.Tarn(top / "root"), []
    (top / "m").mkdir()
    for one in both:
        tarn("mount", one.converted, top / "m")
        found.append(trees.scan(top / "m"))
        tarn("umount", top / "m")
    tarn.close(top)
    return found


class Answers:
    """Asks for everything that the truth names: each answer must be right, or EIO."""

    def __init__(self, place, truth):
        self.right, self.failed, self.top = 0, 0, os.fsencode(place)
        names = {path: set() for path, entry in truth.items() if stat.S_ISDIR(entry.mode)}
        for path in truth.keys() - {b""}:
            names[os.path.dirname(path)].add(os.path.basename(path))
        for path, entry in truth.items():
            self.ask(path, entry)
        for path, below in names.items():
            self.one(lambda path=path: set(os.listdir(self.at(path))), below)
            self.one(lambda path=path: is_there(self.at(path, b"none")), False)

    def at(self, *names):
        return os.path.join(self.top, *names)

    def one(self, answer, want):
        try:
            got = answer()
        except OSError as error:
            assert error.errno == errno.EIO, error
            self.failed += 1
        else:
            assert got == want
            self.right += 1

    def ask(self, path, entry):
        path = self.at(path) if path else self.top
        self.one(lambda: attributes(os.lstat(path)),
                 (entry.mode, entry.uid, entry.gid, entry.mtime))
        self.one(lambda: trees.read_xattrs(path), entry.xattrs)
        if entry.sha256:
            self.one(lambda: trees.hash_file(path), entry.sha256)
        if entry.target:
            self.one(lambda: os.readlink(path), entry.target)


def attributes(st):
    return st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns


def is_there(path):
    """os.path.lexists() takes any error for a no."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def maps_of(pid, pattern):
    """Ranges of the process's maps whose file has such a path."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and re.search(pattern, words[5]):
            found.append(words[0])
    return found


def cut(path, share):
    os.truncate(path, int(os.stat(path).st_size * share))


@pytest.mark.parametrize("name, share", [("bootstraps/*", 0.6), ("blobs/*/table", 0),
                                         ("b*/**/*", 0), ("b*/**/*", 0.6)])
def test_store_is_cut(both, truth, tarn, place, tmp_path, name, share):
    """None of it is missed by who reads, nor by who mounts the same image or another one that shares
    data with it, now or later."""
    more = tmp_path / "more"
    more.mkdir()
    tarn("mount", both[0].converted, place)
    pid = help_.daemon(tarn)
    for i in range(5):
        (place / "shared" / f"f{i}").read_bytes()
    files = [path for path in tarn.root.glob(name) if path.is_file()]
    assert files
    for path in files:
        cut(path, share)
    help_.drop_caches()
    tarn("mount", both[1].converted, more)  # shares a layer, and its misses look into all tables
    for where, want in ((more, truth[1]), (place, truth[0])):
        answers = Answers(where, want)
        assert answers.failed == 0 and answers.right > 500
    tarn("umount", place, more)
    tarn("mount", both[0].converted, place)
    assert Answers(place, truth[0]).failed == 0
    assert help_.daemon(tarn) == pid
    if name != "bootstraps/*":
        assert "was damaged while it was in use" in help_.log_of(tarn)
    tarn("umount", place)
    help_.stop(tarn)
    tarn("mount", both[0].converted, place)  # by a daemon that finds all of this
    assert Answers(place, truth[0]).failed == 0
    tarn("umount", place)


@pytest.mark.parametrize("left", [0, 2 * PAGE])
def test_bootstrap_cannot_be_read(both, third, truth, tarn, place, tmp_path, left):
    """As when the disk fails below the copy that is mapped, which only root can reach now."""
    other, again = tmp_path / "other", tmp_path / "again"
    other.mkdir()
    again.mkdir()
    tarn("mount", both[0].converted, place)
    pid = help_.daemon(tarn)
    (place / "shared" / "f1").read_bytes()
    [mapped] = maps_of(pid, r"/bootstraps/.*\(deleted\)$")
    tarn("mount", third.converted, other)
    with open(place / "shared" / "f2", "rb") as kept:
        os.truncate(f"/proc/{pid}/map_files/{mapped}", left)
        help_.drop_caches()
        answers = Answers(place, truth[0])
        assert answers.failed > 100
        with pytest.raises(OSError, match="Input/output error"):
            kept.read()
    for i in range(6):
        assert help_.read(other / "d" / f"f{i}") == noise(50000 + i, 5000 + i)
    log = help_.log_of(tarn)
    assert re.search(r"/converted:latest: the disk cannot keep or read the copy of "
                     r"bootstraps/[0-9a-f]{64} that is in use; .*unmount it, .* mount it again", log), log
    tarn("mount", both[0].converted, again)
    assert Answers(again, truth[0]).failed == 0
    tarn("umount", place, again, other)
    assert help_.daemon(tarn) == pid
    tarn("mount", both[0].converted, place)
    assert Answers(place, truth[0]).failed == 0
    tarn("umount", place)
    assert help_.log_of(tarn).count("cannot keep or read the copy") == 1


@pytest.mark.threads
def test_all_is_cut_while_it_is_read(both, truth, tarn, place):
    tarn("mount", both[0].converted, place)
    pid = help_.daemon(tarn)
    [mapped] = maps_of(pid, r"/bootstraps/.*\(deleted\)$")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(Answers, place, truth[0]) for _ in range(4)]
        for path in tarn.root.glob("blobs/*/*"):
            cut(path, 0.3)
        os.truncate(f"/proc/{pid}/map_files/{mapped}", 2 * PAGE)
        help_.drop_caches()
    for reader in readers:
        assert reader.result().right + reader.result().failed > 500
    tarn("umount", place)
    tarn("mount", both[0].converted, place)
    assert Answers(place, truth[0]).failed == 0
    assert help_.daemon(tarn) == pid
    tarn("umount", place)


# --- a disk of its own --------------------------------------------------------------------------

class Disk:
    """An ext4 at the root, in a file that is sparse, as thin volumes are; that file is in a tmpfs."""

    def __init__(self, root, below):
        self.root, self.file, self.fill = root, below / "disk", below / "fill"
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(mounts.Mounted("tmpfs", "tmpfs", below, "size=24m"))
        with open(self.file, "wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m0", "-O^has_journal", "-Elazy_itable_init=0",
                        self.file], check=True)
        root.mkdir(parents=True)
        self.stack.enter_context(mounts.Mounted("ext4", self.file, root, "loop"))
        root.chmod(0o700)

    def refuse_blocks(self):
        """From now on it has no room for blocks that were never written."""
        with open(self.fill, "wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        for i in range(4):  # a write of which the first pages find room is said to have been done
            with contextlib.suppress(OSError), open(self.root / f"fill-{i}", "wb") as file:
                file.write(noise(1 << 16, i))
                os.fsync(file.fileno())

    def give_blocks(self):
        self.fill.unlink()

    def shut_down(self):
        """As the kernel does when a disk is gone: nothing is read or written any more."""
        fd = os.open(self.root, os.O_RDONLY)
        fcntl.ioctl(fd, 0x8004587d, struct.pack("I", 2))
        os.close(fd)


@pytest.fixture
def disk(tarn, tmp_path):
    with contextlib.ExitStack() as stack:
        made = Disk(tarn.root, tmp_path / "below")
        stack.enter_context(made.stack)
        yield made
        environment.end_processes(environment.processes(tarn.root))


def holds_unnamed(pid):
    """Whether the process has a file open that has no name any more."""
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(os.readlink(fd))
    return any("/bootstraps/" in link and link.endswith("(deleted)") for link in links)


def page_out(pid, ranges):
    """The kernel gives up the pages of these ranges."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.pidfd_open(pid)
    for text in ranges:
        start, end = (int(part, 16) for part in text.split("-"))
        vector = struct.pack("QQ", start, end - start)
        assert libc.syscall(440, fd, vector, 1, 21, 0) >= 0, os.strerror(ctypes.get_errno())
    os.close(fd)


def test_disk_that_loses_what_was_written(both, truth, disk, tarn, place):
    """The kernel gives zeros for it, and says nothing. tarnd has taken these chunks for verified."""
    tarn("mount", both[0].converted, place)
    pid = help_.daemon(tarn)
    subprocess.run(["sync", "-f", tarn.root], check=True)
    disk.refuse_blocks()
    assert Answers(place, truth[0]).failed == 0
    assert subprocess.run(["sync", "-f", tarn.root], check=False, capture_output=True).returncode
    for _ in range(2):  # what is being written back is not dropped the first time
        help_.drop_caches()
    answers = Answers(place, truth[0])
    assert answers.right > 5 * answers.failed
    assert "the disk did not take all of blobs/" in help_.log_of(tarn)
    assert help_.daemon(tarn) == pid
    tarn("umount", place)


def test_disk_that_loses_a_bootstrap(both, truth, disk, tarn, place, tmp_path):
    """Its pages would be zeros, without a fault, as soon as memory is needed for others."""
    again, other = tmp_path / "again", tmp_path / "other"
    again.mkdir()
    other.mkdir()
    tarn("mount", both[1].converted, other)  # the file system's own blocks get theirs
    subprocess.run(["sync", "-f", tarn.root], check=True)
    disk.refuse_blocks()
    tarn("mount", both[0].converted, place)
    pid = help_.daemon(tarn)
    assert environment.wait_until(lambda: not holds_unnamed(pid))  # it knows what became of it
    page_out(pid, maps_of(pid, r"/bootstraps/.*\(deleted\)$"))
    help_.drop_caches()
    assert Answers(place, truth[0]).failed > 100
    disk.give_blocks()
    tarn("mount", both[0].converted, again)
    assert Answers(again, truth[0]).failed == 0
    assert Answers(other, truth[1]).failed == 0
    assert help_.daemon(tarn) == pid
    tarn("umount", place, again, other)


def test_disk_that_is_gone(both, truth, disk, tarn, place, tmp_path):
    """Reads go on without it, and so does an image that is mounted now."""
    again = tmp_path / "again"
    again.mkdir()
    tarn("mount", both[0].converted, place)
    pid = help_.daemon(tarn)
    for i in range(5):
        (place / "shared" / f"f{i}").read_bytes()
    disk.shut_down()
    help_.drop_caches()
    answers = Answers(place, truth[0])
    assert answers.right + answers.failed > 500
    tarn("mount", both[1].converted, again)
    assert Answers(again, truth[1]).failed == 0
    assert help_.daemon(tarn) == pid
    tarn("umount", place, again)


def test_store_that_cannot_be_written(both, truth, tarn, place, tmp_path):
    """What is there is read, what is not is not kept."""
    again = tmp_path / "again"
    again.mkdir()
    tarn("mount", both[0].converted, place)
    for i in range(5):
        (place / "shared" / f"f{i}").read_bytes()
    tarn("umount", place)
    help_.stop(tarn)
    with contextlib.ExitStack() as stack:
        for name in ("blobs", "bootstraps"):
            path = tarn.root / name
            stack.enter_context(mounts.Mounted("none", path, path, "bind"))
            subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        tarn("mount", both[0].converted, place)
        tarn("mount", both[1].converted, again)  # which has a bootstrap and a blob that are not there
        for where, want in ((place, truth[0]), (again, truth[1])):
            assert Answers(where, want).failed == 0
        total = help_.stats(tarn)
        assert total["checked_chunks"] > 0 and total["unstored_chunks"] > 0, total
        tarn("umount", place, again)
        help_.stop(tarn)
