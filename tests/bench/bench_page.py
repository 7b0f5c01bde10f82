# SPDX-License-Identifier: Apache-2.0
"""How long a read of one cold page takes beyond the request that it needs: the same request is made
again on a connection that is kept, by way of the same line, and taken off."""
import os
import random
import re
import socket
import statistics
import time

import bench_update
from bench_node import Node
from bench_run import Failure

PAGES, REPEATS = 40, 3


class Connection:
    """One that stays open. Use with `with`."""

    def __init__(self, host):
        name, port = host.split(":")
        self.host, self.socket = host, socket.create_connection((name, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def get(self, path, wanted):
        """ms until all of it is here."""
        request = f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nRange: {wanted}\r\n\r\n".encode()
        begun, got = time.monotonic(), b""
        self.socket.sendall(request)
        while b"\r\n\r\n" not in got:
            got += self._receive()
        head, _, body = got.partition(b"\r\n\r\n")
        left = int(re.search(rb"(?i)\ncontent-length: *(\d+)", head)[1]) - len(body)
        while left > 0:
            left -= len(self._receive())
        return (time.monotonic() - begun) * 1000

    def _receive(self):
        got = self.socket.recv(1 << 20)
        if not got:
            raise Failure("the registry closed a connection")
        return got


def _read(path, offset):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        begun = time.monotonic()
        os.pread(fd, 4096, offset)
        return (time.monotonic() - begun) * 1000
    finally:
        os.close(fd)


def one_run(image, programs, scratch, line, name):
    """Pages here and there of `name`, the image as it is called by way of the line."""
    draw, over, sizes = random.Random(1), [], []
    with Node(programs, scratch) as node, Connection(line.host) as connection:
        files = bench_update.files_of(node.mount(name, "image"))
        for path, size in draw.choices(files, [size for _, size in files], k=PAGES):
            line.reset()
            taken = _read(path, draw.randrange((size + 4095) // 4096) * 4096)
            log = line.log()
            if len(log) == 1 and log[0]["range"]:  # not local yet, and nothing else was asked
                again = [connection.get(log[0]["path"], log[0]["range"]) for _ in range(REPEATS)]
                over.append(taken - statistics.median(again))
                sizes.append(log[0]["received"])
    if not over:
        raise Failure(f"{image.name}: no read of a page made just one request")
    return {"over a round trip ms": statistics.median(over),
            "kB of the request": statistics.median(sizes) / 1e3, "pages": len(over)}
