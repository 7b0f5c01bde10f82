# SPDX-License-Identifier: Apache-2.0
"""A converted image, looked at in every way that there is: by the reader, by the kernel, by FUSE
and by the tarn command. Each must show what the layers say."""
import hashlib
import os
import re
import stat
import subprocess

import corner_cases
import images
import model
import oci_layout
import pytest
import random_layers
import trees
from reader import check, tree
from tars import Tar, header

TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink",
         stat.S_IFIFO: "fifo", stat.S_IFCHR: "character-device", stat.S_IFBLK: "block-device"}


def test_every_rule_of_the_format(image):
    check.check(image.read, 2 << 20)


def test_tree_digest_is_the_models(corner):
    assert "sha256:" + corner.read.bootstrap.tree_digest.hex() == corner.digest


def test_tree_in_blobs(image):
    trees.assert_same(image.expected, images.entries_by_blobs(image.read))


def test_tree_in_bootstrap(image):
    trees.assert_same(image.expected, images.entries_by_bootstrap(image.read))


def test_mounted_by_the_kernel(image, place):
    image.mount_by_kernel(place)
    trees.assert_same(image.expected, trees.scan(place))
    trees.check_listings(place)


def test_mounted_by_tarn(image, tarn, place):
    tarn("mount", image.converted, place)
    trees.assert_same(image.expected, trees.scan(place))
    trees.check_listings(place)
    tarn("umount", place)
    assert not os.path.ismount(place)


def test_fsck_has_nothing_to_say(image, tmp_path):
    files = images.write_files(image.read, image.directory / "files")
    words = ["fsck.erofs", f"--extract={tmp_path}/out", "--overwrite",
             *(f"--device={device}" for device in files[1:]), files[0]]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = trees.scan(tmp_path / "out")
    assert found.keys() == image.expected.keys()
    plain = {b"/".join(names) for names, inode in tree.walk(image.read.root)
             if inode.content is None or inode.content.kind == tree.PLAIN}
    for path in plain:  # erofs-utils 1.5 writes files that end in a hole too short
        want, got = image.expected[path], found[path]
        assert (got.sha256, got.target) == (want.sha256, want.target), path


def test_digest_of_source_and_of_result(image, tarn):
    digest = "sha256:" + image.read.bootstrap.tree_digest.hex()
    assert tarn("digest", image.converted).text.split()[0] == digest
    assert tarn("digest", image.source).text.split()[0] == digest
    assert digest in tarn("digest", "--json", image.converted).text


def value_of(entry, key):
    """A string of --json that may not have been UTF-8."""
    if key in entry:
        return entry[key].encode("utf-8")
    return bytes.fromhex(entry[key + "_hex"]) if key + "_hex" in entry else b""


def test_ls_lists_all(image, tarn):
    listed = {value_of(entry, "path"): entry for entry in tarn.json("ls", "-lR", image.converted)}
    expected = {path: entry for path, entry in image.expected.items() if path}
    assert listed.keys() == expected.keys()
    for path, want in expected.items():
        got = listed[path]
        assert got["type"] == TYPES[stat.S_IFMT(want.mode)], path
        assert got["mode"] == stat.S_IMODE(want.mode), path
        assert (got["uid"], got["gid"]) == (want.uid, want.gid), path
        assert got["mtime"] * 10**9 + got["mtime_ns"] == want.mtime, path
        assert got.get("size", 0) == (want.size if got["type"] == "file" else 0), path
        assert value_of(got, "target") == want.target, path
        assert (got.get("major", 0), got.get("minor", 0)) == want.device, path
        assert len(got.get("xattrs", {})) == len(want.xattrs), path
    lines = tarn("ls", "-R", image.converted).stdout
    assert all(path + b"\n" in lines for path in expected)


def test_ls_of_one_directory(corner, tarn):
    names = tarn("ls", corner.converted, "/names/-d").stdout
    assert names == b"names/-d/!\nnames/-d/-x\nnames/-d/" + b"n" * 255 + b"\n"
    tarn.fails("no-such", "ls", corner.converted, "/names/no-such")


def test_cat(image, tarn):
    files = [path for path, entry in image.expected.items() if stat.S_ISREG(entry.mode)]
    odd = [path for path in files if b"names/" in path or b"q/" in path and b"/d/" not in path]
    large = sorted(files, key=lambda path: image.expected[path].size)[-3:]
    for path in [*files[::len(files) // 10], *large, *odd[:20]]:
        done = tarn("cat", image.converted, b"/" + path)
        assert hashlib.sha256(done.stdout).hexdigest() == image.expected[path].sha256, path
    tarn.fails("no-such", "cat", image.converted, "/no-such")


def test_inspect(image, tarn):
    facts = tarn.json("inspect", image.converted)
    boot = image.read.bootstrap
    assert facts["tree_digest"] == "sha256:" + boot.tree_digest.hex()
    assert [(s["slot"], s["blob"]) for s in facts["slots"]] == [
        (slot, "sha256:" + boot.blobs[index].digest.hex())
        for slot, index in sorted(boot.by_slot.items())]
    assert [b["digest"] for b in facts["blobs"]] == [
        "sha256:" + blob.digest.hex() for blob in boot.blobs]
    text = tarn("inspect", image.converted).text
    assert all(blob.digest.hex() in text for blob in boot.blobs)


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_locales(corner, tarn, tmp_path, locale):
    tarn("convert", corner.source, f"oci:{tmp_path}/out:t", env={"LC_ALL": locale})
    digest = tarn("digest", f"oci:{tmp_path}/out:t", env={"LC_ALL": locale}).text.split()[0]
    assert digest == corner.digest


@pytest.mark.parametrize("docker, compression", [
    *((False, name) for name in oci_layout.COMPRESS),
    *((True, name) for name in ("", "gzip", "gzip members"))])
def test_compressions(tarn, tmp_path, docker, compression):
    layers = random_layers.layers(7)
    layout = oci_layout.LayoutBuilder(tmp_path / "source")
    layout.image(layers, compression=compression, docker=docker)
    tarn("convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    assert tarn("digest", f"oci:{tmp_path}/out:t").text.split()[0] == model.expected(layers)[1]


def test_platforms(tarn, tmp_path):
    layout = oci_layout.LayoutBuilder(tmp_path / "source")
    digests, entries = {}, []
    for number, arch in enumerate(("amd64", "arm64", "s390x")):
        layers = random_layers.layers(20 + number)
        made = layout.manifest([layout.layer(tar) for tar in layers], os_arch=("linux", arch))
        entries.append((made, ("linux", arch)))
        digests[arch] = model.expected(layers)[1]
    layout.tag(layout.index(entries))
    source, out = f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out"
    tarn("convert", source, f"{out}:here")
    assert tarn("digest", f"{out}:here").text.split()[0] == digests[oci_layout.ARCH]
    tarn("convert", "--platform", "linux/s390x", source, f"{out}:one")
    assert tarn("digest", "--platform", "linux/s390x", f"{out}:one").text.split()[0] == \
        digests["s390x"]
    tarn("convert", "--all-platforms", source, f"{out}:all")
    for arch, digest in digests.items():
        assert tarn("digest", "--platform", f"linux/{arch}", f"{out}:all").text.split()[0] == digest
    tarn.fails("linux/riscv64", "convert", "--platform", "linux/riscv64", source, f"{out}:none")


def test_layers_from_tar_files(tarn, tmp_path):
    layers = random_layers.layers(33)
    words = []
    for number, tar in enumerate(layers):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(oci_layout.gzipped(bytes(tar)) if number % 2 else bytes(tar))
        words += ["--layer", f"tar:{path}"]
    tarn("convert", *words, f"oci:{tmp_path}/out:t")
    assert tarn("digest", f"oci:{tmp_path}/out:t").text.split()[0] == model.expected(layers)[1]


def test_archives(tarn, tmp_path):
    layers = random_layers.layers(34)
    oci_layout.LayoutBuilder(tmp_path / "source").image(layers)
    subprocess.run(["tar", "-C", tmp_path / "source", "-cf", tmp_path / "source.tar", "."],
                   check=True)
    tarn("convert", f"oci-archive:{tmp_path}/source.tar:latest",
         f"oci-archive:{tmp_path}/out.tar:t")
    digest = model.expected(layers)[1]
    assert tarn("digest", f"oci-archive:{tmp_path}/out.tar:t").text.split()[0] == digest
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "out", "-xf", tmp_path / "out.tar"], check=True)
    read = images.reader_image.Image(f"oci:{tmp_path}/out:t")
    check.check(read)


def test_summary(tarn, tmp_path):
    """--json: what the reader counts."""
    oci_layout.LayoutBuilder(tmp_path / "source").image(random_layers.layers(35))
    facts = tarn.json("convert", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    read = images.reader_image.Image(f"oci:{tmp_path}/out:t")
    rows = [row for layer in read.layers for row in layer.own.rows[:-1]]
    assert facts["layers"] == len(read.layers) and facts["layers_reused"] == 0
    assert facts["chunks"] == len(rows)
    assert facts["references"] == sum(row.kind == "reference" for row in rows)
    assert facts["runs"] == sum(row.first for row in rows)
    assert facts["blob_bytes"] == sum(blob.layer.size for blob in read.blobs)
    source = oci_layout.read_json(tmp_path / "source",
                                  oci_layout.tags(tmp_path / "source")["latest"])
    assert facts["bytes_in"] == sum(layer["size"] for layer in source["layers"])
    assert facts["bytes_out"] >= facts["blob_bytes"] and facts["seconds"] >= 0
    assert facts["unique_bytes"] == sum(row.length for row in rows if row.kind == "stored")
    assert facts["tree_digest"] == read.manifest.tree_digest


def test_progress_on_a_terminal_and_elsewhere(corner, tarn, tmp_path):
    words = [str(tarn.program), "convert", corner.source, f"oci:{tmp_path}/one:t"]
    main, terminal = os.openpty()
    running = subprocess.Popen(words, env=tarn.environ, stderr=terminal, stdout=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        shown += data
        if not data:
            break
    os.close(main)
    assert running.wait() == 0 and b"\r" in shown and b"MB" in shown
    done = tarn("convert", corner.source, f"oci:{tmp_path}/two:t")
    assert "\r" not in done.stderr + done.text and "tree" in done.text
    assert "%" not in done.stderr, "a small one needs no lines"
    assert tarn("convert", "--quiet", corner.source, f"oci:{tmp_path}/three:t").stdout == b""


def test_progress_of_a_large_image(tarn, tmp_path):
    """A line for each 25 MB where no terminal is, to the end."""
    with open(tmp_path / "layer.tar", "wb") as file:
        file.write(header(b"zeros", size=60_000_256))
        file.truncate(512 + 60_000_256 + 1024)
    words = ("convert", f"tar:{tmp_path}/layer.tar")
    shown = re.findall(r"^tarn: +(\d+)%  ([\d.]+) of 60.0 MB", tarn(
        *words, f"oci:{tmp_path}/one:t").stderr, re.M)
    assert [float(done) // 25 for _, done in shown] == [1, 2] and shown[-1][0] == "100"
    assert tarn(*words, "--quiet", f"oci:{tmp_path}/two:t").stderr == ""


def test_dict(tarn, tmp_path):
    """Chunks of another image are referred to, its blobs become layers of the result."""
    common = corner_cases.noise(3 << 20, 77)
    one, two = Tar(), Tar()
    one.add(b"first", data=common[:2 << 20])
    one.add(b"second", data=common[2 << 20:])
    two.add(b"other", data=corner_cases.noise(1 << 20, 78) + common[100:])
    for name, tar in (("one", one), ("two", two)):
        oci_layout.LayoutBuilder(tmp_path / name).image([tar])
    tarn("convert", f"oci:{tmp_path}/one:latest", f"oci:{tmp_path}/out:one")
    summary = tarn.json("convert", "--dict", f"oci:{tmp_path}/out:one",
                        f"oci:{tmp_path}/two:latest", f"oci:{tmp_path}/out:two")
    read = images.reader_image.Image(f"oci:{tmp_path}/out:two")
    check.check(read)
    assert len(read.foreign) == 1, summary
    assert sum(row.kind == "reference" for row in read.layers[0].own.rows) > 20
    trees.assert_same(model.expected([two])[0], images.entries_by_bootstrap(read))
    tarn("check", f"oci:{tmp_path}/out:two")


def test_lower_links_through_links_of_the_layer(tarn, tmp_path):
    """One record for each file, however its links are written."""
    below, above = Tar(), Tar()
    below.directory(b"d")
    for name in (b"x", b"d/y", b"d/z"):
        below.add(name, data=b"content of " + name)
    above.symlink(b"sub/up", b"..")
    above.symlink(b"sub/far", b"/sub/up/d")
    above.symlink(b"sub/round", b"none/../../d")
    above.hard_link(b"new/one", b"sub/up/x", mode=0o600)
    above.hard_link(b"new/two", b"x", uid=5)
    above.hard_link(b"new/three", b"sub/far/y")
    above.hard_link(b"new/four", b"sub/round/z")
    oci_layout.LayoutBuilder(tmp_path / "source").image([below, above], compression="")
    tarn("convert", "--quiet", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    read = images.reader_image.Image(f"oci:{tmp_path}/out:t")
    expected, digest = model.expected([below, above])
    assert expected[b"new/one"].first == b"new/one" and expected[b"new/one"].nlink == 3
    trees.assert_same(expected, images.entries_by_blobs(read))
    check.check(read)
    assert "sha256:" + read.bootstrap.tree_digest.hex() == digest
    targets = sorted(inode.target for inode in read.layers[1].inodes if inode.type == 0)
    assert targets == [b"d/y", b"d/z", b"x"]


LINKS_BELOW = [2143, 2376, 5435, 6048, 6113]  # hard links to lower files, through links


@pytest.mark.parametrize("seed", [*range(1000, 1025), *LINKS_BELOW])
def test_random_layers(tarn, tmp_path, seed):
    layers = random_layers.layers(seed)
    oci_layout.LayoutBuilder(tmp_path / "source").image(layers, compression="")
    tarn("convert", "--quiet", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/out:t")
    read = images.reader_image.Image(f"oci:{tmp_path}/out:t")
    expected, digest = model.expected(layers)
    trees.assert_same(expected, images.entries_by_blobs(read), f"seed {seed}")
    check.check(read)
    assert "sha256:" + read.bootstrap.tree_digest.hex() == digest
