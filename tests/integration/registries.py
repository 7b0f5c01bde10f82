# SPDX-License-Identifier: Apache-2.0
"""Real registries for the tests: Debian's docker-registry, plain, with TLS, with basic auth, and
with bearer tokens from a token server of our own. All on loopback, on free ports."""
import base64
import contextlib
import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from pathlib import Path

import environment

sys.path.insert(0, str(environment.SOURCE / "tests" / "tools"))
from slow_line import SlowLine  # noqa: E402,F401

USER, PASSWORD = "tester", "correct horse"
# USER:bcrypt(PASSWORD), the only kind that the registry takes
HTPASSWD = "tester:$2y$05$JZZCwYhN3FWwVO1dkXZ/MeUZIjn9dBG44HFfF0b76pVlr2lBbTjt."
ACCEPT = ", ".join((
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json"))
WITH_US = ("setpriv", "--pdeathsig", "KILL")  # a server ends when the tests do, however they end
LEEWAY = 60  # seconds that docker-registry adds to a token's life


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def openssl(*words, **more):
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, **more)


def make_key(directory, name):
    """A key and a certificate that signs itself -> (key, certificate)."""
    key, certificate = Path(directory, f"{name}.key"), Path(directory, f"{name}.pem")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
            f"/CN={name}", "-keyout", key, "-out", certificate)
    return key, certificate


class Authority:
    """A certificate authority: .ca is its certificate."""

    def __init__(self, directory, name="authority"):
        self.directory = Path(directory)
        self.key, self.ca = make_key(directory, name)

    def server(self, names="DNS:localhost,IP:127.0.0.1", name="server"):
        """-> (key, certificate) for a server with these names."""
        key, certificate = self.directory / f"{name}.key", self.directory / f"{name}.crt"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
                f"/CN={name}", "-CA", self.ca, "-CAkey", self.key, "-keyout", key,
                "-addext", f"subjectAltName={names}",
                "-addext", "basicConstraints=critical,CA:FALSE", "-out", certificate)
        return key, certificate


class TokenServer:
    """Hands out bearer tokens. Change at any time:
    post           status for POST (200: answer it, as OAuth2)
    field          "token", "access_token" or "both": what the answer calls the token
    lifetime       seconds after which the registry takes a token no more; negative: never takes it
    told           what expires_in says; None: left out
    anonymous      whether tokens to pull are given without a name
    log has one dictionary a request: method, scope, user, status."""

    issuer, service = "test issuer", "test registry"
    refresh_token = "a-refresh-token"

    def __init__(self, directory):
        self.key, self.certificate = make_key(directory, "token")
        self.log = []
        self.reset()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.realm = f"http://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self):
        self.post, self.field, self.lifetime, self.told = 200, "both", 300, 300
        self.anonymous = True
        self.log.clear()

    def answer(self, handler):
        query = urllib.parse.urlparse(handler.path).query
        if handler.command == "POST":
            query = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        form = urllib.parse.parse_qs(query)
        user, allowed = self.who(handler, form)
        status = 200 if allowed else 401
        if handler.command == "POST" and self.post != 200:
            status = self.post
        scope = " ".join(form.get("scope", []))
        self.log.append({"method": handler.command, "scope": scope, "user": user,
                         "service": form.get("service", [None])[0], "status": status,
                         "grant": form.get("grant_type", [None])[0]})
        value = {"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}
        if status == 200:
            value = self.token(scope, user)
        body = json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def who(self, handler, form):
        """-> (user or None, whether to answer)"""
        given = handler.headers.get("Authorization", "")
        if form.get("grant_type") == ["refresh_token"]:
            good = form.get("refresh_token") == [self.refresh_token]
            return (USER if good else None), good
        if given.startswith("Basic "):
            pair = base64.b64decode(given[6:]).decode().partition(":")[::2]
        elif "username" in form:
            pair = form["username"][0], form.get("password", [""])[0]
        else:
            return None, self.anonymous
        return pair[0], pair == (USER, PASSWORD)

    def token(self, scope, user):
        access = []
        for one in scope.split():
            kind, rest = one.split(":", 1)
            name, actions = rest.rsplit(":", 1)
            access.append({"type": kind, "name": name, "actions": [
                action for action in actions.split(",") if user or action == "pull"]})
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(
            line for line in self.certificate.read_text().splitlines() if "-----" not in line)]}
        body = {"iss": self.issuer, "sub": user or "", "aud": self.service, "nbf": now - 600,
                "iat": now, "exp": now + self.lifetime - LEEWAY, "jti": uuid.uuid4().hex,
                "access": access}
        text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
                        for part in (head, body))
        signature = openssl("dgst", "-sha256", "-sign", self.key, input=text.encode()).stdout
        text += "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        names = ["token", "access_token"] if self.field == "both" else [self.field]
        answer = {name: text for name in names}
        if self.told is not None:
            answer["expires_in"] = self.told
        return answer

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Registry:
    """docker-registry in a process of its own, in a directory of its own or that of another.
    tls: (key, certificate); basic: True asks for USER and PASSWORD; tokens: a TokenServer."""

    def __init__(self, directory, tls=None, basic=False, tokens=None, storage=None):
        self.directory, self.tls = Path(directory), tls
        self.directory.mkdir(parents=True, exist_ok=True)
        self.storage = Path(storage or self.directory / "storage")
        config = {"version": "0.1", "log": {"level": "error", "accesslog": {"disabled": True}},
                  "storage": {"filesystem": {"rootdirectory": str(self.storage)},
                              "delete": {"enabled": True},
                              "maintenance": {"uploadpurging": {"enabled": False}}}}
        if basic:
            (self.directory / "htpasswd").write_text(HTPASSWD + "\n")
            config["auth"] = {"htpasswd": {"realm": "test",
                                           "path": str(self.directory / "htpasswd")}}
        if tokens:
            config["auth"] = {"token": {"realm": tokens.realm, "service": tokens.service,
                                        "issuer": tokens.issuer,
                                        "rootcertbundle": str(tokens.certificate)}}
        self.config, self.process = config, None
        for _ in range(5):
            self.port = free_port()
            if self.start():
                return
        raise AssertionError((self.directory / "log").read_text())

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        """Also after stop(), on the same port."""
        self.config["http"] = {"addr": self.host, "secret": "none"}
        if self.tls:
            self.config["http"]["tls"] = {"key": str(self.tls[0]), "certificate": str(self.tls[1])}
        path = self.directory / "config.yml"
        path.write_text(json.dumps(self.config))  # YAML holds all of JSON
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen([*WITH_US, "docker-registry", "serve", path],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            start_new_session=True)
        environment.wait_until(lambda: listens(self.port) or self.process.poll() is not None,
                               step=0.02)
        return self.process.poll() is None

    def stop(self):
        """At once: as if the host had lost its power."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    close = stop

    def request(self, method, path, headers=None, body=None):
        """-> (status, headers, body); with the right name and password."""
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Accept": ACCEPT, **(headers or {})}
        if self.tls:
            link = http.client.HTTPSConnection(self.host, timeout=60,
                                               context=ssl._create_unverified_context())
        else:
            link = http.client.HTTPConnection(self.host, timeout=60)
        with contextlib.closing(link):
            link.request(method, path, body, headers)
            answer = link.getresponse()
            return answer.status, answer.headers, answer.read()

    # What stands there is read from its disk: it counts no request and needs no token.
    def repositories(self):
        top = self.storage / "docker/registry/v2/repositories"
        return sorted(str(p.parent.relative_to(top)) for p in top.rglob("_layers"))

    def tags(self, name):
        """{tag: digest}"""
        top = self.storage / "docker/registry/v2/repositories" / name / "_manifests/tags"
        found = {}
        for path in top.glob("*/current/link"):
            found[path.parts[-3]] = path.read_text().strip()
        return found

    def image_tags(self, name):
        """Tags but those that Tarn keeps for itself."""
        return {tag: digest for tag, digest in self.tags(name).items()
                if not tag.startswith(("tarn-layer-", "sha256-"))}

    def blob_path(self, digest):
        text = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / text[:2] / text / "data"

    def blob(self, digest):
        """Bytes of a blob or manifest."""
        return self.blob_path(digest).read_bytes()

    def blobs(self, name):
        """Digests that a repository holds."""
        top = self.storage / "docker/registry/v2/repositories" / name / "_layers/sha256"
        return {f"sha256:{path.parent.name}" for path in top.glob("*/link")}

    def manifests(self, name):
        """Digests of the manifests that a repository holds."""
        top = self.storage / "docker/registry/v2/repositories" / name / "_manifests/revisions"
        return {f"sha256:{path.parent.name}" for path in top.glob("sha256/*/link")}

    def forget(self, name):
        """Removes a repository; the blobs stay for others."""
        shutil.rmtree(self.storage / "docker/registry/v2/repositories" / name,
                      ignore_errors=True)


def skopeo(*words, check=True):
    done = subprocess.run(["skopeo", *map(str, words)], capture_output=True, text=True,
                          check=False, timeout=300)
    assert not check or done.returncode == 0, f"skopeo {words}: {done.stderr}"
    return done


def push(source, registry, name, *options):
    """Copies an image into a plain registry as it is, by skopeo."""
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", *options, source,
           f"docker://{registry.host}/{name}")


def write_login(directory, hosts, user=USER, password=PASSWORD, **more):
    """A config.json of docker's with one login for each host -> {DOCKER_CONFIG: directory}."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    value = {"auths": {host: {"auth": auth, **more} for host in hosts}}
    Path(directory, "config.json").write_text(json.dumps(value))
    return {"DOCKER_CONFIG": str(directory)}


class Containerd:
    """containerd with a root of its own, and no snapshotter but those that need no daemon."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="tarn-ctd-"))  # short, for the socket
        self.socket = self.directory / "s"
        config = self.directory / "config.toml"
        config.write_text(f"""version = 2
root = "{self.directory}/root"
state = "{self.directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.aufs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{self.socket}"
[ttrpc]
  address = "{self.socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{self.directory}/opt"
""")
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen([*WITH_US, "containerd", "-c", config], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        assert environment.wait_until(
            lambda: self.process.poll() is not None or self.ctr("version", check=False) == 0), \
            (self.directory / "log").read_text()
        assert self.process.poll() is None, (self.directory / "log").read_text()

    def ctr(self, *words, check=True):
        done = subprocess.run(["ctr", "-a", self.socket, *map(str, words)], capture_output=True,
                              text=True, check=False, timeout=300)
        assert not check or done.returncode == 0, f"ctr {words}: {done.stdout}{done.stderr}"
        return done.stdout if check else done.returncode

    def content(self):
        """Digests in its content store."""
        top = self.directory / "root/io.containerd.content.v1.content/blobs/sha256"
        return {f"sha256:{path.name}" for path in top.glob("*")}

    def blob(self, digest):
        top = self.directory / "root/io.containerd.content.v1.content/blobs"
        return (top / digest.replace(":", "/")).read_bytes()

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        environment.unmount_below(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)
