# SPDX-License-Identifier: Apache-2.0
"""Work on a tree whose data and metadata are in the kernel's caches, by single steps."""
import os
import random
import stat
import time

SMALL, LARGE, PAGE = 64 << 10, 1 << 20, 4096


def scan(top, limit):
    """(all paths, small files, large files) of a tree, as relative paths in a fixed order."""
    every, small, large = [], [], []
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(names + files):
            path = os.path.relpath(os.path.join(directory, name), top)
            every.append(path)
            found = os.lstat(os.path.join(top, path))
            if stat.S_ISREG(found.st_mode) and found.st_size > 0:
                if found.st_size <= SMALL:
                    small.append(path)
                elif found.st_size >= LARGE:
                    large.append(path)
    return every[:limit * 10], small[:limit], large[:16]


def find(top, _):
    """readdir, and lstat of each entry, as find -ls does."""
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def stat_all(top, tree):
    for path in tree[0]:
        os.lstat(f"{top}/{path}")


def open_read_close(top, tree):
    for path in tree[1]:
        fd = os.open(f"{top}/{path}", os.O_RDONLY)
        os.read(fd, PAGE)
        os.close(fd)


def sequential(top, tree):
    buffer = bytearray(128 << 10)
    for path in tree[2]:
        with open(f"{top}/{path}", "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def random_pages(top, tree):
    draw = random.Random(1)
    for path in tree[2]:
        fd = os.open(f"{top}/{path}", os.O_RDONLY)
        pages = os.fstat(fd).st_size // PAGE
        for _ in range(1000):
            os.pread(fd, PAGE, draw.randrange(pages) * PAGE)
        os.close(fd)


STEPS = (("find", find), ("stat", stat_all), ("open, read 4K, close", open_read_close),
         ("sequential read", sequential), ("random 4K", random_pages))


def compare(ours, theirs, limit):
    """One run -> {step: time on ours / time on theirs}. Both are walked once before."""
    tree = scan(theirs, limit)
    found = {}
    for name, step in STEPS:
        times = {}
        for top in (ours, theirs):
            step(top, tree)
        # Best of several in turn: what is added to the least time is the machine's noise.
        for _ in range(5):
            for top in (ours, theirs):
                begun = time.perf_counter()
                step(top, tree)
                times.setdefault(top, []).append(time.perf_counter() - begun)
        found[name] = min(times[ours]) / min(times[theirs])
    return found
