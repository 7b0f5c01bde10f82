# SPDX-License-Identifier: Apache-2.0
"""Starts an image's program with runc and notices when it is ready: by a line of its output, or by an
answer on a port. The container has a network of its own, so that no port of the host is in the way."""
import ctypes
import json
import os
import pwd
import re
import socket
import subprocess
import threading
import time

from bench_run import Failure, command

CLONE_NEWNET = 0x40000000
SECONDS = 120
LIBC = ctypes.CDLL(None, use_errno=True)

# What is known of programs, by the first word of their command; others are ready with the first line
# of output, or when they end.
READY = {"redis-server": "Ready to accept connections", "nginx": 80,
         "node_modules/.bin/next": 3000, "postgres": "database system is ready to accept"}
WITHOUT_COMMAND = ["/usr/bin/python3", "-c",
                   "import json, decimal, email.message, xml.dom; print('ready')"]


def ready_sign(arguments):
    for word, sign in READY.items():
        if any(word in part for part in arguments[:1] + arguments[2:]):
            return sign
    return "."


def _answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def _ask_inside(pid, port):
    """In a child process: enters the container's network and asks until something answers."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return status == 0
    try:
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        if LIBC.setns(fd, CLONE_NEWNET) != 0:
            os._exit(1)
        end = time.monotonic() + SECONDS
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
            if _answers(port):
                os._exit(0)
            time.sleep(0.003)
    finally:
        os._exit(1)


def _user(rootfs, name):
    """(uid, gid) of the config's user."""
    if not name:
        return 0, 0
    if name.partition(":")[0].isdigit():
        uid, _, gid = name.partition(":")
        return int(uid), int(gid or 0)
    with open(f"{rootfs}/etc/passwd", encoding="utf-8") as file:
        for line in file:
            entry = pwd.struct_passwd((line.rstrip("\n").split(":") + [""] * 7)[:7])
            if entry.pw_name == name:
                return int(entry.pw_uid), int(entry.pw_gid)
    raise Failure(f"the image has no user {name}")


class Container:
    """One start of an image's command on a root file system."""

    def __init__(self, rootfs, config, bundle):
        self.arguments = (config.get("Entrypoint") or []) + (config.get("Cmd") or [])
        self.arguments = self.arguments or WITHOUT_COMMAND
        self.sign = ready_sign(self.arguments)
        self.bundle = bundle
        self.name = f"tarn-bench-{os.getpid()}-{time.monotonic_ns()}"
        self.log, self.ready, self.seen = [], False, threading.Event()
        self.process = self.reader = None
        command("runc", "spec", cwd=bundle)
        with open(f"{bundle}/config.json", encoding="utf-8") as file:
            spec = json.load(file)
        uid, gid = _user(rootfs, config.get("User"))
        spec["root"] = {"path": rootfs, "readonly": False}
        process = spec["process"]
        process.update(terminal=False, args=self.arguments, user={"uid": uid, "gid": gid},
                       cwd=config.get("WorkingDir") or "/", env=config.get("Env") or
                       ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
        process.pop("rlimits", None)
        hosts = f"{bundle}/hosts"
        with open(hosts, "w", encoding="ascii") as file:
            file.write("127.0.0.1 localhost\n")
        spec["mounts"].append({"destination": "/etc/hosts", "source": hosts, "type": "bind",
                               "options": ["bind", "ro"]})
        allowed = [f"CAP_{name}" for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID",
                                              "NET_BIND_SERVICE", "KILL", "SYS_CHROOT")]
        process["capabilities"] = {kind: allowed for kind in ("bounding", "effective", "permitted")}
        with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(spec, file)

    def start(self):
        """Waits until the program is ready. Leaves it running."""
        self.process = subprocess.Popen(
            ["runc", "run", self.name], cwd=self.bundle, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        ready = self._port_answers() if isinstance(self.sign, int) else \
            self.seen.wait(SECONDS) and self.ready
        if not ready:
            raise Failure(f"{self.arguments[0]} did not get ready: {''.join(self.log)[-1000:]}")

    def _read(self):
        for line in self.process.stdout:
            text = line.decode(errors="replace")
            self.log.append(text)
            if not isinstance(self.sign, int) and re.search(self.sign, text):
                self.ready = True
                self.seen.set()
        self.seen.set()

    def _port_answers(self):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            done = subprocess.run(["runc", "state", self.name], capture_output=True, text=True,
                                  check=False)
            state = json.loads(done.stdout) if done.returncode == 0 else {}
            if state.get("status") == "running":
                return _ask_inside(state["pid"], self.sign)
            time.sleep(0.01)
        return False

    def stop(self):
        subprocess.run(["runc", "delete", "--force", self.name], capture_output=True, check=False)
        if self.process:
            self.process.wait()
            self.reader.join()
            self.process.stdout.close()
