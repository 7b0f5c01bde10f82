# SPDX-License-Identifier: Apache-2.0
"""Conversion against the two pipes that any converter has to do at least: hashing the layers and
compressing them."""
import os
import shutil
import tempfile

import bench_image
from bench_image import Image
from bench_run import measured

PIPES = (("hash", "gunzip -c {} | sha256sum"), ("zstd", "gunzip -c {} | zstd -q -3 -T1"))


def _sum(parts):
    return {"wall": sum(part["wall"] for part in parts), "cpu": sum(part["cpu"] for part in parts)}


def one_run(image, programs, scratch):
    """Pipes and conversion one after the other, so that a slow moment of the machine meets both."""
    for path in image.layers():
        with open(path, "rb") as file:  # all of it from the page cache
            while file.read(1 << 20):
                pass
    pipes = _sum([measured(["bash", "-c", pipe.format(f"'{path}'")])
                  for _, pipe in PIPES for path in image.layers()])
    directory = tempfile.mkdtemp(prefix="convert.", dir=scratch)
    try:
        target = f"oci:{directory}/{image.name}:{image.tag}"
        own = measured([os.path.join(programs, "tarn"), "convert", image.reference, target],
                       dict(os.environ, TMPDIR=scratch))
        sizes = bench_image.converted_sizes(Image(target))
    finally:
        shutil.rmtree(directory)
    return {"pipes wall s": pipes["wall"], "pipes cpu s": pipes["cpu"],
            "tarn wall s": own["wall"], "tarn cpu s": own["cpu"],
            "wall ratio": own["wall"] / pipes["wall"], "cpu ratio": own["cpu"] / pipes["cpu"],
            "peak MB": own["peak_kb"] / 1024, "gzip MB": image.size() / 1e6,
            "size ratio": (sizes["blobs"] + sizes["bootstrap"]) / image.size(),
            "bootstrap kB": sizes["bootstrap"] / 1e3}


def convert(image, programs, scratch):
    """The converted image, which later measurements use."""
    target = f"oci:{scratch}/converted/{image.name}:{image.tag}"
    measured([os.path.join(programs, "tarn"), "convert", image.reference, target],
             dict(os.environ, TMPDIR=scratch))
    return Image(target)
