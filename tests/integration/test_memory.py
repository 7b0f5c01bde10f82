# SPDX-License-Identifier: Apache-2.0
"""What tarnd's processes hold in memory of their own: RssAnon + RssShmem, at rest and after work."""
import os

import environment
import limits

IDLE, WORKED = 4 << 20, 10 << 20


def memory(tarn):
    total = 0
    for pid in environment.processes(tarn.root):
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            total += sum(int(line.split()[1]) << 10 for line in file
                         if line.startswith(("RssAnon:", "RssShmem:")))
    assert total > 0
    return total


def read_all(top):
    count = 0
    for directory, _, files in os.walk(top):
        for name in files:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb", buffering=0) as file:
                    while data := file.read(1 << 20):
                        count += len(data)
    return count


def test_memory(quirks, tarn, place):
    """Every chunk was decoded once; what that needed has been given back."""
    tarn("mount", quirks.converted, place)
    idle = memory(tarn)
    assert limits.sanitized() or idle <= IDLE, f"{idle >> 10} KiB at rest"
    assert read_all(place) > 150 << 20
    worked = memory(tarn)
    assert limits.sanitized() or worked <= WORKED, f"{worked >> 10} KiB after reading all"
