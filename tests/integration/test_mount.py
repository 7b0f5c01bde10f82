# SPDX-License-Identifier: Apache-2.0
"""What a mounted image shows and enforces. That every byte and attribute is right is test_convert's."""
import ctypes
import errno
import os
import stat
import subprocess
from pathlib import Path

import daemon_help as help_
import environment
import oci_layout
import pytest
from corner_cases import ANY, acl, noise
from daemon_help import libc, small_image
from tars import BLOCK, CHAR, Tar

DENY = acl([(1, 6, ANY), (2, 0, 70002), (4, 4, ANY), (0x10, 4, ANY), (0x20, 4, ANY)])
ALLOW = acl([(1, 6, ANY), (2, 4, 70000), (4, 0, ANY), (0x10, 4, ANY), (0x20, 0, ANY)])


def special(tar):
    tar.add(b"allow", data=b"for 70000\n", mode=0o640, xattrs={b"system.posix_acl_access": ALLOW})
    tar.add(b"deny", data=b"not for 70002\n", mode=0o644, xattrs={b"system.posix_acl_access": DENY})
    tar.add(b"null", kind=CHAR, device=(1, 3), mode=0o666)
    tar.add(b"zero", kind=CHAR, device=(1, 5), mode=0o666)
    tar.add(b"loop", kind=BLOCK, device=(7, 200))
    with open("/usr/bin/id", "rb") as file:
        tar.add(b"id", data=file.read(), mode=0o4755)
    tar.add(b"private", data=b"root alone\n", mode=0o600)
    tar.add(b"tagged", data=b"x", xattrs={b"user.one": b"1", b"user.long": noise(5000, 3),
                                         b"trusted.two": b"2", b"user.empty": b""})
    tar.symlink(b"link", b"d/f0")
    tar.sparse(b"holes", "1.0", 4 << 20, [(0, b"a" * 5000), (2 << 20, b"b" * 5000)])


@pytest.fixture(scope="module")
def specials(session_tarn, tmp_path_factory):
    return small_image(session_tarn, tmp_path_factory.mktemp("special"), more=special)


@pytest.fixture(autouse=True)
def clean_log(tarn):
    yield
    help_.assert_clean(tarn)


@pytest.fixture
def where():
    with help_.open_place() as directory:
        (directory / "mnt").mkdir()
        yield directory / "mnt"


@pytest.fixture
def mounted(specials, tarn, where):
    tarn("mount", specials.converted, where)
    return where


def test_acls_are_enforced(mounted):
    for name, uid, may in (("allow", 70000, True), ("allow", 70001, False), ("allow", 0, True),
                           ("deny", 70002, False), ("deny", 70003, True),
                           ("private", 70000, False)):
        done = help_.as_user(uid, "cat", mounted / name)
        assert (done.returncode == 0) == may, f"{name} for {uid}: want {may}, got {done}"


def test_setuid_programs_run(mounted):
    done = help_.as_user(70000, mounted / "id", "-u")
    assert done.stdout == b"0\n", done
    done = help_.as_user(70000, mounted / "id", "-ru")
    assert done.stdout == b"70000\n", done


def test_devices_open(mounted):
    assert help_.read(mounted / "null") == b""
    with open(mounted / "zero", "rb", buffering=0) as file:
        assert file.read(10) == bytes(10)
    assert stat.S_ISBLK(os.stat(mounted / "loop").st_mode)


def test_nothing_can_be_written(mounted):
    for call in (lambda: open(mounted / "d" / "f0", "r+b"), lambda: os.mkdir(mounted / "new"),
                 lambda: os.unlink(mounted / "d" / "f0"), lambda: os.chmod(mounted / "d", 0o700),
                 lambda: os.setxattr(mounted / "d", "user.x", b"y")):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EROFS, caught.value


def getxattr(path, name, size):
    buffer = ctypes.create_string_buffer(max(size, 1))
    result = libc.getxattr(os.fsencode(path), name, buffer, size)
    return result if result >= 0 else -ctypes.get_errno()


def test_xattr_sizes(mounted):
    path = mounted / "tagged"
    assert getxattr(path, b"user.long", 0) == 5000
    assert getxattr(path, b"user.long", 5000) == 5000
    assert getxattr(path, b"user.long", 4999) == -errno.ERANGE
    assert getxattr(path, b"user.none", 100) == -errno.ENODATA
    assert getxattr(path, b"user.empty", 0) == 0
    assert getxattr(mounted / "d", b"user.one", 10) == -errno.ENODATA
    assert set(os.listxattr(path)) == {"user.one", "user.long", "trusted.two", "user.empty"}
    done = help_.as_user(70000, "/usr/bin/python3", "-c",
                         f"import os; print(*sorted(os.listxattr({str(path)!r})))")
    assert done.stdout == b"user.empty user.long user.one\n", done


def test_statfs(mounted, specials):
    st = os.statvfs(mounted)
    files = {e.first: e for e in specials.expected.values() if stat.S_ISREG(e.mode)}
    assert st.f_blocks == -(-sum(e.size for e in files.values()) // 4096)
    assert st.f_files == len({e.first for e in specials.expected.values()})
    assert (st.f_bfree, st.f_ffree, st.f_namemax, st.f_bsize) == (0, 0, 255, 4096)


def test_size_of_reads(mounted):
    """The kernel may ask for no more than tarnd answers at once."""
    point = b" %s " % os.fsencode(mounted)
    lines = [x for x in Path("/proc/self/mountinfo").read_bytes().splitlines() if point in x]
    assert b"max_read=1048576" in lines[0].split(b",")[-1], lines


def test_names_that_are_not_there(mounted):
    for name, code in (("none", errno.ENOENT), ("n" * 255, errno.ENOENT),
                       ("n" * 256, errno.ENAMETOOLONG), ("link/x", errno.ENOTDIR),
                       ("d/f0/x", errno.ENOTDIR)):
        with pytest.raises(OSError) as caught:
            os.lstat(mounted / name)
        assert caught.value.errno == code, (name, caught.value)


def test_dot_and_dot_dot(mounted):
    fd = os.open(mounted / "d", os.O_RDONLY)
    try:
        with os.scandir(fd) as entries:
            assert all(e.inode() == e.stat(follow_symlinks=False).st_ino for e in entries)
    finally:
        os.close(fd)
    listed = subprocess.run(["ls", "-ia", mounted / "d"], capture_output=True, text=True, check=True)
    numbers = {name: int(ino) for ino, name in (line.split() for line in listed.stdout.splitlines())}
    assert numbers["."] == os.stat(mounted / "d").st_ino
    assert numbers[".."] == os.stat(mounted).st_ino


def test_holes_are_seen(mounted):
    fd = os.open(mounted / "holes", os.O_RDONLY)
    try:
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 256 << 10
        assert os.lseek(fd, 300000, os.SEEK_DATA) == 2 << 20
        assert os.lseek(fd, 3 << 20, os.SEEK_HOLE) == 3 << 20
        with pytest.raises(OSError) as caught:
            os.lseek(fd, 3 << 20, os.SEEK_DATA)
        assert caught.value.errno == errno.ENXIO
    finally:
        os.close(fd)


def test_inode_numbers(specials, tarn, tmp_path):
    """Large and different by default; below 2^32 with --ino32."""
    seen = {}
    for name, options in (("one", []), ("two", []), ("small", ["--ino32"])):
        where = tmp_path / name
        where.mkdir()
        tarn("mount", *options, specials.converted, where)
        seen[name] = {os.lstat(where / p.decode()).st_ino for p in specials.expected}
        fd = os.open(where, os.O_RDONLY)
        try:
            with os.scandir(fd) as entries:
                assert {e.inode() for e in entries} <= seen[name]
        finally:
            os.close(fd)
    assert not seen["one"] & seen["two"]
    assert min(seen["one"]) > 1 << 32
    assert max(seen["small"]) < 1 << 32
    assert len(seen["small"]) == len(seen["one"])
    for name in ("one", "two", "small"):
        tarn("umount", tmp_path / name)


STAT32 = r"""
static int old_stat(const char *path, void *buffer)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(106), "b"(path), "c"(buffer) : "memory");
    return result;
}
__attribute__((noreturn)) void begin(int *stack)
{
    char buffer[256];
    const int status = -old_stat((const char *)stack[2], buffer);
    for (;;)
        __asm__ volatile("int $0x80" : : "a"(1), "b"(status));
}
__asm__(".globl _start\n_start:\nmov %esp, %eax\npush %eax\ncall begin\n");
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="for x86-64")
def test_programs_of_32_bits(specials, tarn, tmp_path):
    """A struct stat with a 32-bit st_ino gives EOVERFLOW unless --ino32."""
    source, program = tmp_path / "stat32.c", tmp_path / "stat32"
    source.write_text(STAT32)
    subprocess.run(["gcc", "-m32", "-O1", "-nostdlib", "-static", "-ffreestanding", "-fno-pie", "-no-pie",
                    "-fno-stack-protector", "-o", program, source], check=True)
    try:
        subprocess.run([program, "/"], check=True)
    except OSError:
        pytest.skip("this kernel runs no 32-bit programs")
    for options, want in (([], errno.EOVERFLOW), (["--no-ino32"], errno.EOVERFLOW), (["--ino32"], 0)):
        where = tmp_path / f"mnt{options}"
        where.mkdir()
        tarn("mount", *options, specials.converted, where)
        done = subprocess.run([program, where / "private"], check=False)
        assert done.returncode == want, options
        tarn("umount", where)


def test_image_for_32_bits_gets_small_numbers(session_tarn, tarn, place, tmp_path):
    tar = Tar()
    tar.add(b"file", data=b"x")
    builder = oci_layout.LayoutBuilder(tmp_path / "source")
    for architecture in ("386", "amd64"):
        builder.tag(builder.manifest([builder.layer(tar)], os_arch=("linux", architecture)),
                    architecture)
        tarn("convert", "--platform", f"linux/{architecture}",
             f"oci:{tmp_path}/source:{architecture}", f"oci:{tmp_path}/out:{architecture}")
    for name, options, small in (("386", [], True), ("386", ["--no-ino32"], False),
                                 ("amd64", [], False)):
        tarn("mount", "--platform", f"linux/{name}", *options, f"oci:{tmp_path}/out:{name}", place)
        assert (os.stat(place / "file").st_ino < 1 << 32) == small, (name, options)
        tarn("umount", place)


def test_the_base_shows_mounts(specials, tarn, tmp_path):
    images = tarn.root / "mnt" / "images"
    blobs = tarn.root / "mnt" / "blobs"
    for i in range(4):
        where = tmp_path / f"m{i}"
        where.mkdir()
        tarn("mount", specials.converted, where)
        assert sorted(os.listdir(images)) == [str(n + 1) for n in range(i + 1)]
    read = specials.read
    names = os.listdir(blobs)
    assert names == [blob.layer.digest.removeprefix("sha256:") for blob in read.blobs]
    st = os.stat(blobs / names[0])
    assert (stat.S_IMODE(st.st_mode), st.st_ino) == (0o400, 1 << 32)
    assert stat.S_IMODE(os.stat(blobs).st_mode) == 0o700
    space = help_.read(blobs / names[0])
    assert len(space) == st.st_size and st.st_size % 4096 == 0
    assert space == read.spaces.files[0].read()
    for i in range(4):
        assert help_.read(images / str(i + 1) / "d" / "f0") == noise(50000, 0)
        tarn("umount", tmp_path / f"m{i}")
        assert sorted(os.listdir(images)) == [str(n + 1) for n in range(i + 1, 4)]
    with pytest.raises(FileNotFoundError):
        os.stat(images / "1")


@pytest.mark.parametrize("arguments, message", [
    (["oci:{layout}:latest", "{tmp}/none"], "cannot mount on '.*none', which must be a directory: No such"),
    (["oci:{layout}:latest", "/etc/passwd"], "'/etc/passwd', which must be a directory: Not a directory"),
    (["oci:{layout}:other", "{mnt}"], "other"),
    (["oci:{tmp}/nowhere:latest", "{mnt}"], "cannot open '.*/nowhere' .*first ':'.*No such file"),
    (["{source}", "{mnt}"], "not a Tarn image; `tarn convert` makes one"),
    (["dir:/usr", "{mnt}"], "no converted image; `tarn convert`"),
    (["oci:{layout}:latest"], "an image and a directory are needed"),
    (["--wrong", "oci:{layout}:latest", "{mnt}"], "^tarn mount: unrecognized option '--wrong'"),
    (["--platform", "nonsense", "oci:{layout}:latest", "{mnt}"], "nonsense"),
])
def test_what_cannot_be_mounted(specials, tarn, place, tmp_path, arguments, message):
    words = [a.format(layout=specials.layout, tmp=tmp_path, mnt=place, source=specials.source)
             for a in arguments]
    tarn.fails(message, "mount", *words)
    assert not os.path.ismount(place)
    assert help_.slots(tarn) == []


def test_what_cannot_be_unmounted(tarn, place):
    tarn.fails("no mount point", "umount", place)
    tarn.fails("not a mount of Tarn, but of type proc", "umount", "/proc")
    tarn.fails("No such file", "umount", place / "none")


def test_twice_at_one_place_and_in_two(specials, tarn, place, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for where in (place, other, place):
        tarn("mount", specials.converted, where)
    assert len(help_.slots(tarn)) == 3
    tarn("umount", place)
    assert help_.read(place / "private") == help_.read(other / "private") == b"root alone\n"
    tarn("umount", place)
    assert not os.path.ismount(place)
    tarn("umount", other)
    assert help_.slots(tarn) == []


def test_busy(specials, tarn, place):
    tarn("mount", specials.converted, place)
    with open(place / "d" / "f1", "rb", buffering=0) as file:
        tarn.fails("in use.*--lazy", "umount", place)
        done = tarn("umount", "--lazy", place)
        assert "still open" in done.stderr
        assert [m["state"] for m in help_.slots(tarn)] == ["detached"]
        assert file.read() == noise(50001, 1)
    assert environment.wait_until(lambda: help_.slots(tarn) == [])


def test_names_of_any_bytes(specials, tarn, tmp_path):
    layout = os.fsencode(tmp_path) + b"/\xff image"
    where = os.fsencode(tmp_path) + b"/\xfe here\n"
    os.symlink(specials.layout, layout)
    os.mkdir(where)
    tarn("mount", b"oci:" + layout + b":latest", where)
    assert len(help_.slots(tarn)) == 1
    assert help_.read(where + b"/private") == b"root alone\n"
    tarn("umount", where)
    assert help_.slots(tarn) == []
