# SPDX-License-Identifier: Apache-2.0
"""Trees on disk for the real tar programs to pack."""
import os
import stat
import subprocess

from corner_cases import ACCESS, BIG_NUMBER, CAPABILITY, NFC, NFD, noise


def make_file(path, data=b"", **dress):
    with open(path, "wb") as file:
        file.write(data)
    set_attributes(path, **dress)


def set_attributes(path, mode=None, owner=None, time=None, xattrs=()):
    if owner:
        os.chown(path, *owner, follow_symlinks=False)
    if mode is not None:
        os.chmod(path, mode)
    for name, value in dict(xattrs).items():
        os.setxattr(path, name, value, follow_symlinks=False)
    if time is not None:
        os.utime(path, ns=(time, time), follow_symlinks=False)


def make(top, exact=False, before=False, xattrs=False, acls=False, long=True, large=True):
    """A tree. exact: nanoseconds, times before 1970 and after 2106; before: nanoseconds before 1970
    too. xattrs, acls. long: names over 100 bytes. large: owners and devices beyond 21 bits."""
    top = os.fsencode(top)

    def at(*names):
        return os.path.join(top, *names)

    second = 10**9
    for name in (b"many", b"odd", b"sparse", b"links", b"deep", b"empty"):
        os.makedirs(at(name))
    for i in range(300):
        make_file(at(b"many", b"%03d" % i), b"%d" % i, time=i * second)
    for name in (b"!x", b"-x", b".x", b"a b", b"a\nb", b"\xff\xfe", NFC, NFD, b"back\\slash", b"*"):
        make_file(at(b"odd", name), name, time=second)
    for size in (0, 1, 511, 512, 513, 4095, 4096, 4097, 300000):
        make_file(at(b"odd", b"size-%d" % size), noise(size, size), time=2 * second)
    if long:
        make_file(at(b"odd", b"n" * 255), b"long", time=second)
        os.symlink(b"t" * 3000, at(b"odd", b"long-target"))
        os.utime(at(b"odd", b"long-target"), ns=(second, second), follow_symlinks=False)
    make_sparse(at(b"sparse"))
    make_links(at(b"links"), second)
    path = at(b"deep")
    for level in range(40 if long else 10):
        path = os.path.join(path, b"%d" % level)
        os.mkdir(path)
    make_file(path + b"/bottom", b"bottom", time=second)
    owner = (70000, 2**32 - 2) if large else (1000, 2000)
    make_file(at(b"setuid"), b"#!", owner=owner, mode=0o4755, time=3 * second)
    os.mkdir(at(b"sticky"), 0o1777)
    set_attributes(at(b"sticky"), mode=0o3777, owner=owner)
    os.mkfifo(at(b"fifo"), 0o640)
    for name, kind in ((b"char", stat.S_IFCHR), (b"block", stat.S_IFBLK)):
        os.mknod(at(name), kind | 0o660, os.makedev(*(BIG_NUMBER if large else (8, 17))))
    if exact:
        for i, time in enumerate((-second, -2**32 * second, 2**31 * second + 1,
                                  2**32 * second + 123456789, *before * (-1, -second - 7))):
            make_file(at(b"time-%d" % i), b"t", time=time)
    if xattrs:
        make_file(at(b"x-file"), b"x", xattrs={
            b"user.a": b"b", b"user.binary": bytes(range(256)), b"trusted.t": b"1\n2=3",
            b"security.capability": CAPABILITY})
        os.mkdir(at(b"x-dir"))
        set_attributes(at(b"x-dir"), xattrs={b"user.on": b"a directory"})
    if acls:
        make_file(at(b"x-acl"), b"x", mode=0o640, xattrs={b"system.posix_acl_access": ACCESS})
    for directory, _, _ in os.walk(top, topdown=False):
        time = 4 * second + (5 if exact else 0)
        os.utime(directory, ns=(time, time))
    for name in (b"fifo", b"char", b"block"):
        os.utime(at(name), ns=(second, second))


def make_sparse(top):
    unit = 262144
    for name, size, pieces in (
            (b"start", 8 << 20, [(0, noise(5000, 1))]), (b"end", 8 << 20, [(8 << 20, b"end")]),
            (b"all", 4 << 20, []), (b"many", 30 << 20, [(i << 20, b"%d" % i) for i in range(30)]),
            (b"small", 100000, [(50000, b"x")])):
        with open(os.path.join(top, name), "wb") as file:
            for offset, data in pieces:
                file.seek(offset)
                file.write(data)
            file.truncate(max(size, file.tell()))
        os.utime(os.path.join(top, name), ns=(unit, unit * 10**9))


def make_links(top, second):
    make_file(os.path.join(top, b"one"), b"linked", mode=0o640, owner=(5, 6), time=7 * second)
    for name in (b"a", b"z", b"two"):
        os.link(os.path.join(top, b"one"), os.path.join(top, name))
    os.symlink(b"one", os.path.join(top, b"soft"))
    os.symlink(b"/nowhere/at/all", os.path.join(top, b"dangling"))
    for name in (b"soft", b"dangling"):
        os.utime(os.path.join(top, name), ns=(second, second), follow_symlinks=False)


def pack(words, top, out):
    """Runs tar or bsdtar in top."""
    done = subprocess.run([*words, "-C", str(top), "-cf", str(out), "."], check=False,
                          capture_output=True, text=True, errors="replace",
                          env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
    assert done.returncode == 0, f"{words}: {done.stderr}"
