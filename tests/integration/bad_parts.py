# SPDX-License-Identifier: Apache-2.0
"""Answers to requests for several ranges, for bad_server.py: as other servers give them, and wrong ones."""
from dataclasses import dataclass

import bad_server


@dataclass
class Body:
    """What a multipart answer is made of. parts: [(first, last, bytes)]."""
    parts: list
    total: object
    boundary: str = "limit"
    told: str = "boundary=limit"
    end: str = "\r\n"
    before: bytes = b"\r\n"
    after: bytes = b"\r\n"
    header: str = "Content-Range: bytes {}-{}/{}"
    close: bool = True  # it has a final boundary

    def made(self):
        out = self.before
        for i, (first, last, data) in enumerate(self.parts):
            lines = [self.end * (i > 0) + f"--{self.boundary}", "Content-Type: x/y",
                     self.header.format(first, last, self.total), "", ""]
            out += self.end.join(lines).encode() + data
        return out + (f"{self.end}--{self.boundary}--".encode() + self.after if self.close else b"")


def several(fault):
    """The fault, for requests for several ranges only."""
    def choose(exchange):
        if len(exchange.ranges) > 1:
            fault(exchange)
        else:
            exchange.send(exchange.forward())
    return choose


def answer(exchange, change=lambda body: None):
    """206 with the right parts, after change() has worked on the Body."""
    blob = exchange.forward(range=None).body
    body = Body([(first, last, blob[first:last + 1]) for first, last in exchange.ranges],
                len(blob))
    change(body)
    return bad_server.Answer(206, {"Content-Type": f"multipart/byteranges; {body.told}"},
                             body.made())


def parts(**changes):
    """Another Body; a change is a value or a function of the parts as they should be."""
    def change(body):
        for name, value in changes.items():
            setattr(body, name, value(body.parts) if callable(value) else value)
    return several(lambda exchange: exchange.send(answer(exchange, change)))


def cut_parts(share):
    """So much of the right body, then the connection closes."""
    def fault(exchange):
        made = answer(exchange)
        exchange.head(made)
        exchange.write(made.body[:int(len(made.body) * share)])
        exchange.hang_up()
    return several(fault)


def short_parts(share):
    """So much of the right body, and no more is announced."""
    def fault(exchange):
        made = answer(exchange)
        made.body = made.body[:int(len(made.body) * share)]
        exchange.send(made)
    return several(fault)


def slow_parts(piece):
    """In small pieces."""
    def fault(exchange):
        made = answer(exchange)
        exchange.head(made)
        for at in range(0, len(made.body), piece):
            exchange.write(made.body[at:at + piece])
    return several(fault)


def merged(first=None):
    """One range that holds them all, from the first one's start or from elsewhere."""
    def fault(exchange):
        start = exchange.ranges[0][0] if first is None else first
        exchange.send(exchange.forward(range=f"bytes={start}-{exchange.ranges[-1][1]}"))
    return several(fault)


def only_first():
    """The first range alone."""
    def fault(exchange):
        first, last = exchange.ranges[0]
        exchange.send(exchange.forward(range=f"bytes={first}-{last}"))
    return several(fault)


def write_endlessly(exchange, data, length, form=b"%b"):
    """Notes how much of it went out."""
    exchange.handler.entry["sent"] = 0
    while exchange.handler.entry["sent"] < length:
        exchange.write(form % data)
        exchange.handler.entry["sent"] += len(data)


def endless_headers(length):
    def fault(exchange):
        exchange.head(bad_server.Answer(206, {
            "Content-Type": "multipart/byteranges; boundary=limit", "Content-Length": str(length)}))
        exchange.write(b"--limit\r\n")
        write_endlessly(exchange, b"X-Y: z\r\n" * 8192, length)
    return several(fault)


def endless_whole(length):
    """200 with the blob, and then blanks."""
    def fault(exchange):
        blob = exchange.forward(range=None).body
        exchange.head(bad_server.Answer(200, {"Transfer-Encoding": "chunked"}))
        exchange.write(b"%x\r\n%b\r\n" % (len(blob), blob))
        write_endlessly(exchange, b" " * 65536, length, b"10000\r\n%b\r\n")
    return several(fault)
