# SPDX-License-Identifier: Apache-2.0
"""Large inputs of any size: memory must stay as stated and all bytes right, whatever the size.
test_limits.py runs small ones, scripts/limits those of docs/robustness.md, with their times."""
import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import daemon_help  # noqa: E402
import environment  # noqa: E402
import oci_layout  # noqa: E402
import trees  # noqa: E402
import zstandard  # noqa: E402
from corner_cases import noise  # noqa: E402
from tars import Tar, header, pad, pax_records  # noqa: E402

MIB = 1 << 20
CONVERTER_MEMORY, PER_ENTRY = 256 * MIB, 800
DAEMON_MEMORY, PER_MOUNT = 16 * MIB, 20000

# A process starts with the peak of the one that it was forked from: hence a small one between.
MEASURE = """
import os, subprocess, sys
running = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
_, status, usage = os.wait4(running.pid, 0)
running.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
sys.exit(running.returncode)
"""


def usage(tarn, *arguments):
    """(bytes of resident memory at most, seconds of CPU) of a run that must succeed."""
    words = ["/usr/bin/python3", "-c", MEASURE, str(tarn.program), *map(str, arguments)]
    done = subprocess.run(words, env=tarn.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    memory, seconds = done.stdout.split()
    return int(memory) * 1024, float(seconds)


def sanitized():
    """Sanitizers need memory of their own."""
    return b"__asan_" in environment.BUILD.joinpath("tarn").read_bytes()


def daemon_memory(tarn):
    """RssAnon + RssShmem of the serving process."""
    with open(f"/proc/{daemon_help.daemon(tarn)}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem")) * 1024


class Table:
    """What was measured, one value after the other: {name: text}."""

    def __init__(self):
        self.values = {}

    def timed(self, name, function, *arguments, **more):
        start = time.monotonic()
        result = function(*arguments, **more)
        self.values[name] = f"{time.monotonic() - start:.2f} s"
        return result

    def memory(self, name, used, limit):
        self.values[name] = f"{used / MIB:.0f} MiB"
        assert sanitized() or used < limit, f"{name}: {used >> 20} MiB, limit {limit >> 20}"

    def convert(self, tarn, source, destination, entries):
        used, cpu = self.timed("convert", usage, tarn, "convert", "--quiet", source, destination)
        self.values["of CPU"] = f"{cpu:.2f} s"
        self.memory("converter", used, CONVERTER_MEMORY + entries * PER_ENTRY)

    def __str__(self):
        return ", ".join(f"{name} {value}" for name, value in self.values.items())


def entries(tarn, top, count, in_directory=1000):
    """A tree of empty files, in directories of so many."""
    table, path, place = Table(), top / "entries.tar", top / "mnt"
    with open(path, "wb") as file:
        for i in range(count):
            file.write(header(b"d%04d/name-of-a-file-%07d" % (i // in_directory, i), mtime=i))
        file.write(bytes(1024))
    name = f"oci:{top}/entries:t"
    table.convert(tarn, f"tar:{path}", name, count)
    path.unlink()
    place.mkdir()
    table.timed("mount", tarn, "mount", name, place)

    def walk():
        found = 0
        for _, _, files in os.walk(place):
            found += len(files)
        return found
    assert table.timed("walk", walk) == count
    last = place / f"d{(count - 1) // in_directory:04d}" / f"name-of-a-file-{count - 1:07d}"
    assert last.stat().st_mtime == count - 1
    table.memory("tarnd", daemon_memory(tarn), DAEMON_MEMORY)
    tarn("umount", place)
    place.rmdir()
    return table


def write_large(path, size, step, data_length):
    """A tar.zst of one file: data_length bytes of data in every step, the rest zeros -> SHA-256."""
    whole, block, zeros = hashlib.sha256(), noise(MIB, 1), bytes(MIB)
    records = pax_records([(b"size", b"%d" % size)])
    with open(path, "wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file) as out:
        out.write(header(b"p", b"x", len(records)) + pad(records) + header(b"large"))
        for at in range(0, size, MIB):
            start = at // MIB % 999
            data = (b"%016d" % at + block[start:] + block[:start])[:MIB]
            data = data if at % step < data_length else zeros
            whole.update(data)
            out.write(data)
        out.write(bytes(1024))
    return whole.hexdigest()


def large_file(tarn, top, size, step=1 << 30, data_length=64 * MIB):
    """One file of whole mebibytes, most of it zeros, which the archive does not call holes."""
    table, path, place = Table(), top / "large.tar.zst", top / "mnt"
    want = write_large(path, size, step, data_length)
    name = f"oci:{top}/large:t"
    table.convert(tarn, f"tar:{path}", name, 1)
    place.mkdir()
    table.timed("mount", tarn, "mount", name, place)

    assert (place / "large").stat().st_size == size
    assert table.timed("read and SHA-256", trees.hash_file, place / "large") == want
    table.memory("tarnd", daemon_memory(tarn), 2 * DAEMON_MEMORY)
    tarn("umount", place)
    place.rmdir()
    return table


def layers(tarn, top, count):
    """An image of so many layers, each with files and a change to the one before."""
    table, place = Table(), top / "mnt"
    tars = []
    for number in range(count):
        tar = Tar()
        tar.add(b"own/%03d" % number, data=noise(100000, number), mtime=number)
        tar.add(b"changed", data=b"by layer %d" % number)
        if number:
            tar.whiteout(b"own/%03d" % (number - 1))
        tars.append(tar)
    oci_layout.LayoutBuilder(top / "layers").image(tars)
    name = f"oci:{top}/layers-out:t"
    table.convert(tarn, f"oci:{top}/layers:latest", name, 3 * count)
    place.mkdir()
    table.timed("mount", tarn, "mount", name, place)
    assert os.listdir(place / "own") == [f"{count - 1:03d}"]
    assert (place / "own" / f"{count - 1:03d}").read_bytes() == noise(100000, count - 1)
    assert (place / "changed").read_bytes() == b"by layer %d" % (count - 1)
    table.memory("tarnd", daemon_memory(tarn), DAEMON_MEMORY)
    tarn("umount", place)
    place.rmdir()
    return table


def mounts(tarn, top, count, image_count):
    """So many mounts of so many images, all at once."""
    table, names = Table(), []
    for number in range(image_count):
        names.append(daemon_help.small_image(tarn, top / f"image-{number}", number, 3).converted)
    places = [top / f"mnt-{number}" for number in range(count)]

    def mount(some):
        for number in some:
            places[number].mkdir()
            tarn("mount", names[number % image_count], places[number])
    tenth = max(count // 10, 1)
    table.timed(f"first {tenth}", mount, range(tenth))
    mount(range(tenth, count - tenth))
    table.timed(f"last {tenth}", mount, range(count - tenth, count))
    for number, place in enumerate(places):
        seed = 1000 * (number % image_count) + 1
        assert (place / "d" / "f1").read_bytes() == noise(50001, seed)
    listed = [mount["image"] for mount in tarn.json("ps")["mounts"]]
    assert len(listed) == count and set(listed) == set(names)
    table.memory("tarnd", daemon_memory(tarn), DAEMON_MEMORY + count * PER_MOUNT)

    def umount():
        for place in places:
            tarn("umount", place)
            place.rmdir()
    table.timed("umount all", umount)
    return table


CASES = {
    "250,000 entries": lambda tarn, top: entries(tarn, top, 250000),
    "1,000,000 entries": lambda tarn, top: entries(tarn, top, 1000000),
    "a directory of 75,000": lambda tarn, top: entries(tarn, top, 75000, 75000),
    "a directory of 300,000": lambda tarn, top: entries(tarn, top, 300000, 300000),
    "a file of 5 GiB": lambda tarn, top: large_file(tarn, top, 5 << 30),
    "a file of 20 GiB": lambda tarn, top: large_file(tarn, top, 20 << 30),
    "32 layers": lambda tarn, top: layers(tarn, top, 32),
    "128 layers": lambda tarn, top: layers(tarn, top, 128),
    "1,000 mounts of 20 images": lambda tarn, top: mounts(tarn, top, 1000, 20),
}


def main():
    parser = argparse.ArgumentParser(prog="scripts/limits", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    print("| what | measured |\n|---|---|")
    for name in parser.parse_args().case or CASES:
        top = Path(tempfile.mkdtemp(prefix="tarn-limits-"))
        tarn = environment.Tarn(top / "root")
        try:
            print(f"| {name} | {CASES[name](tarn, top)} |", flush=True)
        finally:
            tarn.close(top)
            shutil.rmtree(top)


if __name__ == "__main__":
    main()
