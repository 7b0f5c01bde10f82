# SPDX-License-Identifier: Apache-2.0
"""What tarnd's processes hold in memory of their own: RssAnon + RssShmem, at rest, before and after work."""
import os
import random
from concurrent.futures import ThreadPoolExecutor

import environment
import limits

IDLE = 4 << 20


def memory(tarn):
    total = 0
    for pid in environment.processes(tarn.root):
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            total += sum(int(line.split()[1]) << 10 for line in file
                         if line.startswith(("RssAnon:", "RssShmem:")))
    assert total > 0
    return total


def read_whole(path):
    with open(path, "rb", buffering=0) as file:
        return sum(iter(lambda: len(file.read(1 << 20)), 0))


def read_all(top):
    """By many readers at once and in no order, so that as much as can be is under way."""
    paths = [os.path.join(directory, name) for directory, _, files in os.walk(top)
             for name in files]
    paths = [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]
    random.Random(1).shuffle(paths)
    with ThreadPoolExecutor(16) as readers:
        return sum(readers.map(read_whole, paths))


def test_memory(quirks, tarn, place):
    """Every chunk was decoded once; what that needed is given back as soon as no read waits."""
    tarn("mount", quirks.converted, place)
    idle = memory(tarn)
    assert limits.sanitized() or idle <= IDLE, f"{idle >> 10} KiB at rest"
    assert read_all(place) > 150 << 20
    assert limits.sanitized() or environment.wait_until(lambda: memory(tarn) <= IDLE), \
        f"{memory(tarn) >> 10} KiB after reading all"
