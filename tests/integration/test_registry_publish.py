# SPDX-License-Identifier: Apache-2.0
"""docker:// as source and destination of a conversion, at a real registry."""
import json
import signal
import subprocess

import bad_server
import environment
import images
import mounts
import oci_layout
import pytest
import registries
import registry_help as help_
from registry_help import blob_requests, content, plain_layer, published, uploads


@pytest.fixture(scope="module")
def source(registry, tmp_path_factory):
    """Three small layers."""
    return help_.make_source(tmp_path_factory.mktemp("small"), registry, "publish/source",
                             [plain_layer(1, 5), plain_layer(2, 4), plain_layer(3, 3)])


@pytest.fixture(scope="module")
def large(registry, tmp_path_factory):
    """Three layers that take a while, the second one larger than what goes up in one request."""
    layers = [plain_layer(4, 2, 1 << 20), plain_layer(5, 10, 1 << 20), plain_layer(6, 2, 1 << 20)]
    return help_.make_source(tmp_path_factory.mktemp("large"), registry, "publish/large", layers,
                             compression="")


@pytest.fixture
def target(registry, request):
    """A repository name of the test's own."""
    name = help_.repository_name("publish", request)
    yield name
    registry.forget(name)


@pytest.fixture(scope="module")
def converted(source, session_tarn, registry):
    """The name of a converted copy that no test changes."""
    session_tarn("convert", source.at(registry), f"docker://{registry.host}/publish/converted:t")
    return published(registry, "publish/converted")


def layout_of(tarn, source, directory):
    """The same image converted into a layout."""
    tarn("convert", "--quiet", f"oci:{source.layout}:latest", f"oci:{directory}/local:t")
    return directory / "local"


def check_against_layout(registry, made, layout):
    """Every blob and document at the registry is the one that the layout got."""
    digests = [made.entry["digest"], made.manifest["config"]["digest"], *made.blobs]
    for digest in digests:
        path = layout / "blobs" / digest.replace(":", "/")
        assert registry.blob(digest) == path.read_bytes(), digest


# --- pushing and pulling -------------------------------------------------------------------------

def test_the_same_bytes_as_in_a_layout(converted, source, tarn, registry, tmp_path):
    check_against_layout(registry, converted, layout_of(tarn, source, tmp_path))
    assert [x["mediaType"] for x in converted.manifest["layers"][:-1]] == [help_.BLOB] * 3
    assert converted.manifest["subject"]["digest"] == source.digest


def test_large_blobs_in_pieces(tarn, line, registry, target, tmp_path):
    """More than 32 MiB are never one request, however far the converter is ahead of the line."""
    size = 33 << 20
    huge = help_.make_source(tmp_path, registry, "publish/huge", [plain_layer(7, 33, 1 << 20)],
                             compression="")
    tarn("convert", huge.at(registry), f"docker://{line.host}/{target}:t")
    made = published(registry, target)
    check_against_layout(registry, made, layout_of(tarn, huge, tmp_path))
    pieces = {}
    for r in uploads(line.log()):
        pieces.setdefault(r["path"].partition("?")[0], []).append(r["sent"])
    most = max(pieces.values(), key=sum)
    assert sum(most) >= size and len(most) > 1, pieces


def test_connections_are_kept(source, tarn, line, target):
    tarn("convert", source.at(line), f"docker://{line.host}/{target}:t")
    stats = line.stats()
    assert stats["requests"] > 2 * stats["connections"] and stats["connections"] <= 32, stats
    line.reset()
    tarn("check", f"docker://{line.host}/{target}:t")
    stats = line.stats()
    assert stats["requests"] >= 8 and stats["connections"] <= stats["requests"] / 2, stats


def test_from_registry_to_layout_and_back(source, tarn, registry, target, tmp_path):
    tarn("convert", source.at(registry), f"oci:{tmp_path}/out:t")
    tarn("convert", f"oci:{source.layout}:latest", f"docker://{registry.host}/{target}:t")
    check_against_layout(registry, published(registry, target), tmp_path / "out")
    tarn("convert", source.at(registry), f"oci-archive:{tmp_path}/out.tar:t")
    tarn("convert", f"oci-archive:{tmp_path}/out.tar:t", f"docker://{registry.host}/{target}:u")
    assert published(registry, target, "u").entry["digest"] == \
        published(registry, target).entry["digest"]


def test_by_digest(source, tarn, registry, target):
    tarn("convert", f"docker://{registry.host}/{source.name}@{source.digest}",
         f"docker://{registry.host}/{target}:t")
    made = published(registry, target)
    assert made.original["digest"] == source.digest
    digest = registry.tags(target)["t"]
    assert tarn("digest", f"docker://{registry.host}/{target}@{digest}").text == \
        tarn("digest", f"docker://{registry.host}/{target}:t").text


def test_what_is_not_there(tarn, registry, source):
    for words, message in ((f"{source.name}:none", "none"), ("publish/nothing:t", "nothing")):
        tarn.fails(f"{message}(.|\n)*(no|not|404)", "inspect", f"docker://{registry.host}/{words}")


@pytest.mark.parametrize("kind", ["docker://{host}/{name}:t", "{host}/{name}:t", "oci-archive"])
def test_every_command(converted, source, tarn, registry, tmp_path, place, kind):
    layout = layout_of(tarn, source, tmp_path)
    image = kind.format(host=registry.host, name=converted.name)
    if kind == "oci-archive":
        image = f"oci-archive:{tmp_path}/a.tar:t"
        tarn("convert", source.at(registry), image)
    same = f"oci:{layout}:t"
    assert tarn("ls", "-lR", image).text == tarn("ls", "-lR", same).text
    assert tarn("cat", image, "/d2/f1").stdout == content(2, 1)
    assert tarn("digest", image).text.split()[0] == tarn("digest", same).text.split()[0]
    for part in ("tree_digest", "blobs", "slots"):
        assert tarn.json("inspect", image)[part] == tarn.json("inspect", same)[part]
    tarn("check", image)
    tarn("check", "--quick", image)
    tarn("export", image, f"oci:{tmp_path}/back:t")
    assert images.unpack_by_umoci(tmp_path / "back", "t", tmp_path) == \
        images.unpack_by_umoci(source.layout, "latest", tmp_path)
    tarn("mount", image, place)
    assert (place / "d3/f2").read_bytes() == content(3, 2)


def test_export_to_a_registry(converted, tarn, registry, target, tmp_path):
    tarn("export", f"docker://{registry.host}/{converted.name}:t",
         f"docker://{registry.host}/{target}:t")
    registries.skopeo("copy", "--src-tls-verify=false", f"docker://{registry.host}/{target}:t",
                      f"oci:{tmp_path}/back:t")
    assert tarn("digest", f"oci:{tmp_path}/back:t").text.split()[0] == \
        tarn("digest", f"docker://{registry.host}/{converted.name}:t").text.split()[0]


# --- reuse ------------------------------------------------------------------------------------------

def test_nothing_moves_twice(source, tarn, line, registry, target):
    words = ["convert", source.at(line), f"docker://{line.host}/{target}:t"]
    tarn(*words)
    before = published(registry, target)
    line.reset()
    assert tarn.json(*words)["layers_reused"] == 3
    log = line.log()
    layers = {layer["digest"] for layer in source.manifest["layers"]}
    assert not blob_requests(log, layers), "the original's layers were downloaded again"
    assert sum(r["received"] for r in blob_requests(log, set(before.blobs[:-1]))) < sum(
        len(registry.blob(digest)) for digest in before.blobs[:-1]) / 4, "more than metadata"
    assert sum(r["sent"] for r in uploads(log)) == 0, "something was pushed again"
    assert published(registry, target) == before


def test_reuse_from_layer_tags(source, tarn, line, registry, target):
    """Another tag, and the first one gone: only the one-layer manifests are left."""
    tarn("convert", source.at(line), f"docker://{line.host}/{target}:t")
    registry.request("DELETE", f"/v2/{target}/manifests/{registry.tags(target)['t']}")
    assert not registry.image_tags(target)
    line.reset()
    assert tarn.json("convert", source.at(line),
                     f"docker://{line.host}/{target}:u")["layers_reused"] == 3
    assert not blob_requests(line.log(), source.blobs - {source.manifest["config"]["digest"]})
    tarn("check", f"docker://{line.host}/{target}:u")


def test_changed_top_layer(source, tarn, line, registry, target, tmp_path):
    tarn("convert", source.at(line), f"docker://{line.host}/{target}:t")
    next_ = help_.make_source(tmp_path, registry, f"{target}-source",
                              [plain_layer(1, 5), plain_layer(2, 4), plain_layer(7, 2)])
    line.reset()
    summary = tarn.json("convert", next_.at(line), f"docker://{line.host}/{target}:t")
    assert (summary["layers"], summary["layers_reused"]) == (3, 2)
    log, made = line.log(), published(registry, target)
    *lower, top = (layer["digest"] for layer in next_.manifest["layers"])
    assert not blob_requests(log, set(lower)) and blob_requests(log, {top})
    new = sum(len(registry.blob(digest)) for digest in made.blobs[2:])  # the layer, the bootstrap
    config = len(registry.blob(made.manifest["config"]["digest"]))
    sent = sum(r["sent"] for r in uploads(log))
    assert new <= sent <= new + config + len(registry.blob(top)) + 10000, \
        "the top layer, and the original's copy of it, are all that moves"
    tarn("check", f"docker://{line.host}/{target}:t")


def test_no_layer_tags(source, tarn, registry, target):
    tarn("convert", "--no-layer-tags", source.at(registry), f"docker://{registry.host}/{target}:t")
    assert set(registry.tags(target)) == {"t"}


def test_no_reuse(source, tarn, line, registry, target):
    tarn("convert", source.at(line), f"docker://{line.host}/{target}:t")
    line.reset()
    summary = tarn.json("convert", "--no-reuse", source.at(line),
                        f"docker://{line.host}/{target}:t")
    assert summary["layers_reused"] == 0
    assert blob_requests(line.log(), {layer["digest"] for layer in source.manifest["layers"]})


def test_goes_on_after_a_kill(large, tarn, bad, registry, target):
    """Killed when layers have their tags and the image has none."""
    bad.fail(bad_server.mute(), "/manifests/t$", "PUT")
    name = f"docker://{bad.host}/{target}:t"
    running = tarn.start("convert", "--quiet", large.at(bad), name)
    tagged = environment.wait_until(
        lambda: any(tag.startswith("tarn-layer-") for tag in registry.tags(target)), step=0.01)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert tagged and running.returncode == -signal.SIGKILL
    help_.assert_no_image(registry, target)
    bad.clear()
    summary = tarn.json("convert", large.at(bad), name)
    assert summary["layers_reused"] >= 1
    tarn("check", name)


# --- publishing -------------------------------------------------------------------------------------

def test_entries_of_the_index(converted, source, registry):
    index = converted.index
    assert index["mediaType"] == oci_layout.INDEX and len(index["manifests"]) == 2
    assert converted.original["digest"] == source.digest
    assert converted.original["mediaType"] == oci_layout.MANIFEST
    assert "artifactType" not in converted.original
    assert converted.entry["artifactType"] == help_.TARN_IMAGE
    assert converted.entry["platform"] == {"os": "unknown", "architecture": "unknown"}
    assert converted.entry["annotations"] == {"dev.tarn.subject": source.digest,
                                              "dev.tarn.platform": f"linux/{oci_layout.ARCH}"}
    assert converted.manifest["artifactType"] == help_.TARN_IMAGE
    assert registry.blob(source.digest) == (registry.blob(converted.original["digest"]))


def test_replace(source, tarn, registry, target):
    tarn("convert", "--replace", source.at(registry), f"docker://{registry.host}/{target}:t")
    manifest = json.loads(registry.blob(registry.tags(target)["t"]))
    assert manifest["artifactType"] == help_.TARN_IMAGE
    tarn("check", f"docker://{registry.host}/{target}:t")


def test_referrer(source, tarn, registry, target, place):
    registries.push(f"oci:{source.layout}:latest", registry, f"{target}:t")
    name = f"docker://{registry.host}/{target}:t"
    tarn("convert", "--referrer", name, name)
    assert registry.image_tags(target) == {"t": source.digest}
    tag = "sha256-" + source.digest.removeprefix("sha256:")
    index = json.loads(registry.blob(registry.tags(target)[tag]))
    (entry,) = index["manifests"]
    assert entry["artifactType"] == help_.TARN_IMAGE
    manifest = json.loads(registry.blob(entry["digest"]))
    assert manifest["subject"]["digest"] == source.digest
    tarn("check", name)
    tarn("mount", name, place)
    assert (place / "d1/f0").read_bytes() == content(1, 0)


def test_referrer_keeps_others(source, tarn, registry, target):
    """A signature's entry in the referrers tag stays."""
    registries.push(f"oci:{source.layout}:latest", registry, f"{target}:t")
    other = {"mediaType": oci_layout.MANIFEST, "digest": source.digest,
             "size": source.descriptor["size"], "artifactType": "application/x.signature",
             "annotations": {"x": "\u00e9"}}
    body = json.dumps({"schemaVersion": 2, "mediaType": oci_layout.INDEX, "manifests": [other]})
    tag = "sha256-" + source.digest.removeprefix("sha256:")
    status, _, _ = registry.request("PUT", f"/v2/{target}/manifests/{tag}",
                                    {"Content-Type": oci_layout.INDEX}, body)
    assert status == 201
    name = f"docker://{registry.host}/{target}:t"
    for _ in range(2):
        tarn("convert", "--referrer", name, name)
        index = json.loads(registry.blob(registry.tags(target)[tag]))
        assert index["manifests"][0] == other and len(index["manifests"]) == 2


def test_several_platforms(tarn, registry, target, tmp_path):
    builder = oci_layout.LayoutBuilder(tmp_path / "source")
    entries = [(builder.manifest([builder.layer(plain_layer(20 + i, 2))], os_arch=("linux", arch)),
                ("linux", arch)) for i, arch in enumerate(("amd64", "arm64"))]
    builder.tag(builder.index(entries))
    registries.push(f"oci:{tmp_path}/source:latest", registry, f"{target}:t")
    name = f"docker://{registry.host}/{target}:t"
    tarn("convert", "--all-platforms", name, name)
    index = json.loads(registry.blob(registry.tags(target)["t"]))
    assert [x["digest"] for x in index["manifests"][:2]] == [x[0]["digest"] for x in entries]
    assert [x["artifactType"] for x in index["manifests"][2:]] == [help_.TARN_IMAGE] * 2
    for i, arch in enumerate(("amd64", "arm64")):
        assert tarn("cat", "--platform", f"linux/{arch}", name, f"/d{20 + i}/f1").stdout == \
            content(20 + i, 1)
    # What was converted before is converted anew elsewhere; the other Tarn images stay where they are.
    other = f"{target}/other"
    tarn("convert", "--all-platforms", "--level", "1", name, f"docker://{registry.host}/{other}:t")
    moved = json.loads(registry.blob(registry.tags(other)["t"]))
    assert moved["manifests"][:2] == index["manifests"][:2]
    there = registry.manifests(other)
    assert {x["digest"] for x in moved["manifests"]} <= there
    assert not {x["digest"] for x in index["manifests"][2:]} & there
    registry.forget(other)


def test_other_clients_get_the_original(converted, source, line, containerd, tmp_path):
    name = f"{line.host}/{converted.name}:t"
    raw = registries.skopeo("copy", "--src-tls-verify=false", f"docker://{name}",
                            f"oci:{tmp_path}/out:t")
    assert raw.returncode == 0
    assert oci_layout.tags(tmp_path / "out")["t"]["digest"] == source.digest
    seen = registries.skopeo("inspect", "--tls-verify=false", f"docker://{name}").stdout
    assert json.loads(seen)["Layers"] == [x["digest"] for x in source.manifest["layers"]]
    tree = images.unpack_by_umoci(tmp_path / "out", "t", tmp_path)
    assert tree[b"d2/f1"].size == help_.SIZE
    containerd.ctr("images", "pull", "--plain-http", "--snapshotter", "native", name)
    assert source.blobs | {source.digest} <= containerd.content()
    for digest in source.blobs | {source.digest}:
        assert containerd.blob(digest) == converted.registry.blob(digest)
    assert not containerd.content() & set(converted.blobs)
    assert not blob_requests(line.log(), set(converted.blobs), "GET HEAD")


def test_mounts_across_repositories(source, tarn, line, registry, target):
    tarn("convert", source.at(line), f"docker://{line.host}/{target}:t")
    log = line.log()
    mounted = [r for r in log if r["method"] == "POST" and "mount=" in r["path"]]
    assert {r["status"] for r in mounted} == {201} and len(mounted) >= 3
    originals = sum(layer["size"] for layer in source.manifest["layers"])
    made = published(registry, target)
    tarns = sum(len(registry.blob(digest)) for digest in made.blobs)
    assert sum(r["sent"] for r in uploads(log)) < tarns + originals / 2, "originals were pushed"
    assert source.blobs <= registry.blobs(target)


def test_copies_to_another_registry(source, tarn, registry, tmp_path):
    other = registries.Registry(tmp_path / "other")
    try:
        tarn("convert", source.at(registry), f"docker://{other.host}/a/b:t")
        for digest in source.blobs | {source.digest}:
            assert other.blob(digest) == registry.blob(digest)
        tarn("check", f"docker://{other.host}/a/b:t")
    finally:
        other.close()


def test_children_before_parents(source, tarn, line, target):
    tarn("convert", source.at(line), f"docker://{line.host}/{target}:t")
    puts = [r["path"].rpartition("/")[2] for r in line.log()
            if r["method"] == "PUT" and "/manifests/" in r["path"]]
    assert puts[-1] == "t" and "t" not in puts[:-1]
    times = [i for i, r in enumerate(line.log()) if r["method"] == "PUT" and "/blobs/" in r["path"]]
    last = max(i for i, r in enumerate(line.log()) if r["path"].endswith("/manifests/t"))
    assert max(times) < last


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("after", [1 << 20, 9 << 20])
def test_interrupted(large, tarn, line, registry, target, number, after):
    line.set(stall_after=after)
    name = f"docker://{line.host}/{target}:t"
    running = tarn.start("convert", "--quiet", large.at(registry), name)
    assert environment.wait_until(lambda: line.stats()["stall"])
    running.send_signal(number)
    _, errors = running.communicate(timeout=300)
    assert running.returncode != 0
    assert number == signal.SIGKILL or errors, "no word about the interruption"
    help_.assert_no_image(registry, target)


@pytest.mark.parametrize("method, path", [("GET", "/manifests/"), ("GET", "/blobs/"),
                                          ("HEAD", "/blobs/"),
                                          pytest.param("PUT PATCH", "/uploads/",
                                                       marks=pytest.mark.threads),
                                          ("PUT", "/manifests/sha256")])
def test_interrupted_while_nothing_comes(source, tarn, bad, registry, target, method, path):
    """A registry that is silent keeps nobody from ending the conversion."""
    bad.fail(bad_server.mute(), path, method)
    running = tarn.start("convert", "--quiet", "--timeout", "600",
                         f"docker://{bad.host}/{source.name}:t", f"docker://{bad.host}/{target}:t")
    assert environment.wait_until(lambda: bad.requests(path, method))
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=200)  # the silence lasts longer
    assert running.returncode > 0 and b"interrupted" in errors, errors
    bad.clear()
    help_.assert_no_image(registry, target)


def test_registry_goes_away(large, source, tarn, line, registry, target):
    """In the middle of a push: no tag, the message says where, and the old image stays."""
    name = f"docker://{line.host}/{target}:t"
    tarn("convert", source.at(registry), name)
    before = published(registry, target)
    line.set(down_after=4 << 20)
    new = f"docker://{line.host}/{target}:new"
    done = tarn.fails(f"{line.host}/v2/{target}", "convert", "--timeout", "3", large.at(registry),
                      new)
    assert "--timeout" in done.stderr, "no remedy"
    tarn.fails(line.host, "convert", "--timeout", "3", large.at(registry), name)
    assert set(registry.image_tags(target)) == {"t"} and published(registry, target) == before
    line.set(down=0)
    assert tarn.json("convert", large.at(registry), new)["layers"] == 3
    tarn("check", "--quick", new)


def test_short_outage_of_a_push(large, tarn, line, registry, target):
    """The registry away for a second is only a wait."""
    name = f"docker://{line.host}/{target}:t"
    line.set(down_after=6 << 20)
    running = tarn.start("convert", "--quiet", "--timeout", "100", large.at(registry), name)
    assert environment.wait_until(lambda: line.stats()["down"])
    assert running.poll() is None
    line.set(down=0)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    tarn("check", name)


def test_registry_full(large, tarn, tmp_path):
    with mounts.Mounted("tmpfs", "tmpfs", tmp_path / "small", "size=18m") as small:
        full = registries.Registry(tmp_path / "full", storage=small)
        try:
            name = f"docker://{full.host}/full/image:t"
            tarn.fails(f"{full.host}(.|\n)*(500|507|No space|unknown)", "convert", "--timeout", "3",
                       f"oci:{large.layout}:latest", name)
            help_.assert_no_image(full, "full/image")
            subprocess.run(["mount", "-o", "remount,size=400m", small], check=True)
            tarn("convert", f"oci:{large.layout}:latest", name)
            tarn("check", "--quick", name)
        finally:
            full.close()


def test_no_room_for_the_spool(large, tarn, registry, target, tmp_path):
    with mounts.Mounted("tmpfs", "tmpfs", tmp_path / "small", "size=6m") as small:
        tarn.fails("TMPDIR", "convert", large.at(registry),
                   f"docker://{registry.host}/{target}:t", env={"TMPDIR": small})
    help_.assert_no_image(registry, target)
