# SPDX-License-Identifier: Apache-2.0
"""Single-byte flips and truncations of all that a converted image and a node consist of, one at a
time. Whoever reads gets the right bytes or an error that says what is wrong: never other bytes, a
crash or a hang. scripts/damage runs many and prints a table; test_mutations.py some."""
import argparse
import collections
import errno
import os
import random
import re
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import daemon_help  # noqa: E402
import environment  # noqa: E402
import forge  # noqa: E402
import images  # noqa: E402
import trees  # noqa: E402
from corner_cases import noise  # noqa: E402
from tars import CHAR, Tar  # noqa: E402

SECONDS = 300  # more is a hang
TRUNCATED = 5  # one in so many is a truncation

# What is damaged, and its share in a run (of 100).
SHARES = {"source": 10, "blob": 25, "bootstrap": 12, "manifest": 8, "config": 3, "index": 7,
          "store data": 12, "store table": 5, "store written": 3, "store bootstrap": 2,
          "sealed bootstrap": 8, "sealed metadata": 5}
ROWS = {"source": "original: layers and manifest", "blob": "blobs", "bootstrap": "bootstrap layer",
        "manifest": "manifest", "config": "config", "index": "index.json",
        "store data": "store: data files", "store table": "store: tables",
        "store written": "store: marks of what is written", "store bootstrap": "store: bootstraps",
        "sealed bootstrap": "bootstrap, all digests made right",
        "sealed metadata": "layer metadata, all digests made right"}


def layers():
    one, two = Tar(), Tar()
    one.directory(b"d", mtime=3)
    one.add(b"d/data", data=noise(150000, 1), xattrs={b"user.k": b"v" * 300, b"trusted.x": b""})
    one.add(b"d/holes", data=b"x" + bytes(1 << 20) + b"y")
    one.add(b"d/text", data=b"".join(b"%d lines of text\n" % i for i in range(20000)))
    one.symlink(b"d/link", b"text")
    one.add(b"null", kind=CHAR, device=(1, 3))
    for i in range(40):
        one.add(b"small/%02d" % i, data=b"%d\n" % i * 50, uid=i, mtime=i)
    two.add(b"d/again", data=b"moved" + noise(150000, 1))
    two.hard_link(b"d/hard", b"d/text")
    two.whiteout(b"small/07")
    for i in range(10, 20):
        two.add(b"small/%02d" % i, data=noise(3000, i), mode=0o600)
    return [one, two]


def mutate(rng, data):
    """-> (kind of damage, the damaged bytes). What stands at the end is hit more often: a blob's
    metadata and directory are small."""
    low = rng.choice([0, 0, max(0, len(data) - 4096)])
    if rng.randrange(TRUNCATED) == 0:
        return "truncated", data[:rng.randrange(low, len(data))]
    damaged = bytearray(data)
    damaged[rng.randrange(low, len(data))] ^= 1 << rng.randrange(8)
    return "flipped", bytes(damaged)


class Wrong(AssertionError):
    """A wrong byte, a crash or a hang."""


class Run:
    """One image, damaged again and again below a directory."""

    def __init__(self, top, seed):
        self.top, self.rng = Path(top), random.Random(seed)
        self.tarn = environment.Tarn(self.top / "root")
        self.image = images.convert(
            self.tarn, images.from_tars("victim", layers(), self.top / "source"),
            self.top / "good")
        self.source = self.image.source.removeprefix("oci:").rpartition(":")[0]
        self.layout = images.copy_layout(self.image.layout, self.top / "victim")
        self.name = f"oci:{self.layout}:latest"
        self.place = self.top / "mnt"
        self.place.mkdir()
        read = self.image.read
        document = read.layout.json(read.descriptor)
        self.parts = {
            "blob": [layer["digest"] for layer in document["layers"][:-1]],
            "bootstrap": [document["layers"][-1]["digest"]],
            "manifest": [read.descriptor["digest"]],
            "config": [document["config"]["digest"]],
        }
        self.counts = collections.defaultdict(collections.Counter)
        self.longest = 0
        self.full_store()

    def full_store(self):
        """A store that holds all of the image, to be copied and damaged."""
        tarn = environment.Tarn(self.top / "full")
        tarn("mount", self.name, self.place)
        self.compare(self.place, self.counts["none"])
        tarn("umount", self.place)
        daemon_help.stop(tarn)

    # What is asked of the programs.

    def timed(self, function, *arguments):
        start = time.monotonic()
        result = function(*arguments, timeout=SECONDS)
        self.longest = max(self.longest, time.monotonic() - start)
        return result

    def refused(self, done, names):
        """An error in words that names the part, not a crash."""
        if done.code <= 0 or done.code >= 128 or "Sanitizer" in done.stderr:
            raise Wrong(f"crash: {done.code}: {done.stderr}")
        if not re.match(r"tarn: .*(%s)" % names, done.stderr, re.S):
            raise Wrong(f"an error that does not name the part: {done.stderr!r}")

    def compare(self, place, counts):
        """Everything that can be read is right; the rest is EIO."""
        expected = self.image.expected
        found = trees.scan(place, content=False)
        trees.assert_same({p: e.but(sha256="") for p, e in expected.items()}, found)
        good = True
        for path, entry in expected.items():
            if not stat.S_ISREG(entry.mode):
                continue
            try:
                if trees.hash_file(os.path.join(os.fsencode(place), path)) != entry.sha256:
                    raise Wrong(f"wrong bytes in {path!r}")
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                good = False
        counts["right" if good else "EIO"] += 1

    def mounted(self, tarn, counts, names=None):
        """Mounts and reads. names: what an error may name; None: there must be none."""
        done = self.timed(tarn.run, "mount", self.name, self.place)
        if done.code == 0:
            start = time.monotonic()
            self.compare(self.place, counts)
            self.longest = max(self.longest, time.monotonic() - start)
            tarn("umount", self.place, timeout=SECONDS)
        elif names is None:
            raise Wrong(f"refused: {done.stderr}")
        else:
            self.refused(done, names)
            counts["refused"] += 1

    def end(self, tarn):
        """Ends the daemon; a sanitizer's report is a fault."""
        daemon_help.stop(tarn)
        daemon_help.assert_clean(tarn)

    # The kinds of damage.

    def damage_file(self, path, row):
        """Damages a file of the victim -> a function that makes it whole again."""
        data = Path(path).read_bytes()
        how, damaged = mutate(self.rng, data)
        self.counts[row][how] += 1
        path.unlink()
        path.write_bytes(damaged)

        def restore():
            path.unlink()
            path.write_bytes(data)
        return restore

    def run_one(self, row):
        kind, _, part = row.partition(" ")
        getattr(self, f"one_{kind}")(row, *([part] if part else []))

    def one_part(self, row, mount_must_fail):
        digest = self.rng.choice(self.parts[row])
        path = self.layout / "blobs" / digest.replace(":", "/")
        restore = self.damage_file(path, row)
        counts = self.counts[row]
        names = rf"{digest}|{row}|manifest layer"
        self.refused(self.timed(self.tarn.run, "check", self.name), names)
        counts["found by check"] += 1
        if mount_must_fail:
            self.refused(self.timed(self.tarn.run, "mount", self.name, self.place), names)
            counts["refused"] += 1
        else:
            self.fresh_mount(row, names)
        restore()

    def fresh_mount(self, row, names):
        """By a daemon whose store is empty."""
        tarn = environment.Tarn(self.top / "fresh")
        self.mounted(tarn, self.counts[row], names)
        self.end(tarn)
        shutil.rmtree(tarn.root)

    def one_blob(self, row):
        self.one_part(row, False)

    def one_bootstrap(self, row):
        self.one_part(row, True)

    def one_manifest(self, row):
        self.one_part(row, True)

    def one_config(self, row):
        self.one_part(row, False)

    def one_index(self, row):
        """No digest guards it: what it leads to must be right, or nothing."""
        restore = self.damage_file(self.layout / "index.json", row)
        names = re.escape(str(self.layout))
        done = self.timed(self.tarn.run, "check", self.name)
        if done.code != 0:
            self.refused(done, names)
            self.counts[row]["found by check"] += 1
        self.fresh_mount(row, names)
        restore()

    def one_source(self, row):
        """The conversion gives the same tree, or fails and leaves no image."""
        top = Path(self.source)
        files = [p for p in top.rglob("*") if p.is_file() and p.name != "oci-layout"]
        restore = self.damage_file(self.rng.choice(files), row)
        out = self.top / "out"
        done = self.timed(self.tarn.run, "convert", self.image.source, f"oci:{out}:t")
        if done.code == 0:
            if self.tarn("digest", f"oci:{out}:t").text.split()[0] != self.image.digest:
                raise Wrong("another tree")
            self.counts[row]["right"] += 1
        else:
            self.refused(done, r"layer|index|tag|manifest|config|digest|JSON|image|media|descrip")
            if self.tarn.run("digest", f"oci:{out}:t").code == 0:
                raise Wrong("an image was left behind")
            self.counts[row]["refused"] += 1
        shutil.rmtree(out, ignore_errors=True)
        restore()

    def one_store(self, row, what):
        """The store is trusted for nothing: always the right bytes."""
        tarn = environment.Tarn(self.top / "used")
        shutil.copytree(self.top / "full", tarn.root, ignore=shutil.ignore_patterns("run"))
        if what == "bootstrap":
            files = list((tarn.root / "bootstraps").iterdir())
        else:
            files = list((tarn.root / "blobs").glob(f"*/{what}"))
        self.damage_file(self.rng.choice(files), row)
        self.mounted(tarn, self.counts[row])
        self.end(tarn)
        shutil.rmtree(tarn.root)

    def flip_section(self, parts, weights=None):
        """Another bit in one of the sections that are not empty."""
        chosen = self.rng.choices(range(len(parts)), weights or [bool(part) for part in parts])[0]
        parts[chosen][self.rng.randrange(len(parts[chosen]))] ^= 1 << self.rng.randrange(8)

    def one_sealed(self, row, what):
        """A lie behind right digests: whoever mounts or exports refuses it, or does what it says,
        and lives."""
        made = forge.Forge(self.image.converted, self.top / "sealed")
        self.counts[row]["flipped"] += 1
        if what == "bootstrap":
            before = bytes(made.bootstrap)
            while made.bootstrap == before:  # sealing takes back a flip in the checksum
                parts = made.sections(before, b"TARNBOOT")
                self.flip_section(parts, [8, 1, 2, 1, 1, 1])
                made.seal_erofs(parts[0])
                made.bootstrap = bytearray(made.build(b"TARNBOOT", parts))
        else:
            made.edit_metadata(self.rng.randrange(2), self.flip_section)
            made.point_to_blobs()
        name = made.save()
        self.sealed_check(row, name, what == "bootstrap")
        if what == "bootstrap":
            self.sealed_mount(row, name)
        else:
            self.sealed_export(row, name)
        shutil.rmtree(self.top / "sealed")

    def sealed_check(self, row, name, must_fail):
        done = self.timed(self.tarn.run, "check", name)
        if done.code == 0 and not must_fail:
            return  # what no merged tree shows may say what it likes
        self.refused(done, ".")
        self.counts[row]["found by check"] += 1

    def sealed_mount(self, row, name):
        done = self.timed(self.tarn.run, "mount", name, self.place)
        if done.code == 0:
            self.read_anyhow()
            self.tarn("umount", self.place, timeout=SECONDS)
            self.counts[row]["done"] += 1
        else:
            self.refused(done, ".")
            self.counts[row]["refused"] += 1

    def sealed_export(self, row, name):
        done = self.timed(self.tarn.run, "export", name, f"oci:{self.top}/export:t")
        if done.code == 0:
            self.counts[row]["done"] += 1
        else:
            self.refused(done, ".")
            self.counts[row]["refused"] += 1
        shutil.rmtree(self.top / "export", ignore_errors=True)

    def read_anyhow(self):
        """Every call returns; what it says does not matter."""
        for directory, names, files in os.walk(self.place):
            for name in files + names:
                path = os.path.join(directory, name)
                try:
                    mode = os.lstat(path).st_mode
                    os.listxattr(path, follow_symlinks=False)
                    if stat.S_ISLNK(mode):
                        os.readlink(path)
                    elif stat.S_ISREG(mode):
                        with open(path, "rb", buffering=0) as file:
                            os.pread(file.fileno(), 1 << 16, 0)
                except OSError:
                    pass

    def run(self, count, tell=lambda done: None):
        rows = [*SHARES, *self.rng.choices(list(SHARES), SHARES.values(), k=count - len(SHARES))]
        for done, row in enumerate(rows):
            state = self.rng.getstate()
            try:
                self.run_one(row)
            except Exception as error:
                raise Wrong(f"{row}, mutation {done}: {error!r}") from error
            assert self.rng.getstate() != state
            tell(done + 1)
        self.end(self.tarn)

    def close(self):
        for root in ("root", "full", "fresh", "used"):
            environment.Tarn(self.top / root).close(self.top)

    def table(self):
        columns = ["flipped", "truncated", "found by check", "refused", "EIO", "right", "done"]
        lines = ["| damaged | " + " | ".join(columns) + " |", "|---" + "|--:" * len(columns) + "|"]
        for row, title in ROWS.items():
            counts = self.counts[row]
            lines.append(f"| {title} | " + " | ".join(str(counts[c] or "") for c in columns) + " |")
        total = sum(self.counts[row][how] for row in ROWS for how in ("flipped", "truncated"))
        return "\n".join(lines + ["", f"{total} mutations, none with a wrong byte, a crash or a "
                                  f"hang; the longest call took {self.longest:.2f} s."])


def main():
    parser = argparse.ArgumentParser(prog="scripts/damage", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    start = time.monotonic()

    def tell(done):
        if sys.stderr.isatty() or done % 1000 == 0:
            print(f"\r{done} of {options.count}", end="" if done % 1000 else "\n", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="tarn-damage-") as top:
        run = Run(top, options.seed)
        try:
            run.run(options.count, tell)
        finally:
            run.close()
    print(run.table())
    print(f"seed {options.seed}, {time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
