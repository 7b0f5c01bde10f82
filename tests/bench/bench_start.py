# SPDX-License-Identifier: Apache-2.0
"""Cold starts: from nothing on the node to a program that is ready, over the slow line."""
import time

from bench_container import Container
from bench_node import Node


def one_run(image, programs, scratch, registry, name):
    """Mounts `name`, the image as the slow registry has it, and starts its command."""
    with Node(programs, scratch) as node:
        registry.reset()
        begun = time.monotonic()
        lower = node.mount(name, "image")
        mounted = time.monotonic()
        container = Container(node.overlay(lower, "overlay"), image.config(), node.place("bundle"))
        try:
            container.start()
            ready = time.monotonic()
            counted, memory = registry.counted(), node.memory_kb()
        finally:
            container.stop()
    return {"mount s": mounted - begun, "ready s": ready - begun, **counted,
            "whole image MB": image.size() / 1e6, "memory MB": memory / 1024}
