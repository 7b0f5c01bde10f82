#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A slow line to a server on this host: a TCP proxy with a round trip, a bandwidth, TCP slow start
and outages. It counts bytes and connections and logs each HTTP/1.1 request with its range, status
and the bytes of the answer that arrived. TLS and HTTP/2 pass unread: only bytes are counted.

  slow_line.py --to PORT [--listen PORT] [--control PORT] [SETTING=VALUE...]

Prints its two ports, "LISTEN CONTROL", and works until SIGTERM, or until its standard input ends
where that is a pipe. Control, by GET, answers JSON:
  /stats   counters and settings         /log    the requests, in order of arrival
  /reset   clears counters and log       /set?SETTING=VALUE&...
Settings:
  rtt         ms, half of it on each way; a new connection waits one more for its handshake
  mbit        each way, shared by all connections; 0: no limit
  slow_start  1: a connection starts with 10 segments in flight and doubles each round trip; it
              starts anew after a second of silence
  stall       1: nothing passes, nothing is closed
  down        1: every connection is reset and new ones are refused
  down_after, stall_after  N: that happens by itself when N more bytes have gone up; 0: never
  cut         1: every connection is reset, once
"""
import argparse
import asyncio
import collections
import json
import os
import selectors
import signal
import stat
import subprocess
import sys
import time
import urllib.parse
import urllib.request

SEGMENT = 1460
FIRST_WINDOW = 10 * SEGMENT
WHOLE_WINDOW = 64 << 20
PIECE = 65536


class Link:
    """One direction of the bottleneck that all connections share."""

    def __init__(self):
        self.free = 0.0  # when all that was booked has left

    def book(self, now, length, mbit):
        self.free = max(now, self.free) + (length * 8e-6 / mbit if mbit else 0)
        return self.free


class Window:
    """How much a sender may have in flight: TCP's slow start without losses."""

    def __init__(self):
        self.size, self.flying, self.last = FIRST_WINDOW, 0, 0.0
        self.acks = collections.deque()  # (time of the acknowledgement, bytes)

    async def room(self, clock):
        now = clock()
        if now - self.last > 1:
            self.size = FIRST_WINDOW
        while True:
            while self.acks and self.acks[0][0] <= now:
                length = self.acks.popleft()[1]
                self.flying -= length
                self.size = min(self.size + length, WHOLE_WINDOW)
            if self.flying < self.size:
                return self.size - self.flying
            await asyncio.sleep(self.acks[0][0] - now)
            now = max(clock(), self.acks[0][0])

    def sent(self, now, length, acknowledged):
        self.flying += length
        self.last = now
        self.acks.append((acknowledged, length))


class Messages:
    """Follows the HTTP/1.1 messages of one direction. head(lines) -> length of the body that
    follows, -1 in chunks, -2 up to the end, None: this is no HTTP. body(n): n bytes of it came."""

    def __init__(self, head, body, end):
        self.on_head, self.on_body, self.on_end = head, body, end
        self.buffer, self.left, self.state = b"", 0, self.in_head

    def feed(self, data):
        while data and self.state:
            data = self.state(data)

    def line(self, data, mark):
        """-> (bytes up to the mark or None, rest)"""
        self.buffer += data
        at = self.buffer.find(mark)
        if at < 0:
            if len(self.buffer) > 1 << 16:
                self.state = None
            return None, b""
        found, rest = self.buffer[:at], self.buffer[at + len(mark):]
        self.buffer = b""
        return found, rest

    def in_head(self, data):
        found, rest = self.line(data, b"\r\n\r\n")
        if found is not None:
            length = self.on_head(found.split(b"\r\n"))
            if length is None:
                self.state = None
            elif length == 0:
                self.on_end()
            else:
                self.left = length
                self.state = {-1: self.in_chunk_head, -2: self.in_rest}.get(length, self.in_body)
        return rest

    def in_body(self, data):
        step = min(self.left, len(data))
        self.left -= step
        self.on_body(step)
        if not self.left:
            self.state = self.in_head
            self.on_end()
        return data[step:]

    def in_rest(self, data):
        self.on_body(len(data))
        return b""

    def in_chunk_head(self, data):
        found, rest = self.line(data, b"\r\n")
        if found is not None:
            self.left = int(found.split(b";")[0], 16)
            self.state = self.in_chunk if self.left else self.in_trailer
        return rest

    def in_chunk(self, data):
        step = min(self.left, len(data))
        self.left -= step
        self.on_body(step)
        if not self.left:
            self.state = self.in_chunk_end
        return data[step:]

    def in_chunk_end(self, data):
        found, rest = self.line(data, b"\r\n")
        if found is not None:
            self.state = self.in_chunk_head
        return rest

    def in_trailer(self, data):
        found, rest = self.line(data, b"\r\n")
        if found == b"":
            self.state = self.in_head
            self.on_end()
        return rest


def fields(lines):
    found = {}
    for line in lines:
        name, _, value = line.partition(b":")
        found[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    return found


def body_length(headers, without):
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return -1
    return int(headers["content-length"]) if "content-length" in headers else without


class Conversation:
    """The requests and answers of one connection."""

    def __init__(self, line, number):
        self.line, self.number = line, number
        self.waiting = collections.deque()
        self.requests = Messages(self.request, self.request_body, lambda: None)
        self.answers = Messages(self.answer, self.answer_body, self.answered)
        self.sending = None

    def request(self, lines):
        words = lines[0].decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return None
        headers = fields(lines[1:])
        self.sending = {
            "time": time.time(), "connection": self.number, "method": words[0], "path": words[1],
            "range": headers.get("range"), "host": headers.get("host"),
            "authorization": headers.get("authorization", "").split(" ")[0] or None,
            "agent": headers.get("user-agent"), "sent": 0,
            "status": None, "received": 0, "whole": False}
        self.waiting.append(self.sending)
        self.line.log.append(self.sending)
        self.line.counters["requests"] += 1
        return body_length(headers, 0)

    def request_body(self, length):
        self.sending["sent"] += length

    def answer(self, lines):
        status = int(lines[0].split()[1])
        if status < 200 and status != 101:
            return 0
        if not self.waiting:
            return None
        entry, headers = self.waiting[0], fields(lines[1:])
        entry["status"] = status
        if entry["method"] == "HEAD" or status in (204, 304):
            return 0
        return body_length(headers, -2)

    def answer_body(self, length):
        self.waiting[0]["received"] += length

    def answered(self):
        if self.waiting and self.waiting[0]["status"]:
            self.waiting.popleft()["whole"] = True


class Line:
    def __init__(self, target):
        self.target, self.port, self.server = target, 0, None
        self.settings = {"rtt": 0.0, "mbit": 0.0, "slow_start": 0.0, "stall": 0.0, "down": 0.0}
        self.counters, self.log = collections.Counter(), []
        self.at = {}  # setting: the count of bytes that sets it
        self.up, self.down = Link(), Link()
        self.writers, self.flowing = set(), asyncio.Event()
        self.flowing.set()

    async def listen(self, port):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port, backlog=512)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        clock = asyncio.get_running_loop().time
        accepted, number = clock(), self.counters["connections"]
        self.counters["connections"] += 1
        talk = Conversation(self, number)
        self.writers.add(writer)
        far = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target)
            self.writers.add(far)
            await asyncio.gather(self.pump(reader, far, talk, accepted),
                                 self.pump(far_reader, writer, talk, None))
        except (OSError, asyncio.IncompleteReadError):
            self.counters["broken"] += 1
        finally:
            for one in filter(None, (writer, far)):
                self.writers.discard(one)
                one.close()

    async def pump(self, reader, writer, talk, accepted):
        """One direction of a connection; accepted: when it came, on the way up."""
        queue, size, clock = collections.deque(), 0, asyncio.get_running_loop().time
        filled, emptied = asyncio.Event(), asyncio.Event()
        window = Window()

        async def deliver():
            nonlocal size
            while True:
                while not queue:
                    filled.clear()
                    await filled.wait()
                due, data = queue.popleft()
                if due > clock():
                    await asyncio.sleep(due - clock())
                await self.flowing.wait()
                if data is None:
                    break
                writer.write(data)
                self.passed(talk, len(data), accepted is not None)
                if accepted is None:
                    talk.answers.feed(data)
                await writer.drain()
                size -= len(data)
                emptied.set()
            if writer.can_write_eof():
                writer.write_eof()

        async def take():
            nonlocal size
            half = self.settings["rtt"] / 2000
            try:
                while True:
                    limit = PIECE
                    if accepted is None and self.settings["slow_start"] and half:
                        limit = min(limit, await window.room(clock))
                    data = await reader.read(limit)
                    if not data:
                        break
                    half, mbit, now = self.settings["rtt"] / 2000, self.settings["mbit"], clock()
                    if accepted is not None:
                        talk.requests.feed(data)
                        due = max(self.up.book(now, len(data), mbit), accepted + 2 * half) + half
                    else:
                        due = self.down.book(now, len(data), mbit) + half
                        window.sent(now, len(data), due + half)
                    queue.append((due, data))
                    size += len(data)
                    filled.set()
                    while size > max(4 * PIECE, mbit * 5e5 * half):
                        emptied.clear()
                        await emptied.wait()
            finally:
                queue.append((clock() + half, None))
                filled.set()

        tasks = [asyncio.ensure_future(deliver()), asyncio.ensure_future(take())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def passed(self, talk, length, upwards):
        self.counters["up_bytes" if upwards else "down_bytes"] += length
        for name, count in list(self.at.items()):
            if self.counters["up_bytes"] >= count:
                del self.at[name]
                asyncio.ensure_future(self.set(name, 1.0))

    def reset_all(self):
        for writer in list(self.writers):
            writer.transport.abort()

    async def set(self, name, value):
        if name == "cut":
            self.reset_all()
        elif name in ("down_after", "stall_after"):
            self.at.pop(name.removesuffix("_after"), None)
            if value:
                self.at[name.removesuffix("_after")] = self.counters["up_bytes"] + value
        elif name in self.settings:
            was, self.settings[name] = self.settings[name], value
            if name == "stall":
                (self.flowing.clear if value else self.flowing.set)()
            elif name == "down" and value and not was:
                self.server.close()
                self.reset_all()
            elif name == "down" and was and not value:
                await self.listen(self.port)
        else:
            raise KeyError(name)

    def reset(self):
        self.counters.clear()
        self.log.clear()

    async def control(self, reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        url = urllib.parse.urlparse(request.split()[1].decode())
        status = 200
        try:
            for name, value in urllib.parse.parse_qsl(url.query):
                await self.set(name, float(value))
        except (KeyError, ValueError):
            status = 400
        if url.path == "/reset":
            self.reset()
        answer = self.log if url.path == "/log" else {**self.settings, **{
            name: self.counters[name] for name in
            ("connections", "requests", "up_bytes", "down_bytes", "broken")}}
        body = json.dumps(answer).encode() + b"\n"
        writer.write(b"HTTP/1.0 %d x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()


async def main(options):
    line, loop, stop = Line(options.to), asyncio.get_running_loop(), asyncio.Event()
    for setting in options.settings:
        name, _, value = setting.partition("=")
        await line.set(name, float(value))
    await line.listen(options.listen)
    control = await asyncio.start_server(line.control, "127.0.0.1", options.control)
    print(line.port, control.sockets[0].getsockname()[1], flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        loop.add_reader(0, lambda: os.read(0, 100) or stop.set())
    await stop.wait()
    line.reset_all()
    os._exit(0)  # what is under way ends here


class SlowLine:
    """Starts one in a process of its own, which ends with this one."""

    def __init__(self, to, **settings):
        words = [f"{name}={value}" for name, value in settings.items()]
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--to", str(to), *words], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True)
        self.port, self.control = map(int, self.process.stdout.readline().split())
        self.host = f"127.0.0.1:{self.port}"

    def ask(self, words):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control}/{words}", timeout=60) as got:
            return json.load(got)

    def set(self, **settings):
        return self.ask("set?" + urllib.parse.urlencode(settings))

    def stats(self):
        return self.ask("stats")

    def reset(self):
        return self.ask("reset")

    def log(self):
        return self.ask("log")

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--listen", type=int, default=0)
    parser.add_argument("--control", type=int, default=0)
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE")
    # select() sleeps as exactly as asked; epoll and poll round up to whole milliseconds.
    main_loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    asyncio.set_event_loop(main_loop)
    main_loop.run_until_complete(main(parser.parse_args()))
