# SPDX-License-Identifier: Apache-2.0
"""scripts/bench: measures Tarn beside what it competes with, all in one run."""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import bench_conversion
import bench_daemon
import bench_line
import bench_machine
import bench_page
import bench_report
import bench_sample
import bench_start
import bench_update
from bench_image import Image
from bench_run import Failure, summaries

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARTS = ("conversion", "daemon", "start", "page", "update")


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench", description="Measures conversion, size, daemon, cold starts and updates. "
        "Needs root. Without an IMAGE a small one is made of this host's Python.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="oci:DIR[:TAG], not converted")
    parser.add_argument("--update", nargs=2, action="append", default=[], metavar=("OLD", "NEW"),
                        help="two versions of an image; may be given again")
    parser.add_argument("--quick", action="store_true",
                        help="one run of everything on the small image: only checks that it works")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; again for more")
    parser.add_argument("--json", metavar="FILE", help="write all figures here too")
    parser.add_argument("--programs", metavar="DIR", default=f"{TOP}/build/release",
                        help="where tarn and tarnd are (default: build/release)")
    parser.add_argument("--scratch", metavar="DIR", default="/var/tmp",
                        help="for images, stores and trees, on a local file system")
    options = parser.parse_args()
    options.runs = 1 if options.quick else max(1, options.runs)
    options.limit = 200 if options.quick else 5000
    options.parts = options.only or PARTS
    return options


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        self.programs = os.path.abspath(options.programs)
        self.converted = {}
        self.result = {"machine": bench_machine.describe(self.programs, scratch),
                       "runs": options.runs}

    def convert(self, image):
        key = image.reference
        if key not in self.converted:
            self.converted[key] = bench_conversion.convert(image, self.programs, self.scratch)
        return self.converted[key]

    def repeat(self, part, image, function, *more):
        say(f"{part}: {image.name}")
        runs = [function(image, self.programs, self.scratch, *more)
                for _ in range(self.options.runs)]
        self.result.setdefault(part, {})[image.name] = summaries(runs)

    def start(self, image):
        with bench_line.SlowRegistry(self.programs, self.scratch) as registry:
            name = registry.publish(image)
            self.repeat("start", image, bench_start.one_run, registry, name)

    def page(self, image):
        with bench_line.SlowRegistry(self.programs, self.scratch, **bench_line.FAST_LINE) as registry:
            name = registry.publish(image)
            self.repeat("page", image, bench_page.one_run, registry.line, name)

    def measure(self, images, pairs):
        parts = self.options.parts
        for image in images:
            if "conversion" in parts:
                self.repeat("conversion", image, bench_conversion.one_run)
            if "daemon" in parts:
                made = self.convert(image)
                self.repeat("mount", made, bench_daemon.one_run)
                self.repeat("warm", made, bench_daemon.warm, self.options.limit)
            if "start" in parts:
                self.start(image)
            if "page" in parts:
                self.page(image)
        for pair in pairs if "update" in parts else ():
            say(f"update: {pair[0].name} to {pair[1].name}")
            rows = bench_update.compare(pair, [self.convert(image) for image in pair],
                                        self.programs, self.scratch)
            for way, row in rows.items():
                name = f"{pair[1].name}, {way}" if len(pairs) > 1 else way
                self.result.setdefault("update", {})[name] = row


def run(options, scratch):
    names, pairs = options.images, options.update
    if not names and not pairs:
        sample = bench_sample.make(scratch)
        names, pairs = sample[:1], [sample]
    bench = Bench(options, scratch)
    bench.measure([Image(name) for name in names],
                  [[Image(name) for name in pair] for pair in pairs])
    print(bench_report.render(bench.result))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(bench.result, file, indent=1)
            file.write("\n")


def _interrupted(*_):
    raise KeyboardInterrupt


def main():
    options = arguments()
    if os.geteuid() != 0:
        say("it mounts and starts containers: run it as root")
        return 2
    signal.signal(signal.SIGTERM, _interrupted)
    scratch = tempfile.mkdtemp(prefix="tarn-bench.", dir=options.scratch)
    try:
        run(options, scratch)
        return 0
    except (Failure, OSError, subprocess.CalledProcessError) as failure:
        say(failure)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
