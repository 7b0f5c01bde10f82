# SPDX-License-Identifier: Apache-2.0
"""The daemon: how long a mount takes, what memory it holds, and the warm tree against a local one."""
import os
import shutil
import subprocess
import tempfile
import time

import bench_run
import bench_warm
from bench_node import Node


def _timed(function, *arguments):
    begun = time.monotonic()
    result = function(*arguments)
    return (time.monotonic() - begun) * 1000, result


def one_run(image, programs, scratch):
    """Mounts of a local image, in ms, and memory at rest. Page cache warm, the node's store empty."""
    with Node(programs, scratch) as node:
        first, path = _timed(node.mount, image.reference, "first")
        idle = node.memory_kb()
        again, _ = _timed(node.mount, image.reference, "again")
        node.umount(path)
        node.umount(os.path.join(node.directory, "again"))
        bench_run.wait_until(lambda: not _mounts(node), 5)
        known, _ = _timed(node.mount, image.reference, "known")
    return {"mount, no daemon ms": first, "mount, image open ms": again,
            "mount, bootstrap stored ms": known, "memory idle MB": idle / 1024}


def _mounts(node):
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return any(f"{node.root}/mnt/images" in line for line in file)


def warm(image, programs, scratch, limit):
    """{step: ratio to the same tree copied to the file system of scratch}."""
    copy = tempfile.mkdtemp(prefix="copy.", dir=scratch)
    try:
        with Node(programs, scratch) as node:
            ours = node.mount(image.reference, "image")
            subprocess.run(["cp", "-a", f"{ours}/.", copy], check=True, stderr=subprocess.DEVNULL)
            os.sync()
            return bench_warm.compare(ours, copy, limit)
    finally:
        shutil.rmtree(copy)
