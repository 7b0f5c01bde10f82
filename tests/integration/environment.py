# SPDX-License-Identifier: Apache-2.0
"""The programs under test, with a TARN_ROOT of their own, and an end for what they leave."""
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests"))

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 1 << 14, 1 << 18
BUILD = Path(os.environ.get("TARN_BUILD_DIR", SOURCE / "build" / "release")).resolve()


def processes(root):
    """Process ids of our programs that work on this TARN_ROOT."""
    found, mark = [], os.fsencode(root)
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            exe = os.readlink(f"/proc/{name}/exe").removesuffix(" (deleted)")
            with open(f"/proc/{name}/environ", "rb") as one, \
                    open(f"/proc/{name}/cmdline", "rb") as two:
                words = (one.read() + b"\0" + two.read()).split(b"\0")
        except OSError:
            continue
        if Path(exe).parent == BUILD and any(mark in word for word in words):
            found.append(int(name))
    return found


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def wait_until(condition, seconds=60, step=0.05):
    """True as soon as condition() is, False when the time is over: much more than is ever needed."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def end_processes(pids):
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            if alive(pid):
                os.kill(pid, number)
        if wait_until(lambda: not any(alive(pid) for pid in pids), 20):
            return


def unescape(text):
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), text)


def mounts_below(top):
    """Mount points at or below top, the last mounted first."""
    top, found = os.fsencode(os.path.realpath(top)), []
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            point = unescape(line.split()[4])
            if point == top or point.startswith(top.rstrip(b"/") + b"/"):
                found.append(point)
    return found[::-1]


def leave_mount_namespace():
    """What this process mounts from now on is in a namespace of its own: others that copy theirs, such
    as container runtimes in tests at the same time, do not keep it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no mount namespace of our own")


def unmount_below(top):
    for point in mounts_below(top):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


class Result:
    def __init__(self, done):
        self.code, self.stdout = done.returncode, done.stdout
        self.stderr = done.stderr.decode("utf-8", "backslashreplace")
        self.text = done.stdout.decode("utf-8", "surrogateescape")

    @property
    def lines(self):
        return self.text.splitlines()


class Tarn:
    """Runs build/.../tarn with a root directory of its own."""

    def __init__(self, root):
        self.root = Path(root)
        self.program = BUILD / "tarn"
        assert self.program.exists(), f"{self.program} is missing: build first (scripts/build)"
        self.environ = {**os.environ, "TARN_ROOT": str(root), "LC_ALL": "C.UTF-8",
                        "PATH": f"{BUILD}:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.environ.pop("TARN_LAB_IMAGES", None)

    def run(self, *arguments, env=None, timeout=600, **more):
        words = [str(self.program), *(a if isinstance(a, bytes) else str(a) for a in arguments)]
        done = subprocess.run(words, env={**self.environ, **(env or {})}, timeout=timeout,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False, **more)
        return Result(done)

    def __call__(self, *arguments, **more):
        """Must succeed."""
        done = self.run(*arguments, **more)
        assert done.code == 0, f"tarn {arguments}: {done.code}: {done.stderr}"
        return done

    def fails(self, message, *arguments, **more):
        """Must fail with this message (a regular expression) on stderr, and not crash."""
        done = self.run(*arguments, **more)
        assert done.code > 0, f"tarn {arguments}: {done.code}: {done.stderr or done.text[-300:]}"
        assert "Sanitizer" not in done.stderr, done.stderr
        assert re.search(message, done.stderr), \
            f"tarn {arguments}: want {message!r}, got {done.stderr!r}"
        return done

    def json(self, *arguments, **more):
        return json.loads(self(*arguments, "--json", **more).stdout)

    def start(self, *arguments, **more):
        """-> subprocess.Popen"""
        return subprocess.Popen([str(self.program), *map(str, arguments)], env=self.environ,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **more)

    def close(self, top):
        """Unmounts below top and ends what still works on this root."""
        unmount_below(top)
        end_processes(processes(self.root))
