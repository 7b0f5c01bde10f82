# SPDX-License-Identifier: Apache-2.0
"""A node: a root directory of tarnd of its own, and what is mounted from it."""
import json
import os
import shutil
import signal
import subprocess
import tempfile

from bench_run import Failure, command, wait_until


class Node:
    """Use with `with`: at the end nothing of it is left."""

    def __init__(self, programs, scratch):
        self.tarn = os.path.join(programs, "tarn")
        self.directory = tempfile.mkdtemp(prefix="node.", dir=scratch)
        self.root = os.path.join(self.directory, "root")
        self.environment = dict(os.environ, TARN_ROOT=self.root,
                                TARN_TARND=os.path.join(programs, "tarnd"))
        self.mounted = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for path in reversed(self.mounted):
            if os.path.ismount(path):
                subprocess.run(["umount", "-l", path], check=False)
        self.stop()
        shutil.rmtree(self.directory)

    def run(self, *words):
        return command(self.tarn, *words, env=self.environment)

    def place(self, name):
        """A new directory."""
        path = os.path.join(self.directory, name)
        os.mkdir(path)
        return path

    def mount(self, reference, name, *options):
        path = self.place(name)
        self.mounted.append(path)
        self.run("mount", *options, reference, path)
        return path

    def umount(self, path):
        self.run("umount", path)
        self.mounted.remove(path)
        os.rmdir(path)

    def overlay(self, lower, name):
        """A writable overlay over a mounted image."""
        base = self.place(name)
        upper, work, path = (os.path.join(base, part) for part in ("upper", "work", "merged"))
        for part in (upper, work, path):
            os.mkdir(part)
        self.mounted.append(path)
        command("mount", "-t", "overlay", "overlay", "-o",
                f"lowerdir={lower},upperdir={upper},workdir={work}", path)
        return path

    def pid(self):
        """tarnd's, or None."""
        return json.loads(self.run("ps", "--json")).get("pid")

    def stats(self):
        return json.loads(self.run("stats", "--json"))["total"]

    def memory_kb(self):
        """RssAnon + RssShmem of all of tarnd's processes."""
        top = self.pid()
        if not top:
            raise Failure("tarnd does not run")
        return sum(_memory_kb(pid) for pid in _family(top))

    def stop(self):
        pid = self.pid()
        if not pid:
            return
        os.kill(pid, signal.SIGTERM)
        if not wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 10):
            os.kill(pid, signal.SIGKILL)


def _parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _family(pid):
    """The process, those that it started, and the one that started it if that is tarnd too."""
    def program(of):
        try:
            return os.readlink(f"/proc/{of}/exe")
        except OSError:
            return ""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    parent = _parent(pid)
    top = parent if parent > 1 and os.path.dirname(program(parent)) == \
        os.path.dirname(program(pid)) and "tarnd" in program(parent) else pid
    found, fresh = set(), {top}
    while fresh:
        found |= fresh
        fresh = {other for other in pids if _parent(other) in fresh} - found
    return found


def _memory_kb(pid):
    total = 0
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1])
    except OSError:
        return 0
    return total
