# SPDX-License-Identifier: Apache-2.0
"""The servers that the tests of registries stand on, seen by other clients: skopeo, curl, ctr."""
import gzip
import json
import random
import subprocess
import time

import bad_server
import corner_cases
import oci_layout
import pytest
import registries
from tars import Tar

NAME = "servers/image"


def curl(*words, check=True):
    done = subprocess.run(["curl", "-sS", "--max-time", "60", *map(str, words)],
                          capture_output=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done if not check else done.stdout


def plain_layer(seed, files):
    """Files of noise: nothing that another client takes otherwise."""
    tar = Tar()
    tar.directory(b"d%d" % seed)
    for i in range(files):
        tar.add(b"d%d/f%d" % (seed, i), data=corner_cases.noise(50000, 100 * seed + i))
    return tar


@pytest.fixture(scope="module")
def layout(tmp_path_factory, registry):
    """An image that stands at the registry too, as NAME:t -> (layout, manifest's descriptor)."""
    path = tmp_path_factory.mktemp("servers") / "source"
    builder = oci_layout.LayoutBuilder(path)
    made = builder.image([plain_layer(1, 4), plain_layer(2, 2)])
    registries.push(f"oci:{path}:latest", registry, f"{NAME}:t")
    return path, made


@pytest.fixture(scope="module")
def blob(layout):
    """Its largest layer -> (URL below a host, bytes)."""
    path, made = layout
    layer = max(oci_layout.read_json(path, made)["layers"], key=lambda one: one["size"])
    data = (path / "blobs" / layer["digest"].replace(":", "/")).read_bytes()
    return f"/v2/{NAME}/blobs/{layer['digest']}", data


def test_registry(registry, layout):
    _, made = layout
    assert registry.tags(NAME) == registry.image_tags(NAME) == {"t": made["digest"]}
    assert NAME in registry.repositories() and made["digest"] in registry.manifests(NAME)
    status, headers, body = registry.request("GET", f"/v2/{NAME}/manifests/t")
    assert (status, headers["Docker-Content-Digest"]) == (200, made["digest"])
    assert body == registry.blob(made["digest"])


def test_registry_comes_back(tmp_path):
    one = registries.Registry(tmp_path)
    assert one.request("GET", "/v2/")[0] == 200
    one.stop()
    assert not registries.listens(one.port)
    one.start()
    assert one.request("GET", "/v2/")[0] == 200
    one.close()


def test_tls_and_basic(tls_registry, authority, layout, tmp_path):
    url = f"https://{tls_registry.host}/v2/{NAME}/manifests/t"
    login = f"{registries.USER}:{registries.PASSWORD}"
    accept = ["-H", f"Accept: {registries.ACCEPT}"]
    assert b"UNAUTHORIZED" in curl("--cacert", authority.ca, url)
    got = curl("--cacert", authority.ca, "-u", login, *accept, "-w", "%{http_version}", url)
    assert got[-1:] == b"2" and oci_layout.sha256(got[:-1]) == layout[1]["digest"]
    other = registries.Authority(tmp_path, "other")
    assert curl("--cacert", other.ca, url, check=False).returncode == 60


@pytest.mark.parametrize("post", [200, 404])
def test_tokens(token_registry, token_server, layout, tmp_path, post):
    token_server.post = post
    words = ["--src-tls-verify=false", f"docker://{token_registry.host}/{NAME}:t"]
    registries.skopeo("copy", *words, f"oci:{tmp_path}/out:t")
    assert oci_layout.tags(tmp_path / "out")["t"]["digest"] == layout[1]["digest"]
    assert token_server.log and token_server.log[0]["scope"].startswith(f"repository:{NAME}:")
    token_server.anonymous = False
    wrong = registries.skopeo("copy", *words, "--src-creds", "no:body",
                              f"oci:{tmp_path}/wrong:t", check=False)
    assert wrong.returncode != 0


def test_tokens_end(token_registry, token_server, layout):
    """By what the token says: no test waits for an end."""
    url = f"http://{token_registry.host}/v2/{NAME}/blobs/{layout[1]['digest']}"
    scope = f"repository:{NAME}:pull"
    for lifetime, ended in ((300, False), (-5, True)):
        token_server.lifetime = lifetime
        answer = curl(f"{token_server.realm}?service=test+registry&scope={scope}")
        header = f"Authorization: Bearer {json.loads(answer)['token']}"
        code = curl("-o", "/dev/null", "-w", "%{http_code}", "-H", header, url)
        assert (code == b"401") == ended, (lifetime, code)


def test_line(line, blob):
    path, data = blob
    url = f"http://{line.host}{path}"
    assert curl(url) == data
    assert curl("-r", "100-299", url, url) == data[100:300] * 2
    log = line.log()
    assert [(r["method"], r["path"], r["range"], r["status"], r["received"], r["whole"])
            for r in log] == [("GET", path, None, 200, len(data), True),
                              *[("GET", path, "bytes=100-299", 206, 200, True)] * 2]
    assert log[1]["connection"] == log[2]["connection"] != log[0]["connection"]
    stats = line.stats()
    assert (stats["connections"], stats["requests"]) == (2, 3)
    assert len(data) + 400 < stats["down_bytes"] < len(data) + 4000


def test_line_is_slow(line, blob):
    path, data = blob
    line.set(rtt=30, mbit=8)
    started = time.monotonic()
    assert curl("-r", "0-99999", f"http://{line.host}{path}") == data[:100000]
    assert time.monotonic() - started >= 0.06 + 0.1
    line.set(rtt=30, mbit=0, slow_start=1)
    started = time.monotonic()
    assert curl("-r", "0-99999", f"http://{line.host}{path}") == data[:100000]
    assert time.monotonic() - started >= 0.06 + 2 * 0.03


def test_line_goes_down(line, blob):
    path, data = blob
    url = f"http://{line.host}{path}"
    line.set(down=1)
    assert curl(url, check=False).returncode == 7
    line.set(down=0)
    assert curl(url) == data
    line.set(stall=1)
    assert curl("--max-time", "0.5", url, check=False).returncode == 28
    line.set(stall=0)
    assert curl(url) == data
    line.set(down_after=10)
    assert curl(url, check=False).returncode in (52, 56)
    assert curl(url, check=False).returncode == 7
    line.set(down=0)
    assert curl(url) == data


def test_line_takes_pushes(line, registry, tmp_path):
    """A new image each time: skopeo remembers which host had which blob, and mounts it."""
    seed = random.SystemRandom().randrange(1 << 30)
    made = oci_layout.LayoutBuilder(tmp_path / "new").image([plain_layer(seed, 4)])
    registries.push(f"oci:{tmp_path}/new:latest", line, "servers/pushed:t")
    assert registry.tags("servers/pushed")["t"] == made["digest"]
    sent = sum(r["sent"] for r in line.log() if r["method"] in ("PATCH", "PUT", "POST"))
    layers = oci_layout.read_json(tmp_path / "new", made)["layers"]
    assert sent >= sum(one["size"] for one in layers) > 100000, line.log()


def test_bad_server_behaves(bad, layout, tmp_path):
    registries.skopeo("copy", "--src-tls-verify=false", f"docker://{bad.host}/{NAME}:t",
                      f"oci:{tmp_path}/out:t")
    assert oci_layout.tags(tmp_path / "out")["t"]["digest"] == layout[1]["digest"]
    registries.push(f"oci:{layout[0]}:latest", bad, "servers/bad:t")
    assert bad.requests(method="PATCH PUT")


FAULTS = {
    "status": (bad_server.status(503, {"Retry-After": "1"}), [], lambda got, data: b"TEST" in got),
    "trickle": (bad_server.trickle(50000, 0.01), [], lambda got, data: got == data),
    "hang up": (bad_server.hang_up(), [], lambda got, data: got == data),
    "corrupt": (bad_server.corrupt(5), [],
                lambda got, data: got[:5] == data[:5] and got[5] != data[5] and got[6:] == data[6:]),
    "whole": (bad_server.whole(), ["-r", "5-8"], lambda got, data: got == data),
    "short": (bad_server.short_range(3), ["-r", "5-8"], lambda got, data: got == data[5:8]),
    "other": (bad_server.other_range(10), ["-r", "5-8"], lambda got, data: got == data[15:19]),
    "gzip": (bad_server.gzipped(), [], lambda got, data: gzip.decompress(got) == data),
    "chunked": (bad_server.chunked(), [], lambda got, data: got == data),
    "moved": (bad_server.redirect(), ["-L"], lambda got, data: got == data),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(bad, blob, name):
    fault, words, right = FAULTS[name]
    bad.fail(fault, "/blobs/", times=1)
    assert right(curl(*words, f"http://{bad.host}{blob[0]}"), blob[1])
    assert curl(f"http://{bad.host}{blob[0]}") == blob[1]


@pytest.mark.parametrize("fault, patience, code", [
    (bad_server.stall(100), 0.3, 28), (bad_server.mute(), 0.3, 28), (bad_server.cut(100), 60, 18),
    (bad_server.drop(), 60, 52), (bad_server.endless(), 0.3, 28),
    (bad_server.endless(length=1 << 40), 0.3, 28)])
def test_faults_that_end_a_transfer(bad, blob, fault, patience, code):
    bad.fail(fault, "/blobs/")
    url = f"http://{bad.host}{blob[0]}"
    assert curl("-o", "/dev/null", "--max-time", patience, url, check=False).returncode == code


def test_headers_of_faults(bad, blob):
    url = f"http://{bad.host}{blob[0]}"
    bad.fail(bad_server.header("Docker-Content-Digest", "sha256:" + "0" * 64), "/blobs/", times=1)
    assert b"sha256:0000" in curl("-D", "-", "-o", "/dev/null", url)
    bad.fail(bad_server.relative_location(), "/uploads/", "POST")
    assert b"\r\nLocation: /v2/" in curl("-D", "-", "-X", "POST",
                                         f"http://{bad.host}/v2/{NAME}/blobs/uploads/")


def test_login_and_another_host(bad, registry, blob):
    store = bad_server.BadServer(registry.port)
    bad.login = "Basic dTpw"
    bad.fail(bad_server.redirect(store.host), "/blobs/", skip=1, times=1)
    url = f"http://{bad.host}{blob[0]}"
    assert curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "GET", url) in (b"401", b"307")
    assert curl("-L", "-u", "u:p", url) == blob[1]
    assert [r["status"] for r in bad.requests("/blobs/")] == [401, 307]
    assert [r["authorization"] for r in store.log] == [None]
    store.close()


def test_bad_server_goes_down(bad, blob):
    url = f"http://{bad.host}{blob[0]}"
    bad.down()
    assert curl(url, check=False).returncode == 7
    bad.up()
    assert curl(url) == blob[1]


def test_containerd(containerd, registry, layout):
    _, made = layout
    containerd.ctr("images", "pull", "--plain-http", "--snapshotter", "native",
                   f"{registry.host}/{NAME}:t")
    assert made["digest"] in containerd.content()
    assert containerd.blob(made["digest"]) == registry.blob(made["digest"])
