# SPDX-License-Identifier: Apache-2.0
"""A server that stands before a real registry and misbehaves as told: rules pick requests, faults
say what happens to them. What no rule picks is passed on and answered as it should be."""
import contextlib
import gzip
import http.client
import http.server
import re
import socket
import threading
import time
from dataclasses import dataclass, field

LONGEST = 300  # seconds that any fault lasts at most


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes = b""


@dataclass
class Rule:
    fault: object
    path: str
    method: str
    skip: int
    times: int
    ranges: object
    hits: int = 0

    def picks(self, exchange):
        if exchange.method not in self.method.split() or not re.search(self.path, exchange.path):
            return False
        if self.ranges is not None and self.ranges != (exchange.range is not None):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


@dataclass
class Exchange:
    """One request and what becomes of it."""
    server: object
    handler: object
    method: str
    path: str
    headers: dict
    body: bytes = field(repr=False, default=b"")
    moved: bool = False  # it came to /moved/..., where a redirect led

    @property
    def ranges(self):
        """[(first, last)] as asked; last None: to the end."""
        found = re.fullmatch(r"bytes=((\d+-\d*,?)+)", self.headers.get("range", ""))
        pairs = [text.split("-") for text in found[1].split(",")] if found else []
        return [(int(first), int(last) if last else None) for first, last in pairs]

    @property
    def range(self):
        """The first of them; None: all was asked for."""
        return self.ranges[0] if self.ranges else None

    def forward(self, **headers):
        """Asks the registry, with these headers changed (None: left out) -> Answer"""
        asked = {**self.headers, **{name.replace("_", "-"): value
                                    for name, value in headers.items()}}
        asked = {name: value for name, value in asked.items() if value is not None and
                 name not in ("connection", "expect", "transfer-encoding", "content-length")}
        asked["host"] = self.headers.get("host", self.server.host)
        link = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=LONGEST)
        with contextlib.closing(link):
            link.request(self.method, self.path, self.body or None, asked)
            got = link.getresponse()
            kept = {name: value for name, value in got.getheaders()
                    if name.lower() not in ("connection", "date", "transfer-encoding")}
            return Answer(got.status, kept, got.read())

    def head(self, answer):
        """Sends the status and the headers; the body's length too if they do not tell it."""
        lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Status')}"]
        names = {name.lower() for name in answer.headers}
        if not names & {"content-length", "transfer-encoding"} and answer.status not in (204, 304):
            answer.headers["Content-Length"] = str(len(answer.body))
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self.handler.entry["status"] = answer.status

    def write(self, data):
        self.handler.wfile.write(data)

    def send(self, answer):
        self.head(answer)
        if self.method != "HEAD":
            self.write(answer.body)

    def hang_up(self):
        """Closes the connection, whatever the headers said."""
        self.handler.close_connection = True

    def wait(self, seconds):
        """Until then, or until the client has gone or the server is cleared."""
        end = time.monotonic() + min(seconds, LONGEST)
        generation = self.server.generation
        link = self.handler.connection
        link.settimeout(0.02)
        try:
            while time.monotonic() < end and generation == self.server.generation:
                try:
                    if not link.recv(1, socket.MSG_PEEK):
                        break
                    time.sleep(0.02)
                except TimeoutError:
                    pass
        finally:
            link.settimeout(LONGEST)


# --- faults ----------------------------------------------------------------------------------
def status(code, headers=None, body=b'{"errors":[{"code":"TEST","message":"as told"}]}'):
    """Answers this, without asking the registry."""
    return lambda exchange: exchange.send(Answer(code, dict(headers or {}), body))


def stall(after=0):
    """Sends the headers and so many bytes of the body, then nothing."""
    def fault(exchange):
        answer = exchange.forward()
        exchange.head(answer)
        exchange.write(answer.body[:after])
        exchange.wait(LONGEST)
        exchange.hang_up()
    return fault


def mute():
    """No answer at all."""
    def fault(exchange):
        exchange.wait(LONGEST)
        exchange.hang_up()
    return fault


def trickle(piece=1, pause=0.05):
    """The right body, slowly."""
    def fault(exchange):
        answer = exchange.forward()
        exchange.head(answer)
        for at in range(0, len(answer.body), piece):
            exchange.write(answer.body[at:at + piece])
            exchange.wait(pause)
    return fault


def cut(after=0):
    """Closes the connection in mid-body."""
    def fault(exchange):
        answer = exchange.forward()
        exchange.head(answer)
        exchange.write(answer.body[:after])
        exchange.hang_up()
    return fault


def drop():
    """Closes the connection without an answer."""
    return lambda exchange: exchange.hang_up()


def hang_up():
    """A right answer, and then the connection closes though nobody said so."""
    def fault(exchange):
        exchange.send(exchange.forward())
        exchange.hang_up()
    return fault


def corrupt(at=0):
    """One byte of the body is another."""
    def fault(exchange):
        answer = exchange.forward()
        body = bytearray(answer.body)
        if body:
            body[min(at, len(body) - 1)] ^= 0x20
        answer.body = bytes(body)
        exchange.send(answer)
    return fault


def whole():
    """200 with everything, though a range was asked for."""
    return lambda exchange: exchange.send(exchange.forward(range=None))


def short_range(length):
    """206 with only the first so many bytes of the range, and a Content-Range that says so."""
    def fault(exchange):
        first, last = exchange.range
        end = first + length - 1 if last is None else min(last, first + length - 1)
        exchange.send(exchange.forward(range=f"bytes={first}-{end}"))
    return fault


def other_range(delta):
    """206 for a range that starts delta bytes elsewhere, and a Content-Range that says so."""
    def fault(exchange):
        first, last = exchange.range
        moved = max(0, first + delta)
        end = "" if last is None else str(last - first + moved)
        exchange.send(exchange.forward(range=f"bytes={moved}-{end}"))
    return fault


def header(name, value):
    """A right answer but for this header; value None: without it."""
    def fault(exchange):
        answer = exchange.forward()
        answer.headers = {n: v for n, v in answer.headers.items() if n.lower() != name.lower()}
        if value is not None:
            answer.headers[name] = value
        exchange.send(answer)
    return fault


def other_status(code):
    """A right answer but for its status."""
    def fault(exchange):
        answer = exchange.forward()
        answer.status = code
        exchange.send(answer)
    return fault


def gzipped():
    """The body in a Content-Encoding that nobody asked for."""
    def fault(exchange):
        answer = exchange.forward()
        answer.body = gzip.compress(answer.body)
        answer.headers = {n: v for n, v in answer.headers.items() if n.lower() != "content-length"}
        answer.headers["Content-Encoding"] = "gzip"
        exchange.send(answer)
    return fault


def chunked():
    """The body in chunks, its length not told."""
    def fault(exchange):
        answer = exchange.forward()
        answer.headers = {n: v for n, v in answer.headers.items() if n.lower() != "content-length"}
        answer.headers["Transfer-Encoding"] = "chunked"
        exchange.head(answer)
        if exchange.method != "HEAD":
            for at in range(0, len(answer.body), 5000):
                part = answer.body[at:at + 5000]
                exchange.write(b"%x\r\n%b\r\n" % (len(part), part))
            exchange.write(b"0\r\n\r\n")
    return fault


def endless(content_type="application/vnd.oci.image.manifest.v1+json", length=None):
    """A body of blanks that goes on until the client has enough. length: what is said of it."""
    def fault(exchange):
        headers = {"Content-Type": content_type}
        if length is None:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(length)
        exchange.head(Answer(200, headers))
        blanks, exchange.handler.entry["sent"] = b" " * 65536, 0
        for _ in range(1 << 14):  # 1 GB: enough for any client
            exchange.write(blanks if length else b"10000\r\n%b\r\n" % blanks)
            exchange.handler.entry["sent"] += len(blanks)
        exchange.hang_up()
    return fault


def redirect(host="", code=307, query="", endless=False):
    """To the same path on another host, or with "" to /moved/... on this one by a relative URL.
    endless: what is asked for there is moved too."""
    def fault(exchange):
        if exchange.moved and not endless:
            exchange.send(exchange.forward())
            return
        place = f"http://{host}{exchange.path}" if host else f"/moved{exchange.path}"
        exchange.send(Answer(code, {"Location": place + query, "Content-Type": "text/html"}))
    return fault


def relative_location():
    """A right answer whose Location is only a path."""
    def fault(exchange):
        answer = exchange.forward()
        for name in answer.headers:
            if name.lower() == "location":
                answer.headers[name] = re.sub(r"^https?://[^/]*", "", answer.headers[name])
        exchange.send(answer)
    return fault


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = LONGEST

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self):
        bad = self.server.bad
        headers = {name.lower(): ", ".join(self.headers.get_all(name)) for name in self.headers}
        self.entry = {"method": self.command, "path": self.path, "headers": headers,
                      "range": headers.get("range"), "status": None,
                      "authorization": headers.get("authorization"), "time": time.monotonic(),
                      "connection": id(self)}
        bad.log.append(self.entry)
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            exchange = Exchange(bad, self, self.command, self.path.removeprefix("/moved"),
                                headers, self.read_body(), self.path.startswith("/moved"))
            fault = bad.fault_for(exchange)
            fault(exchange)
            return
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, bad, port):
        self.bad, self.links = bad, set()
        super().__init__(("127.0.0.1", port), Handler)

    def process_request(self, request, address):
        self.links.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request):
        self.links.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, address):
        pass  # a client that went away


class BadServer:
    """In front of the registry at port `behind`. login: Basic credentials that it asks for
    ("Basic ..."), or None."""

    def __init__(self, behind):
        self.behind, self.rules, self.log, self.generation = behind, [], [], 0
        self.login, self.challenge = None, 'Basic realm="test"'
        self.lock, self.port, self.server = threading.Lock(), 0, None
        self.up()

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    def up(self):
        if not self.server:
            self.server = Server(self, self.port)
            self.port = self.server.server_port
            threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self):
        """Refuses connections, and resets those that are there."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.cut_all()
            self.server = None

    def cut_all(self):
        for link in list(self.server.links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    close = down

    def fail(self, fault, path=".", method="GET", **more):
        """From now on `fault` happens to requests whose path matches the expression.
        skip: not to the first so many; times: only so often; ranges: True only with a Range
        header, False only without. The rule added first goes first -> the rule, which counts hits."""
        rule = Rule(fault, path, method, more.pop("skip", 0), more.pop("times", None),
                    more.pop("ranges", None))
        assert not more, more
        with self.lock:
            self.rules.append(rule)
        return rule

    def fault_for(self, exchange):
        with self.lock:
            for rule in self.rules:
                if rule.picks(exchange):
                    return rule.fault
        if self.login and exchange.headers.get("authorization") != self.login:
            return status(401, {"WWW-Authenticate": self.challenge})
        return lambda exchange: exchange.send(exchange.forward())

    def clear(self):
        """Behaves again: ends what stalls, forgets rules and log."""
        with self.lock:
            self.rules.clear()
            self.generation += 1
        self.login = None
        self.up()
        self.log.clear()

    def requests(self, path=".", method="GET"):
        return [entry for entry in self.log
                if entry["method"] in method.split() and re.search(path, entry["path"])]
