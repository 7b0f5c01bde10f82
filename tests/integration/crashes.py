# SPDX-License-Identifier: Apache-2.0
"""Kills the programs at random moments. The converter, run again, gives the same image and leaves
no litter; the daemon, started again, gives the right bytes and fetches nothing twice that it had.
scripts/crash kills many times; test_crashes.py some."""
import argparse
import hashlib
import os
import random
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import daemon_help  # noqa: E402
import environment  # noqa: E402
import images  # noqa: E402
import oci_layout  # noqa: E402
import trees  # noqa: E402
from corner_cases import noise  # noqa: E402
from tars import Tar  # noqa: E402

SECONDS = 300


def layers(count=3, files=40, size=60000):
    out = []
    for number in range(count):
        tar = Tar()
        for i in range(files):
            seed = 1000 * number + i
            data = noise(size, seed) if i % 2 else b"%d is text\n" % seed * (size // 10)
            tar.add(b"layer-%d/%03d" % (number, i), data=data, mtime=i)
        tar.add(b"top", data=b"%d" % number)
        out.append(tar)
    return out


# Where the converter writes to: the kind of each destination.
CONVERTED = {"new": "oci", "over another": "oci", "archive": "oci-archive"}


class ConverterRun:
    """Each round kills some conversions to one place, then lets one end there."""

    def __init__(self, top, seed):
        self.top, self.rng = Path(top), random.Random(seed)
        self.scratch = self.top / "scratch"
        self.scratch.mkdir()
        self.tarn = environment.Tarn(self.top / "root")
        self.tarn.environ["TMPDIR"] = str(self.scratch)
        self.source = images.from_tars("crash", layers(), self.top / "source").source
        self.kills = self.rounds = 0
        self.want, self.seconds = {}, {}
        # A layout whose tag shows another image, which must stay whole until the new one is.
        self.old = self.top / "old"
        tar = Tar()
        tar.add(b"old", data=noise(50000, 99))
        old = images.from_tars("old", [tar], self.top / "old-source").source
        self.tarn("convert", old, f"oci:{self.old}:t")
        for case in CONVERTED:
            destination = self.top / f"want-{case}"
            self.prepare(case, destination)
            start = time.monotonic()
            self.tarn("convert", self.source, f"{CONVERTED[case]}:{destination}:t")
            self.seconds[case] = time.monotonic() - start
            self.want[case] = self.shown(f"want-{case}")
        self.digests = {self.tarn("digest", name).text.split()[0]
                        for name in (f"oci:{self.old}:t", f"oci:{self.top}/want-new:t")}

    def prepare(self, case, destination):
        if case == "over another":
            shutil.copytree(self.old, destination)

    def shown(self, name):
        """{file: its SHA-256} of a layout, or an archive's own."""
        path = self.top / name
        if path.is_dir():
            return images.file_digests(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def killed(self, case, destination):
        """One conversion, killed at a random moment -> whether it was still running."""
        process = self.tarn.start("convert", self.source, f"{CONVERTED[case]}:{destination}:t")
        time.sleep(self.rng.uniform(0, self.seconds[case]))
        process.send_signal(signal.SIGKILL)
        _, stderr = process.communicate(timeout=SECONDS)
        assert process.returncode in (0, -signal.SIGKILL), (process.returncode, stderr)
        return process.returncode != 0

    def assert_nothing_half(self, destination, ended):
        """Blobs are whole; a tag is there only when a conversion ended."""
        if not destination.is_dir():
            return
        for path in destination.glob("blobs/sha256/*"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, f"half: {path}"
        tags = {tag: entry for tag, entry in oci_layout.tags(destination).items() if tag}
        if tags or ended:
            # The tag is the last thing that is written, so all that it leads to is there.
            self.tarn("check", f"oci:{destination}:t", timeout=SECONDS)
            digest = self.tarn("digest", f"oci:{destination}:t").text.split()[0]
            assert digest in self.digests, "neither the old image nor the new one"

    def round(self, most):
        case = self.rng.choice(list(CONVERTED))
        place = self.top / "out"
        place.mkdir()
        destination = place / "image"
        self.prepare(case, destination)
        for _ in range(min(most, self.rng.randrange(1, 5))):
            ended = not self.killed(case, destination)
            self.kills += not ended
            self.assert_nothing_half(destination, ended)
        self.tarn("convert", self.source, f"{CONVERTED[case]}:{destination}:t", timeout=SECONDS)
        found, want = self.shown("out/image"), self.want[case]
        if found != want:
            more = set(found) ^ set(want) if case != "archive" else found
            raise AssertionError(f"{case}: not the undisturbed result: {more}")
        assert [path.name for path in place.iterdir()] == ["image"], list(place.iterdir())
        assert not list(self.scratch.iterdir()), f"litter: {list(self.scratch.iterdir())}"
        shutil.rmtree(place)
        self.rounds += 1

    def run(self, kills):
        while self.kills < kills:
            self.round(kills - self.kills)
        return (f"converter: killed {self.kills} times, {self.rounds} images finished afterwards, "
                "all with the undisturbed run's digests and files")


class DaemonRun:
    """Each life of the daemon reads what the lives before had read, which must cost nothing, then
    more, until it is killed."""

    READERS = 4

    def __init__(self, top, seed):
        self.top, self.rng = Path(top), random.Random(seed)
        self.place = self.top / "mnt"
        self.place.mkdir()
        self.tarn = environment.Tarn(self.top / "root")
        self.image = images.convert(
            self.tarn, images.from_tars("crash", layers(files=60), self.top / "source"),
            self.top / "converted")
        self.files = sorted(path for path, entry in self.image.expected.items()
                            if stat.S_ISREG(entry.mode))
        self.known = set()  # read to their end, so that all their chunks are there
        self.kills = self.stores = self.reads = 0

    def read(self, path):
        """True if it was read, False for an error; wrong bytes end the run."""
        try:
            found = trees.hash_file(os.path.join(os.fsencode(self.place), path))
        except OSError:
            return False
        assert found == self.image.expected[path].sha256, f"wrong bytes in {path!r}"
        self.reads += 1
        return True

    def reader(self, seed, faults):
        order = self.files[:]
        random.Random(seed).shuffle(order)
        try:
            for path in order:
                if not self.read(path):
                    return
                self.known.add(path)
        except BaseException as fault:  # of any kind: the run must hear of it
            faults.append(fault)

    def life(self):
        """Mount, the known files for nothing, new ones, a kill at any moment."""
        delay = self.rng.choice([0.002, 0.02, 0.1]) * self.rng.random()
        if self.rng.randrange(4) == 0:
            self.killed_mount(delay)
        self.tarn("mount", self.image.converted, self.place, timeout=SECONDS)
        for path in sorted(self.known):
            assert self.read(path), f"{path!r} cannot be read"
        counted = daemon_help.stats(self.tarn)
        assert counted["fetched_bytes"] == 0, f"fetched again: {counted}"
        assert counted["dropped_chunks"] == 0 and counted["digest_errors"] == 0, counted
        pid, faults = daemon_help.daemon(self.tarn), []
        threads = [threading.Thread(target=self.reader, args=(self.rng.random(), faults))
                   for _ in range(self.READERS)]
        for thread in threads:
            thread.start()
        time.sleep(delay)
        self.kill(pid)
        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive(), "a reader hangs"
        if faults:
            raise faults[0]
        environment.unmount_below(self.place)

    def killed_mount(self, delay):
        """The daemon dies while it opens an image."""
        client = self.tarn.start("mount", self.image.converted, self.place)
        time.sleep(delay)
        for pid in environment.processes(self.tarn.root):
            if pid != client.pid:
                self.kill(pid)
        client.communicate(timeout=SECONDS)
        environment.unmount_below(self.place)

    def kill(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        assert environment.wait_until(lambda: not environment.alive(pid)), "it lives"
        self.kills += 1

    def run(self, kills):
        while self.kills < kills:
            self.life()
            if len(self.known) == len(self.files):
                self.new_store()
        return (f"tarnd: killed {self.kills} times, {self.reads} files read by it, "
                f"{self.stores} stores filled: no wrong byte, nothing fetched twice")

    def new_store(self):
        """Everything was read: begin again with an empty store."""
        self.known.clear()
        self.stores += 1
        environment.end_processes(environment.processes(self.tarn.root))
        shutil.rmtree(self.tarn.root)

    def close(self):
        self.tarn.close(self.top)


def main():
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tarn-crash-") as top:
        (Path(top) / "a").mkdir()
        (Path(top) / "b").mkdir()
        print(ConverterRun(Path(top) / "a", options.seed).run(options.count), flush=True)
        run = DaemonRun(Path(top) / "b", options.seed)
        try:
            print(run.run(options.count))
        finally:
            run.close()


if __name__ == "__main__":
    main()
