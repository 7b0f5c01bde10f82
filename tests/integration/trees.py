# SPDX-License-Identifier: Apache-2.0
"""Scans a directory tree with every attribute, and says how two of them differ."""
import ctypes
import hashlib
import os
import stat
import struct
from dataclasses import dataclass, field, replace

DT = {stat.S_IFREG: 8, stat.S_IFDIR: 4, stat.S_IFLNK: 10, stat.S_IFIFO: 1, stat.S_IFCHR: 2,
      stat.S_IFBLK: 6}
SYS_GETDENTS64 = 217 if os.uname().machine == "x86_64" else 61
libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Entry:
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0  # nanoseconds
    size: int = 0  # of files and symbolic links
    sha256: str = ""  # of files
    target: bytes = b""
    device: tuple = (0, 0)
    nlink: int = 1
    first: bytes = b""  # first path of its inode; of directories their own
    xattrs: dict = field(default_factory=dict)

    def but(self, **changes):
        return replace(self, **changes)


def getdents(path):
    """[(name, d_type)] with `.` and `..`, as the kernel gives them."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    buffer, out = ctypes.create_string_buffer(65536), []
    try:
        while True:
            count = libc.syscall(SYS_GETDENTS64, fd, buffer, len(buffer))
            if count < 0:
                raise OSError(ctypes.get_errno(), "getdents64", path)
            if count == 0:
                return out
            at, data = 0, buffer.raw
            while at < count:
                _, _, length, kind = struct.unpack_from("<QqHB", data, at)
                name = data[at + 19:at + length].split(b"\0", 1)[0]
                out.append((name, kind))
                at += length
    finally:
        os.close(fd)


def hash_file(path):
    whole = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(1 << 20):
            whole.update(data)
    return whole.hexdigest()


def read_xattrs(path):
    return {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)}


def scan(top, content=True):
    """{path below top, b"" for top: Entry}; without content no sha256."""
    top, found, inodes = os.fsencode(top), {}, {}
    pending = [b""]
    while pending:
        path = pending.pop()
        full = os.path.join(top, path) if path else top
        st = os.lstat(full)
        kind = stat.S_IFMT(st.st_mode)
        entry = found[path] = Entry(st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns,
                                    nlink=st.st_nlink, first=path, xattrs=read_xattrs(full))
        if kind == stat.S_IFDIR:
            entry.nlink = 0  # checked by subdirectories() where it counts
            names = [name for name, _ in getdents(full) if name not in (b".", b"..")]
            pending += [os.path.join(path, name) for name in names]
            continue
        inodes.setdefault((st.st_dev, st.st_ino), []).append(path)
        if kind == stat.S_IFREG:
            entry.size = st.st_size
            entry.sha256 = hash_file(full) if content else ""
        elif kind == stat.S_IFLNK:
            entry.size, entry.target = st.st_size, os.readlink(full)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            entry.device = os.major(st.st_rdev), os.minor(st.st_rdev)
    for paths in inodes.values():
        first = min(paths, key=lambda p: p.split(b"/"))
        for path in paths:
            found[path].first = first
    return found


def differences(expected, found, limit=20):
    """[str], in words: want and got."""
    out = [f"{path!r}: missing" for path in sorted(expected.keys() - found.keys())]
    out += [f"{path!r}: should not be there" for path in sorted(found.keys() - expected.keys())]
    for path in sorted(expected.keys() & found.keys()):
        want, got = vars(expected[path]), vars(found[path])
        for name, value in want.items():
            if value == got[name]:
                continue
            if name == "mode":
                out.append(f"{path!r}: mode: want {value:o}, got {got[name]:o}")
            elif name == "xattrs":
                short = [{k: v[:40] for k, v in x.items()} for x in (value, got[name])]
                out.append(f"{path!r}: xattrs: want {short[0]}, got {short[1]}")
            else:
                out.append(f"{path!r}: {name}: want {value!r:.90}, got {got[name]!r:.90}")
    return out[:limit] + ([f"... {len(out)} differences"] if len(out) > limit else [])


def assert_same(expected, found, what=""):
    """Fails with the list of differences."""
    wrong = differences(expected, found)
    assert not wrong, f"{what}: " + "\n".join(wrong)


def check_listings(top, whole=None):
    """Every directory lists `.` and `..`, no name twice, with right d_type; link counts of
    directories are right. whole: a scan() of top, else one is made."""
    top = os.fsencode(top)
    whole = whole if whole is not None else scan(top, content=False)
    for path, entry in whole.items():
        if not stat.S_ISDIR(entry.mode):
            continue
        full = os.path.join(top, path) if path else top
        listed = getdents(full)
        names = [name for name, _ in listed]
        assert len(names) == len(set(names)), f"{path!r}: a name is listed twice"
        kinds = dict(listed)
        assert kinds.get(b".") == kinds.get(b"..") == 4, f"{path!r}: `.` and `..`: {kinds}"
        subdirectories = 0
        for name, kind in listed:
            if name in (b".", b".."):
                continue
            child = whole[os.path.join(path, name)]
            subdirectories += stat.S_ISDIR(child.mode)
            want = DT[stat.S_IFMT(child.mode)]
            assert kind == want, f"{path!r}: {name!r}: d_type: want {want}, got {kind}"
        want, links = 2 + subdirectories, os.lstat(full).st_nlink
        assert links == want, f"{path!r}: links: want {want}, got {links}"
