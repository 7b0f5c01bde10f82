# SPDX-License-Identifier: Apache-2.0
"""Two versions of an image: what a first pull and an update move, how large the chunk table is, and
what one cold page costs, of Tarn's format beside the two ways of bench_fixed."""
import json
import os
import random
import stat

import bench_fixed
import bench_image
from bench_node import Node

PAGES = 60


def files_of(top):
    """[(path, size)] of each inode once."""
    seen = {}
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and found.st_size > 0:
                seen.setdefault(found.st_ino, (path, found.st_size))
    return list(seen.values())


def _read_all(top):
    buffer = bytearray(1 << 20)
    for path, _ in files_of(top):
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _page_kb(image, programs, scratch):
    """Bytes that came for single pages here and there, each cold: the node's own policy."""
    draw = random.Random(1)
    with Node(programs, scratch) as node:
        files = files_of(node.mount(image.reference, "image"))
        for path, size in draw.choices(files, [size for _, size in files], k=PAGES):
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            os.pread(fd, 4096, draw.randrange((size + 4095) // 4096) * 4096)
            os.close(fd)
        return node.stats()["fetched_bytes"] / PAGES / 1e3


def _by_tarn(first, second, programs, scratch):
    with Node(programs, scratch) as node:
        _read_all(node.mount(first.reference, "first"))
        before = node.stats()["fetched_bytes"]
        _read_all(node.mount(second.reference, "second"))
        update = node.stats()["fetched_bytes"] - before
        report = json.loads(node.run("inspect", "--json", second.reference))
    rest = [sizes["bootstrap"] + sizes["documents"] for sizes in
            (bench_image.converted_sizes(first), bench_image.converted_sizes(second))]
    return {"first MB": (before + rest[0]) / 1e6, "update MB": (update + rest[1]) / 1e6,
            "table kB": sum(blob["chunks"] for blob in report["blobs"]) * bench_fixed.ROW / 1e3,
            "page kB": _page_kb(second, programs, scratch)}


def compare(originals, converted, programs, scratch):
    """{way: {figure: number}}. Both arguments are [first version, second version]."""
    return {"tarn": _by_tarn(*converted, programs, scratch),
            "fixed 1 MiB": bench_fixed.by_chunks(*originals),
            "whole layers": bench_fixed.by_layers(*originals)}
