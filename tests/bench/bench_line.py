# SPDX-License-Identifier: Apache-2.0
"""A registry on this host, and a slow line to it."""
import os
import sys

import bench_run

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[1:1] = [f"{TESTS}/integration", f"{TESTS}/tools"]
import registries  # noqa: E402
from slow_line import SlowLine  # noqa: E402

LINE = {"rtt": 20, "mbit": 100, "slow_start": 1}
FAST_LINE = {"rtt": 10}


class SlowRegistry:
    """Use with `with`."""

    def __init__(self, programs, scratch, **line):
        self.tarn, self.scratch = os.path.join(programs, "tarn"), scratch
        self.registry = registries.Registry(os.path.join(scratch, "registry"))
        self.line = SlowLine(self.registry.port, **(line or LINE))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.line.close()
        self.registry.close()

    def publish(self, image):
        """Converts the image into the registry -> its name by way of the line."""
        name = image.name.lower()
        bench_run.command(self.tarn, "convert", image.reference,
                          f"docker://{self.registry.host}/{name}:latest",
                          env=dict(os.environ, TMPDIR=self.scratch))
        return f"docker://{self.line.host}/{name}:latest"

    def reset(self):
        self.line.reset()

    def counted(self):
        """{MB, requests} since the reset: all that came down the line."""
        stats = self.line.stats()
        return {"MB": stats["down_bytes"] / 1e6, "requests": stats["requests"]}
