# SPDX-License-Identifier: Apache-2.0
"""Who one is, and whom one trusts: tokens, passwords, certificates, redirects."""
import base64
import http.server
import ssl
import threading
import time

import bad_server
import daemon_help
import pytest
import registries
import registry_help as help_
from registry_help import content, plain_layer, published

NAME = "access/image"


@pytest.fixture(scope="module")
def source(registry, tmp_path_factory):
    return help_.make_source(tmp_path_factory.mktemp("access"), registry, "access/source",
                             [plain_layer(51, 6), plain_layer(52, 3)])


@pytest.fixture(scope="module")
def made(source, session_tarn, registry):
    session_tarn("convert", source.at(registry), f"docker://{registry.host}/{NAME}:t")
    return published(registry, NAME)


@pytest.fixture
def login(tmp_path, tarn):
    """login(server, ...): credentials for this server in docker's configuration."""
    def login(*servers, **more):
        tarn.environ.update(registries.write_login(tmp_path / "docker",
                                                   [one.host for one in servers], **more))
    return login


@pytest.fixture
def target(registry, request):
    name = help_.repository_name("access", request)
    yield name
    registry.forget(name)


def right(place, seed=51, number=0):
    assert (place / f"d{seed}/f{number}").read_bytes() == content(seed, number)
    return True


def everything(tarn, source, server, name, place, *options):
    """Pull, push and mount at a server."""
    image = f"docker://{server.host}/{name}:t"
    tarn("convert", *options, f"docker://{server.host}/{source.name}:t", image)
    tarn("check", *options, image)
    tarn("mount", *options, image, place)
    assert right(place)


# --- passwords --------------------------------------------------------------------------------------

def test_basic(tarn, source, basic_registry, login, target, place):
    login(basic_registry)
    everything(tarn, source, basic_registry, target, place)


def test_basic_in_the_home_directory(tarn, made, basic_registry, tmp_path):
    registries.write_login(tmp_path / "home/.docker", [basic_registry.host])
    tarn.environ.pop("DOCKER_CONFIG", None)
    tarn("digest", f"docker://{basic_registry.host}/{NAME}:t",
         env={"HOME": str(tmp_path / "home")})


@pytest.mark.parametrize("kind", ["none", "wrong"])
@pytest.mark.parametrize("server", ["basic_registry", "token_registry"])
def test_refused(tarn, made, token_server, login, target, request, kind, server):
    token_server.anonymous = False
    server = request.getfixturevalue(server)
    if kind == "wrong":
        login(server, password="wrong")
    done = tarn.fails(r"login", "digest", f"docker://{server.host}/{NAME}:t")
    assert f"{server.host}" in done.stderr and NAME in done.stderr, done.stderr
    tarn.fails("login", "convert", f"docker://{server.host}/{NAME}:t",
               f"docker://{server.host}/{target}:t")


def test_password_changed_while_mounted(tarn, made, bad, login, place):
    """The daemon reads the configuration again when it is refused."""
    login(bad)
    basic = base64.b64encode(f"{registries.USER}:{registries.PASSWORD}".encode()).decode()
    bad.login = f"Basic {basic}"
    tarn("mount", f"docker://{bad.host}/{NAME}:t", place)
    bad.login = "Basic " + base64.b64encode(b"tester:new").decode()
    assert help_.read_errno(place / "d51/f1") != 0
    login(bad, password="new")
    assert right(place, number=1)


def test_login_while_mounted(tarn, made, bad, login, place):
    """A registry that wants credentials from now on gets those of a login after the mount."""
    login()
    tarn("mount", f"docker://{bad.host}/{NAME}:t", place)
    basic = base64.b64encode(f"{registries.USER}:{registries.PASSWORD}".encode()).decode()
    bad.login = f"Basic {basic}"
    assert help_.read_errno(place / "d51/f1") != 0
    login(bad)
    assert right(place, number=1)


# --- tokens -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("post, field", [(200, "both"), (200, "access_token"), (404, "token"),
                                         (405, "both"), (400, "access_token"), (401, "token")])
def test_tokens(tarn, source, token_registry, token_server, login, target, place, post, field):
    token_server.post, token_server.field = post, field
    token_server.anonymous = False
    login(token_registry)
    everything(tarn, source, token_registry, target, place)
    good = [entry for entry in token_server.log if entry["status"] == 200]
    assert {entry["method"] for entry in good} == {"POST" if post == 200 else "GET"}
    assert {entry["service"] for entry in good} == {token_server.service}
    assert any(entry["scope"] == f"repository:{target}:pull,push" or
               set(entry["scope"].split(":")[-1].split(",")) >= {"pull", "push"} for entry in good)
    assert len(good) <= 12, "tokens are kept"


def test_anonymous_tokens(tarn, made, token_registry, token_server, place):
    tarn("mount", f"docker://{token_registry.host}/{NAME}:t", place)
    assert right(place)
    assert {entry["user"] for entry in token_server.log} == {None}


def test_identity_token(tarn, made, token_registry, token_server, login):
    token_server.anonymous = False
    login(token_registry, user="00000000-0000-0000-0000-000000000000", password="",
          identitytoken=token_server.refresh_token)
    tarn("digest", f"docker://{token_registry.host}/{NAME}:t")
    assert "refresh_token" in {entry["grant"] for entry in token_server.log}


class Gate(bad_server.BadServer):
    """Before the registry that asks for tokens: takes those no more that it saw until end(), which
    comes by itself with the upload of that number, or the next one, whose token is refused then."""

    def __init__(self, registry):
        super().__init__(registry.port)
        self.seen, self.ended, self.end_at = set(), set(), None
        self.uploads_refused = 0  # whatever the registry says to the body that it does not want
        self.fail(self.pass_on, "/v2/", "GET HEAD POST PATCH PUT")

    def end(self):
        self.ended |= self.seen

    def pass_on(self, exchange):
        token = exchange.headers.get("authorization")
        self.seen.add(token)
        upload = "/uploads/" in exchange.path and exchange.method in ("PATCH", "PUT")
        if upload and self.end_at and len(self.requests("/uploads/", "PATCH PUT")) >= self.end_at:
            self.end_at = None
            self.end()
        self.uploads_refused += upload and token in self.ended
        exchange.send(exchange.forward(authorization=None if token in self.ended else token))

    def refusals(self, *which):
        return [r for r in self.requests(*which) if r["status"] == 401 and r["authorization"]]


@pytest.fixture
def gate(token_registry):
    one = Gate(token_registry)
    yield one
    one.close()


@pytest.mark.threads
@pytest.mark.parametrize("told", [2, 3600])
def test_tokens_that_end(tarn, made, gate, token_server, login, place, told):
    """Short-lived ones, said to be so or not: renewed before they end, or when they are refused."""
    token_server.anonymous, token_server.told = False, told
    login(gate)
    tarn("mount", f"docker://{gate.host}/{NAME}:t", place)
    assert right(place, 51)
    before = len(token_server.log)
    if told == 2:
        time.sleep(2.1)
    else:
        gate.end()
    assert right(place, 52)
    assert len(token_server.log) > before, "the old token still works"
    assert bool(gate.refusals()) == (told != 2)
    assert daemon_help.stats(tarn)["read_errors"] == 0


def test_tokens_end_while_pushing(tarn, registry, token_registry, token_server, gate, login, target,
                                  tmp_path):
    large = help_.make_source(tmp_path, registry, "access/large",
                              [plain_layer(53, 4, 1 << 20), plain_layer(54, 4, 1 << 20)],
                              compression="")
    login(gate, token_registry)
    gate.end_at = 3
    tarn("convert", f"oci:{large.layout}:latest", f"docker://{gate.host}/{target}:t")
    assert gate.uploads_refused, "no token ended on the way"
    tarn("check", "--quick", f"docker://{token_registry.host}/{target}:t")


def test_401_in_the_middle(tarn, made, bad, place):
    tarn("mount", f"docker://{bad.host}/{NAME}:t", place)
    bad.fail(bad_server.status(401), "/blobs/", times=1)
    assert help_.read_errno(place / "d51/f0") in (0, 5)
    assert right(place)


# --- certificates ----------------------------------------------------------------------------------------

def test_tls(tarn, source, tls_registry, authority, login, target, place):
    login(tls_registry)
    everything(tarn, source, tls_registry, target, place, "--ca", authority.ca)


def test_tls_unchecked(tarn, source, tls_registry, login, target, place):
    login(tls_registry)
    everything(tarn, source, tls_registry, target, place, "--insecure")


def test_tls_not_trusted(tarn, made, tls_registry, login, tmp_path, place):
    login(tls_registry)
    other = registries.Authority(tmp_path, "other")
    image = f"docker://{tls_registry.host}/{NAME}:t"
    for words in ([], ["--ca", other.ca]):
        for command in (["digest", *words, image], ["mount", *words, image, place]):
            done = tarn.fails("certificate", *command)
            assert "--ca" in done.stderr and tls_registry.host in done.stderr, done.stderr
    tarn.fails("nothing-here", "digest", "--ca", "/nothing-here", image)


def test_tls_wrong_name(tarn, made, registry, authority, login, tmp_path):
    one = registries.Registry(tmp_path / "named", storage=registry.storage,
                              tls=authority.server("DNS:other.example", "named"))
    try:
        tarn.fails("certificate|name", "digest", "--ca", authority.ca,
                   f"docker://{one.host}/{NAME}:t")
        tarn("digest", "--insecure", f"docker://{one.host}/{NAME}:t")
    finally:
        one.close()


@pytest.mark.threads
def test_tls_first_when_unchecked(tarn, made, registry, authority):
    """A server on this host that closes the connection when it gets no TLS; and one that knows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*reversed(authority.server("IP:127.0.0.1", "closing")))
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        tarn.fails("https://.*HTTP status 501", "digest", "--insecure", "--timeout", "60",
                   f"docker://127.0.0.1:{server.server_port}/{NAME}:t")
    finally:
        server.shutdown()
        server.server_close()
    tarn("digest", "--insecure", f"docker://{registry.host}/{NAME}:t")


def test_no_plain_http_beyond_loopback(tarn):
    """Not even asked: no such address answers, and https is what the message names."""
    done = tarn.fails("198.51.100.7", "digest", "--timeout", "1", "docker://198.51.100.7:1/a/b:t",
                      timeout=300)
    assert "http://198" not in done.stderr


def test_localhost_by_name(tarn, made, registry):
    tarn("digest", f"localhost:{registry.port}/{NAME}:t")
    tarn("digest", "--plain-http", f"localhost:{registry.port}/{NAME}:t")


# --- redirects ----------------------------------------------------------------------------------------------

@pytest.fixture
def store(registry):
    """Another host, which holds the same blobs."""
    one = bad_server.BadServer(registry.port)
    yield one
    one.close()


def test_redirects_keep_the_password(tarn, made, bad, store, login, place):
    """Blobs lie on another host, which must not see it."""
    login(bad)
    basic = base64.b64encode(f"{registries.USER}:{registries.PASSWORD}".encode()).decode()
    bad.login = f"Basic {basic}"

    def to_the_store(exchange):
        if exchange.headers.get("authorization") != bad.login:
            exchange.send(bad_server.Answer(401, {"WWW-Authenticate": bad.challenge}))
        else:
            bad_server.redirect(store.host)(exchange)
    bad.fail(to_the_store, "/blobs/", "GET HEAD")
    image = f"docker://{bad.host}/{NAME}:t"
    tarn("check", image)
    tarn("mount", image, place)
    assert right(place) and store.log
    assert not [r for r in store.log if r["authorization"]], "Authorization went to another host"
    assert all("cookie" not in r["headers"] for r in store.log)


def test_challenges_in_several_headers(tarn, made, bad, login):
    """Not only the last of them counts."""
    login(bad)
    basic = base64.b64encode(f"{registries.USER}:{registries.PASSWORD}".encode()).decode()

    def ask(exchange):
        if exchange.headers.get("authorization") == f"Basic {basic}":
            exchange.send(exchange.forward(authorization=None))
        else:
            exchange.send(bad_server.Answer(401, {"WWW-Authenticate": 'Basic realm="x"',
                                                  "Www-authenticate": "Negotiate"}))
    bad.fail(ask, "/v2/", "GET HEAD")
    tarn("digest", f"docker://{bad.host}/{NAME}:t")


def test_redirect_that_ends(tarn, made, bad, store, place):
    """A signed URL that is taken no more: asked for anew."""
    bad.fail(bad_server.redirect(store.host, query="?signature=1"), "/blobs/", "GET HEAD")
    tarn("mount", f"docker://{bad.host}/{NAME}:t", place)
    assert right(place)
    asked = len(bad.requests("/blobs/"))
    store.fail(bad_server.status(403), "/blobs/", times=1)
    assert right(place, 52, 1)
    assert len(bad.requests("/blobs/")) >= asked + 2
    assert daemon_help.stats(tarn)["read_errors"] == 0


def test_relative_locations(tarn, source, bad, target, registry):
    bad.fail(bad_server.relative_location(), "/uploads/", "POST PATCH")
    bad.fail(bad_server.redirect(), "/blobs/sha256", "GET HEAD")
    tarn("convert", f"docker://{bad.host}/{source.name}:t", f"docker://{bad.host}/{target}:t")
    tarn("check", f"docker://{registry.host}/{target}:t")


@pytest.mark.parametrize("code, path, method", [
    (201, "/uploads/$", "POST"), (201, "/uploads/", "PATCH"), (204, "/uploads/", "PATCH"),
    (202, "/uploads/", "PUT"), (200, "/manifests/", "PUT")])
def test_other_statuses(tarn, source, bad, target, registry, code, path, method):
    """Registries that take one success for another."""
    bad.fail(bad_server.other_status(code), path, method)
    tarn("convert", source.at(registry), f"docker://{bad.host}/{target}:t")
    tarn("check", f"docker://{registry.host}/{target}:t")


@pytest.mark.parametrize("fault, path, method", [
    (bad_server.status(500), "/uploads/", "PATCH"), (bad_server.drop(), "/uploads/", "PATCH"),
    (bad_server.status(503, {"Retry-After": "1"}), "/uploads/", "POST"),
    (bad_server.status(429, {"Retry-After": "1"}), "/manifests/", "PUT"),
    (bad_server.drop(), "/manifests/", "PUT"), (bad_server.drop(), "/uploads/", "PUT"),
    (bad_server.hang_up(), "/uploads/", "PUT PATCH POST"),
    (bad_server.status(500), "/blobs/sha256", "HEAD")])
def test_pushes_are_repeated(tarn, source, bad, target, registry, fault, path, method):
    rule = bad.fail(fault, path, method, times=2)
    tarn("convert", source.at(registry), f"docker://{bad.host}/{target}:t")
    assert rule.hits or method == "PATCH"
    made = published(registry, target)
    tarn("check", f"docker://{registry.host}/{target}:t")
    assert made.original["digest"] == source.digest


def test_no_mount_across_repositories(tarn, source, bad, target, registry):
    """A registry that answers every mount by an upload."""
    def upload(exchange):
        exchange.path = exchange.path.partition("?")[0]
        exchange.send(exchange.forward())
    rule = bad.fail(upload, r"/uploads/\?.*mount=", "POST")
    tarn("convert", f"docker://{bad.host}/{source.name}:t", f"docker://{bad.host}/{target}:t")
    assert rule.hits
    assert source.blobs <= registry.blobs(target)
    tarn("check", f"docker://{registry.host}/{target}:t")


def test_wrong_bodies_are_not_converted(tarn, source, bad, target, registry):
    bad.fail(bad_server.corrupt(500), "/blobs/sha256")
    tarn.fails("digest|sha256", "convert", "--timeout", "5", f"docker://{bad.host}/{source.name}:t",
               f"docker://{registry.host}/{target}:t")
    help_.assert_no_image(registry, target)
