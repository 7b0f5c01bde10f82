# SPDX-License-Identifier: Apache-2.0
"""python3 -m reader COMMAND [LAYOUT:TAG] ...

ls IMAGE              the tree, by blobs and by bootstrap: both must agree
extract IMAGE DIR     makes DIR/blobs and DIR/bootstrap (as root: with all attributes)
digest IMAGE          tree digest
check IMAGE           every rule
cuts FILE             the chunker's cut points of a file
"""
import os
import stat
import sys

from . import check, chunks, tree
from .image import Image
from .sections import Broken


def escaped(name):
    return "".join(chr(c) if 32 <= c < 127 and c != 92 else f"\\x{c:02x}" for c in name)


def line(path, inode, size):
    name = escaped(b"/" + b"/".join(path))
    target = " -> " + escaped(inode.target) if inode.target else ""
    device = f"{inode.device >> 32},{inode.device & 0xffffffff}" if inode.device else size
    return (f"{stat.filemode(inode.mode)} {inode.uid}:{inode.gid} {device} "
            f"{inode.mtime}.{inode.nsec:09d} {name}{target}")


def ls(image):
    ours = [line(path, inode, inode.content.size if inode.content else 0)
            for path, inode in tree.walk(image.root)]
    files = image.bootstrap.erofs.files
    theirs = [line(path, inode, files[inode].size if inode in files else 0)
              for path, inode in tree.walk(image.bootstrap.erofs.root)]
    if ours != theirs:
        raise Broken("ls: blobs and bootstrap differ")
    print("\n".join(ours))


def make(path, inode, size, pieces):
    if inode.is_dir:
        os.mkdir(path)
    elif inode.target is not None:
        os.symlink(inode.target, path)
    elif stat.S_ISREG(inode.mode):
        with open(path, "xb") as file:
            for offset, data in pieces:
                file.seek(offset)
                file.write(data)
            file.truncate(size)
    else:
        os.mknod(path, inode.mode, os.makedev(inode.device >> 32, inode.device & 0xFFFFFFFF))


def dress(path, inode):
    os.chown(path, inode.uid, inode.gid, follow_symlinks=False)
    if inode.target is None:
        os.chmod(path, inode.mode & 0o7777)
    for name, value in inode.xattrs.items():
        os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, ns=(0, inode.mtime * 10**9 + inode.nsec), follow_symlinks=False)


def extract(root, top, size_of, pieces_of):
    first, directories = {}, []
    for names, inode in tree.walk(root):
        path = os.path.join(os.fsencode(top), *names)
        if inode in first:
            os.link(first[inode], path, follow_symlinks=False)
            continue
        first[inode] = path
        is_file = stat.S_ISREG(inode.mode)
        make(path, inode, size_of(inode) if is_file else 0, pieces_of(inode) if is_file else ())
        if inode.is_dir:
            directories.append((path, inode))
        else:
            dress(path, inode)
    for path, inode in reversed(directories):
        dress(path, inode)


def extract_both(image, top):
    os.makedirs(top, exist_ok=True)
    extract(image.root, os.path.join(top, "blobs"), lambda i: i.content.size,
            image.pieces_by_blobs)
    boot = image.bootstrap.erofs
    extract(boot.root, os.path.join(top, "bootstrap"), lambda i: boot.files[i].size,
            image.pieces_by_bootstrap)


def main(arguments):
    command, rest = (arguments or ["help"])[0], arguments[1:]
    if command == "cuts":
        with open(rest[0], "rb") as file:
            print(*(end for _, end in chunks.cuts(file.read())))
        return 0
    if command not in ("ls", "extract", "digest", "check") or not rest:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        image = Image(rest[0])
        if command == "ls":
            ls(image)
        elif command == "extract":
            extract_both(image, rest[1])
        elif command == "digest":
            check.tree_digests(image)
            print("sha256:" + tree.digest(image.root).hex())
        else:
            check.check(image)
            print(f"{len(image.bootstrap.erofs.nids)} inodes, {len(image.blobs)} blobs: right")
    except Broken as error:
        print(f"reader: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
