# SPDX-License-Identifier: Apache-2.0
"""What a conversion leaves at its destination: the original for all others, nothing half done."""
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import corner_cases
import environment
import images
import model
import mounts
import oci_layout
import pytest
import random_layers
import trees
from reader import check
from reader.image import Image
from tars import Tar


def run(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A source that takes a while: three layers, 36 MB that do not compress."""
    directory = tmp_path_factory.mktemp("large")
    layers, rng = [], random.Random(1)
    for number in range(3):
        tar = Tar()
        for i in range(12):
            tar.add(b"%d/%d" % (number, i), data=rng.randbytes(1 << 20))
        layers.append(tar)
    oci_layout.LayoutBuilder(directory / "source").image(layers, compression="")
    return f"oci:{directory}/source:latest"


def assert_clean(layout, tags=()):
    """No tag but these, no file that is not what its name says, no temporary file."""
    found = {tag for tag in oci_layout.tags(layout) if tag and not tag.startswith("tarn-layer-")}
    assert found == set(tags)
    assert_no_half_blob(layout)
    names = {str(p.relative_to(layout)) for p in Path(layout).rglob("*") if p.is_file()}
    odd = {n for n in names if not n.startswith("blobs/sha256/")} - {"oci-layout", "index.json"}
    assert not odd, f"left behind: {odd}"


def assert_no_half_blob(layout):
    for path in Path(layout).glob("blobs/sha256/*"):
        if len(path.name) == 64:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, f"half blob {path}"


def test_others_still_get_the_original(tarn, tmp_path):
    layers = corner_cases.layers(old="0.0")
    original = oci_layout.LayoutBuilder(tmp_path / "source").image(layers)
    tarn("convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:latest")
    for tool_name in (f"oci:{tmp_path}/out:latest", f"oci:{tmp_path}/source:latest"):
        raw = run("skopeo", "inspect", "--raw", tool_name)
        assert oci_layout.sha256(raw.encode()) == original["digest"]
    run("skopeo", "copy", f"oci:{tmp_path}/out:latest", f"oci:{tmp_path}/copy:latest")
    assert oci_layout.tags(tmp_path / "copy")["latest"]["digest"] == original["digest"]
    facts = json.loads(run("skopeo", "inspect", f"oci:{tmp_path}/out:latest"))
    assert len(facts["Layers"]) == len(layers)
    one = images.unpack_by_umoci(tmp_path / "source", "latest", tmp_path)
    two = images.unpack_by_umoci(tmp_path / "out", "latest", tmp_path)
    implicit = {path for path, (fields, _) in corner_cases.UMOCI.items() if fields == {"mtime"}}
    for path in implicit:  # the time of the unpacking
        one[path], two[path] = one[path].but(mtime=0), two[path].but(mtime=0)
    trees.assert_same(one, two)


def test_entries_of_the_index(tarn, tmp_path):
    original = oci_layout.LayoutBuilder(tmp_path / "source").image(random_layers.layers(1))
    tarn("convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    entries = json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"]
    entries = [e for e in entries if not e.get("annotations", {}).get(
        oci_layout.REF_NAME, "").startswith("tarn-layer-")]
    first, second = entries
    assert (first["digest"], first["size"]) == (original["digest"], original["size"])
    assert first["annotations"] == {oci_layout.REF_NAME: "t"} and "artifactType" not in first
    assert second["artifactType"] == "application/vnd.tarn.image.v1"
    assert second["platform"] == {"os": "unknown", "architecture": "unknown"}
    assert second["annotations"] == {"dev.tarn.subject": original["digest"],
                                     "dev.tarn.platform": f"linux/{oci_layout.ARCH}"}
    manifest = oci_layout.read_json(tmp_path / "out", second)
    assert manifest["subject"]["digest"] == original["digest"]
    source = oci_layout.read_json(tmp_path / "source", original)
    for blob in [original, source["config"], *source["layers"]]:
        name = Path("blobs", *blob["digest"].split(":"))
        assert (tmp_path / "source" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_replace(tarn, tmp_path):
    layers = random_layers.layers(2)
    oci_layout.LayoutBuilder(tmp_path / "source").image(layers)
    tarn("convert", "--replace", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    read = Image(f"oci:{tmp_path}/out:t")
    check.check(read)
    assert read.entry is None
    assert oci_layout.tags(tmp_path / "out")["t"]["digest"] == read.descriptor["digest"]
    assert tarn("digest", f"oci:{tmp_path}/out:t").text.split()[0] == model.expected(layers)[1]


def test_other_images_stay(tarn, tmp_path):
    layout = oci_layout.LayoutBuilder(tmp_path / "out")
    other = layout.image(random_layers.layers(3), name="other")
    oci_layout.LayoutBuilder(tmp_path / "source").image(random_layers.layers(4))
    tarn("convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:new")
    tarn("convert", f"oci:{tmp_path}/out:other", f"oci:{tmp_path}/out:other")
    tarn("convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:newer")
    assert oci_layout.tags(tmp_path / "out")["other"]["digest"] == other["digest"]
    for tag in ("other", "new", "newer"):
        check.check(Image(f"oci:{tmp_path}/out:{tag}"))


def test_no_layer_tags(tarn, tmp_path):
    oci_layout.LayoutBuilder(tmp_path / "source").image(random_layers.layers(5))
    tarn("convert", "--no-layer-tags", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    assert [t for t in oci_layout.tags(tmp_path / "out") if t] == ["t"]


def referenced(layout):
    """Digests of all that index.json leads to."""
    found, wanted = set(), json.loads((layout / "index.json").read_bytes())["manifests"]
    while wanted:
        descriptor = wanted.pop()
        if descriptor["digest"] in found:
            continue
        found.add(descriptor["digest"])
        if "manifest" in descriptor["mediaType"] or "index" in descriptor["mediaType"]:
            document = oci_layout.read_json(layout, descriptor)
            wanted += document.get("manifests", []) + document.get("layers", [])
            wanted += [document[key] for key in ("config", "subject") if key in document]
    return found


def test_nothing_superfluous_stays(tarn, tmp_path):
    """Neither notes of layers nor blobs of a dict that no chunk refers to."""
    for number in range(2):
        oci_layout.LayoutBuilder(tmp_path / f"source-{number}").image(
            random_layers.layers(50 + number))
    tarn("convert", f"oci:{tmp_path}/source-0:latest", f"oci:{tmp_path}/dict:t")
    for number, words in enumerate(((), ("--dict", f"oci:{tmp_path}/dict:t"))):
        tarn("convert", *words, f"oci:{tmp_path}/source-{number}:latest",
             f"oci:{tmp_path}/out:{number}")
        there = {f"sha256:{path.name}" for path in tmp_path.glob("out/blobs/sha256/*")}
        assert there == referenced(tmp_path / "out")


def test_layers_of_a_failed_run_stay_for_its_next_try(tarn, tmp_path):
    """Also when other images are published meanwhile."""
    layers = random_layers.layers(6)
    good = oci_layout.LayoutBuilder(tmp_path / "good").image(layers)
    bad = images.copy_layout(tmp_path / "good", tmp_path / "bad")
    last = oci_layout.read_json(bad, good)["layers"][-1]
    Path(bad, "blobs", *last["digest"].split(":")).write_bytes(bytes(last["size"]))
    tarn.fails("wrong digest|damaged", "convert", f"oci:{bad}:latest", f"oci:{tmp_path}/out:t")
    oci_layout.LayoutBuilder(tmp_path / "other").image(random_layers.layers(7))
    tarn("convert", f"oci:{tmp_path}/other:latest", f"oci:{tmp_path}/out:other")
    summary = tarn.json("convert", f"oci:{tmp_path}/good:latest", f"oci:{tmp_path}/out:t")
    assert summary["layers_reused"] == len(layers) - 1
    notes = [x for x in json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
             if "dev.tarn.key" in x.get("annotations", {})]
    assert notes == []


def test_a_damaged_destination_is_made_whole(tarn, tmp_path):
    """What a conversion writes replaces what stands there, whose size may be right and its bytes wrong."""
    oci_layout.LayoutBuilder(tmp_path / "source").image(random_layers.layers(8))
    tarn("convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    entry = Image(f"oci:{tmp_path}/out:t").descriptor
    manifest = oci_layout.read_json(tmp_path / "out", entry)
    made = [entry, manifest["config"], *manifest["layers"]]
    paths = [Path(tmp_path, "out/blobs", *d["digest"].split(":")) for d in made]
    good = [path.read_bytes() for path in paths]
    for path, data in zip(paths, good, strict=True):
        path.write_bytes(bytes(len(data)))
    tarn("convert", "--no-reuse", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    assert [path.read_bytes() for path in paths] == good
    tarn("check", f"oci:{tmp_path}/out:t")


def test_a_damaged_archive_is_made_whole(tarn, tmp_path):
    oci_layout.LayoutBuilder(tmp_path / "source").image(random_layers.layers(8))
    tarn("convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    manifest = oci_layout.read_json(tmp_path / "out", Image(f"oci:{tmp_path}/out:t").descriptor)
    blob = manifest["layers"][0]["digest"].split(":")[1]
    archive = tmp_path / "out.tar"
    tarn("convert", f"oci:{tmp_path}/source:latest", f"oci-archive:{archive}:t")
    good = archive.read_bytes()
    at = good.index(f"blobs/sha256/{blob}".encode()) + 600
    archive.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
    tarn("convert", "--no-reuse", f"oci:{tmp_path}/source:latest", f"oci-archive:{archive}:t")
    assert archive.read_bytes() == good


def test_an_archive_keeps_no_notes(tarn, tmp_path):
    """Nobody looks for them, since it holds the image too."""
    oci_layout.LayoutBuilder(tmp_path / "source").image(random_layers.layers(9))
    archives = []
    for number, words in enumerate(((), ("--no-layer-tags",))):
        path = tmp_path / f"{number}.tar"
        tarn("convert", *words, f"oci:{tmp_path}/source:latest", f"oci-archive:{path}:t")
        archives.append(path.read_bytes())
    assert archives[0] == archives[1]


def test_an_interrupt_while_the_original_is_copied(tarn, tmp_path):
    """The copy goes to the destination by a way of its own, beside the work on the layers, which level 19
    makes long; its last 4 MB wait for the end of that."""
    source, layers = tmp_path / "source", []
    for size in 2, 2, 6:
        layers.append(Tar())
        layers[-1].add(b"file", data=random.Random(size).randbytes(size << 20))
    oci_layout.LayoutBuilder(source).image(layers, compression="")
    running = tarn.start("convert", "--no-layer-tags", "--level", 19, f"oci:{source}:latest",
                         f"oci:{tmp_path}/out:t")
    there = [tmp_path / "out" / path.relative_to(source) for path in source.glob("blobs/sha256/*")]
    assert environment.wait_until(lambda: any(path.exists() for path in there), 60, 0.001)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1 and b"interrupted" in errors, errors
    assert not (tmp_path / "out").exists(), list((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("kind", ("oci", "oci-archive"))
def test_an_interrupted_export(tarn, tmp_path, large, kind):
    """The first layer is done, the others are not."""
    tarn("convert", "--quiet", "--replace", large, f"oci:{tmp_path}/image:t")
    place = tmp_path / "place"
    place.mkdir()
    running = tarn.start("export", f"oci:{tmp_path}/image:t", f"{kind}:{place}/out:t")
    assert environment.wait_until(lambda: [p for p in place.rglob("*") if len(p.name) == 64], 60, 0.001)
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1 and b"interrupted" in errors, errors
    assert not list(place.iterdir())


def test_two_at_once(tarn, tmp_path):
    running = []
    for number in range(4):
        source = tmp_path / f"source-{number}"
        oci_layout.LayoutBuilder(source).image(random_layers.layers(40 + number) * 3)
        running.append(tarn.start("convert", "--quiet", f"oci:{source}:latest",
                                  f"oci:{tmp_path}/out:t{number}"))
    for one in running:
        _, errors = one.communicate(timeout=300)
        assert one.returncode == 0, errors
    for number in range(4):
        check.check(Image(f"oci:{tmp_path}/out:t{number}"))


@pytest.fixture(scope="module")
def duration(large, session_tarn, tmp_path_factory):
    """How long the conversion of large takes, and the layout that it makes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    started = time.monotonic()
    session_tarn("convert", "--quiet", large, f"oci:{out}:t")
    return time.monotonic() - started, images.file_digests(out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", [0.02, 0.2, 0.5, 0.8])
def test_interrupted(large, duration, tarn, tmp_path, number, moment):
    duration, whole = duration
    running = tarn.start("convert", "--quiet", large, f"oci:{tmp_path}/out:t")
    time.sleep(moment * duration)
    running.send_signal(number)
    _, errors = running.communicate(timeout=300)
    out = tmp_path / "out"
    if running.returncode != 0:
        if number == signal.SIGKILL:
            assert_no_half_blob(out)
            if "t" in oci_layout.tags(out):  # the last that is written; the program was about to end
                tarn("check", f"oci:{out}:t")
        elif out.exists():  # else it may have come before the program could say a word
            assert running.returncode > 0 and errors, "no word about the interruption"
            assert_clean(out)
    summary = tarn.json("convert", large, f"oci:{tmp_path}/out:t")
    assert whole.items() <= images.file_digests(out).items()
    assert_clean(out, {"t"})
    assert summary["layers"] == 3


def test_a_rerun_takes_what_is_there(large, tarn, tmp_path):
    tarn("convert", "--quiet", large, f"oci:{tmp_path}/out:t")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")
             if path.is_file() and path.stat().st_size > 1 << 20}
    assert len(times) == 6  # the layers; small ones are written again, which mends damaged ones
    summary = tarn.json("convert", large, f"oci:{tmp_path}/out:again")
    assert summary["layers_reused"] == 3
    assert times.items() <= {path: path.stat().st_mtime_ns
                             for path in (tmp_path / "out").rglob("*")}.items()


def test_destination_full(large, tarn, tmp_path):
    with mounts.Mounted("tmpfs", "tmpfs", tmp_path / "small", "size=54m"):
        out = tmp_path / "small" / "out"
        tarn.fails("No space left on device", "convert", large, f"oci:{out}:t")
        if out.exists():
            assert_clean(out)
        subprocess.run(["mount", "-o", "remount,size=200m", tmp_path / "small"], check=True)
        tarn("convert", large, f"oci:{out}:t")
        assert_clean(out, {"t"})
        check.check(Image(f"oci:{out}:t"), 1 << 20)


@pytest.mark.parametrize("kind", ("oci", "oci-archive"))
def test_limit_of_file_sizes(tarn, tmp_path, kind):
    """An error like a full disk, not a signal that kills."""
    tar = Tar()
    tar.add(b"file", data=random.Random(1).randbytes(3 << 20))
    oci_layout.LayoutBuilder(tmp_path / "source").image([tar])
    (tmp_path / "place").mkdir()
    for limit in 1 << 16, (3 << 20) + 512:  # the spool, the blob with its metadata
        tarn.fails("File too large", "convert", f"oci:{tmp_path}/source:latest",
                   f"{kind}:{tmp_path}/place/out:t", preexec_fn=lambda limit=limit:
                   resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert not list((tmp_path / "place").iterdir())


def test_full_disk_keeps_the_old_tag(large, tarn, tmp_path):
    with mounts.Mounted("tmpfs", "tmpfs", tmp_path / "small", "size=30m"):
        out = tmp_path / "small" / "out"
        oci_layout.LayoutBuilder(tmp_path / "source").image(random_layers.layers(6))
        tarn("convert", f"oci:{tmp_path}/source:latest", f"oci:{out}:t")
        before = oci_layout.tags(out)["t"]
        tarn.fails("No space left on device", "convert", large, f"oci:{out}:t")
        assert oci_layout.tags(out)["t"] == before
        check.check(Image(f"oci:{out}:t"))


@pytest.mark.parametrize("kind", ("oci", "oci-archive"))
def test_read_only_destination(tarn, tmp_path, kind):
    with mounts.Mounted("tmpfs", "tmpfs", tmp_path / "small", "ro"):
        tarn.fails(f"{kind}:.*: Read-only file system", "convert", "dir:/usr/share/doc/base-files",
                   f"{kind}:{tmp_path}/small/out:t")


def test_no_room_for_the_spool(large, tarn, tmp_path):
    with mounts.Mounted("tmpfs", "tmpfs", tmp_path / "small", "size=10m") as small:
        tarn.fails("TMPDIR", "convert", large, f"oci:{tmp_path}/out:t", env={"TMPDIR": small})
        assert os.listdir(small) == []
    if (tmp_path / "out").exists():
        assert_clean(tmp_path / "out")


def test_archive_is_whole_or_not_there(large, tarn, tmp_path):
    running = tarn.start("convert", "--quiet", large, f"oci-archive:{tmp_path}/out.tar:t")
    environment.wait_until(lambda: any(tmp_path.glob("*out.tar*")), 5)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=300)
    if running.returncode != 0:
        assert not (tmp_path / "out.tar").exists()
        assert [p.name for p in tmp_path.iterdir() if p.name != "root"] == []


def test_source_is_not_touched(corner):
    layers = corner_cases.layers()
    again = corner.directory / "source-again"
    oci_layout.LayoutBuilder(again).image(layers)
    assert images.file_digests(again) == images.file_digests(corner.directory / "source")


def test_digests_of_what_is_published(image):
    assert_no_half_blob(image.layout)
