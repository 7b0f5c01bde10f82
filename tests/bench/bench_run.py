# SPDX-License-Identifier: Apache-2.0
"""Running a command and measuring it: wall clock, processor time and memory of all it started."""
import os
import statistics
import subprocess
import time


class Failure(Exception):
    """What the user has to know; bench prints it and exits."""


def command(*words, **more):
    """Runs a command quietly -> its standard output."""
    done = subprocess.run([os.fspath(word) for word in words], capture_output=True, text=True,
                          errors="replace", check=False, **more)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(os.fspath, words))}: {done.stderr or done.stdout}")
    return done.stdout


def measured(words, environment=None):
    """Runs a command to its end -> {wall s, cpu s, peak_kb}. Counted are its children that it waited
    for; peak_kb is the largest process."""
    with open(os.devnull, "wb") as null, open(os.devnull, "rb") as nothing:
        start = time.monotonic()
        # Not through fork(): a child's peak would begin with this interpreter's memory.
        pid = os.posix_spawnp(words[0], [os.fspath(word) for word in words],
                              environment or os.environ,
                              file_actions=[(os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                                            (os.POSIX_SPAWN_DUP2, null.fileno(), 1)])
        _, status, usage = os.wait4(pid, 0)
        wall = time.monotonic() - start
    if status != 0:
        raise Failure(f"{' '.join(map(os.fspath, words))}: ended with status {status}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak_kb": usage.ru_maxrss}


def summary(values):
    """[number] -> {median, low, high, runs}."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values),
            "runs": len(values)}


def summaries(runs):
    """[{name: number}] -> {name: summary}."""
    return {name: summary([run[name] for run in runs]) for name in runs[0]}


def drop_caches():
    """The kernel's caches are empty afterwards, of data and of metadata."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def wait_until(condition, seconds, pause=0.005):
    """Whether the condition held within the time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
