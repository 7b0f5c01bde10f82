# SPDX-License-Identifier: Apache-2.0
"""Cold starts: from nothing on the node to a program that is ready."""
import time

import bench_image
import bench_run
from bench_container import Container
from bench_node import Node


def one_run(image, programs, scratch):
    """One start with the converted image beside the node: what it reads, not how long a line takes.
    Bytes and requests count index, manifest, config and bootstrap as one request each."""
    with Node(programs, scratch) as node:
        sizes = bench_image.converted_sizes(image)
        bench_run.drop_caches()
        begun = time.monotonic()
        lower = node.mount(image.reference, "image")
        mounted = time.monotonic()
        container = Container(node.overlay(lower, "overlay"), image.config(), node.place("bundle"))
        container.start()
        ready = time.monotonic()
        stats, memory = node.stats(), node.memory_kb()
        container.stop()
    return {"mount s": mounted - begun, "ready s": ready - begun, "memory MB": memory / 1024,
            "MB": (stats["fetched_bytes"] + sizes["bootstrap"] + sizes["documents"]) / 1e6,
            "requests": stats["ranges"] + 4}
