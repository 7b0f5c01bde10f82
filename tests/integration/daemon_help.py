# SPDX-License-Identifier: Apache-2.0
"""What the tests of mounts and of the daemon have in common."""
import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import environment
import images
from corner_cases import noise
from tars import Tar

libc = ctypes.CDLL(None, use_errno=True)


def small_image(tarn, directory, seed=0, files=6, size=50000, more=None):
    """A converted image of one layer with files f0, f1, ... of noise. more(tar) adds to it."""
    tar = Tar()
    tar.directory(b"d")
    for i in range(files):
        tar.add(b"d/f%d" % i, data=noise(size + i, 1000 * seed + i))
    if more:
        more(tar)
    Path(directory).mkdir(parents=True, exist_ok=True)
    return images.convert(tarn, images.from_tars(f"small-{seed}", [tar], Path(directory)),
                          directory)


def daemon(tarn):
    """Process id of the serving process, or None."""
    report = tarn.json("ps")
    return report.get("pid")


def stats(tarn):
    return tarn.json("stats")["total"]


def wait_until_idle(tarn):
    """Whether what runs ahead has come: nothing is counted any more."""
    def same():
        before = stats(tarn)
        time.sleep(0.1)
        return stats(tarn) == before
    return environment.wait_until(same)


def slots(tarn):
    return tarn.json("ps")["mounts"]


def ended(pid):
    return not environment.alive(pid)


def stop(tarn):
    """Ends the daemon, which has no mounts."""
    pid = daemon(tarn)
    if pid:
        os.kill(pid, signal.SIGTERM)
        assert environment.wait_until(lambda: ended(pid)), "tarnd does not end"


def log_of(tarn):
    return (tarn.root / "run" / "tarnd.log").read_text(errors="replace")


def assert_clean(tarn):
    """No sanitizer had anything to say."""
    log = tarn.root / "run" / "tarnd.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    for word in ("Sanitizer", "runtime error"):
        assert word not in text, text[-10000:]


def read(path):
    with open(path, "rb", buffering=0) as file:
        out = b""
        while data := file.read(1 << 20):
            out += data
        return out


def drop_caches():
    Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")


def as_user(uid, *words, **more):
    return subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *words],
                          capture_output=True, check=False, **more)


@contextlib.contextmanager
def open_place():
    """A directory that any user can walk into."""
    with tempfile.TemporaryDirectory(prefix="tarn-test-") as directory:
        os.chmod(directory, 0o755)
        try:
            yield Path(directory)
        finally:
            environment.unmount_below(directory)


class Namespace:
    """A process in a mount namespace of its own, where commands can be run."""

    def __enter__(self):
        self.process = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 1000"],
            stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def run(self, *words):
        return subprocess.run(["nsenter", "-m", "-t", str(self.process.pid), *map(str, words)],
                              capture_output=True, check=False)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def __exit__(self, *_):
        self.end()


def blob_files(layout, suffix="data"):
    return sorted(Path(layout).rglob(suffix))


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x40]))
