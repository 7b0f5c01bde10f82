# SPDX-License-Identifier: Apache-2.0
"""One tree, packed by GNU tar and bsdtar in every format that they know, and as a directory."""
import os
import resource

import disk_trees
import images
import mounts
import pytest
import trees
from reader import check
from reader.image import Image

GNU = ["tar", "--numeric-owner"]
XATTRS = ["--xattrs", "--xattrs-include=*"]
BSD = ["bsdtar", "--numeric-owner", "--no-fflags", "--no-acls"]
FULL = {"exact": True, "before": True, "xattrs": True}
# bsdtar writes -1.999999999 for the nanosecond before 1970, which means another time to all others.
BSD_FULL = {"exact": True, "xattrs": True}
PLAIN = {"large": False}
SHORT = {"large": False, "long": False}
DIALECTS = {
    "gnu tar, pax": ([*GNU, "--format=pax", *XATTRS], FULL),
    "gnu tar, pax, sparse 0.0": ([*GNU, "--format=pax", "-S", "--sparse-version=0.0"], {}),
    "gnu tar, pax, sparse 0.1": ([*GNU, "--format=pax", "-S", "--sparse-version=0.1"], {}),
    "gnu tar, pax, sparse 1.0": ([*GNU, "--format=pax", *XATTRS, "-S", "--sparse-version=1.0"],
                                 FULL),
    "gnu tar, gnu": ([*GNU, "--format=gnu"], {}),
    "gnu tar, gnu, sparse": ([*GNU, "--format=gnu", "-S"], {}),
    "gnu tar, oldgnu, sparse": ([*GNU, "--format=oldgnu", "-S"], {}),
    "gnu tar, ustar": ([*GNU, "--format=ustar"], SHORT),
    "gnu tar, v7": ([*GNU, "--format=v7"], {**SHORT, "v7": True}),
    "gnu tar, big blocks": ([*GNU, "--format=pax", "-b", "2048"], {}),
    "bsdtar, pax": ([*BSD, "--format=pax", "--xattrs"], BSD_FULL),
    "bsdtar, restricted pax": ([*BSD, "--format=pax", "--xattrs",
                                "--options=pax:xattrheader=SCHILY"], BSD_FULL),
    "bsdtar, LIBARCHIVE.xattr": ([*BSD, "--format=pax", "--xattrs",
                                  "--options=pax:xattrheader=LIBARCHIVE"], BSD_FULL),
    "bsdtar, gnutar": ([*BSD, "--format=gnutar"], PLAIN),
    "bsdtar, ustar": ([*BSD, "--format=ustar"], SHORT),
    "bsdtar, v7": ([*BSD, "--format=v7"], {**SHORT, "v7": True}),
}


def checked(name):
    read = Image(name)
    check.check(read)
    return images.entries_by_blobs(read)


@pytest.mark.parametrize("name", DIALECTS)
def test_dialect(name, tarn, tmp_path):
    words, features = DIALECTS[name]
    features = dict(features)
    specials = not features.pop("v7", False)
    top = tmp_path / "disk"
    with mounts.Mounted("tmpfs", "tmpfs", top, "mode=0755"):
        disk_trees.make(top, **features)
        if not specials:  # the format has no devices and fifos
            for special in ("fifo", "char", "block"):
                (top / special).unlink()
            disk_trees.set_attributes(top, time=9 * 10**9)
        expected = trees.scan(top)
        disk_trees.pack(words, top, tmp_path / "layer.tar")
    tarn("convert", f"tar:{tmp_path}/layer.tar", f"oci:{tmp_path}/out:t")
    trees.assert_same(expected, checked(f"oci:{tmp_path}/out:t"), name)


def test_directory_and_tar_have_one_digest(tarn, tmp_path):
    top = tmp_path / "disk"
    with mounts.Mounted("tmpfs", "tmpfs", top, "mode=0755"):
        disk_trees.make(top, acls=True, **FULL)
        expected = trees.scan(top)
        tarn("convert", f"dir:{top}", f"oci:{tmp_path}/out:d")
        digest = tarn("digest", f"dir:{top}").text.split()[0]
        disk_trees.pack([*GNU, "--format=pax", *XATTRS], top, tmp_path / "layer.tar")
    trees.assert_same(expected, checked(f"oci:{tmp_path}/out:d"), "dir:")
    tarn("convert", f"tar:{tmp_path}/layer.tar", f"oci:{tmp_path}/out:t")
    assert tarn("digest", f"oci:{tmp_path}/out:d").text.split()[0] == digest
    assert "sha256:" + Image(f"oci:{tmp_path}/out:d").bootstrap.tree_digest.hex() == digest
    assert tarn("digest", f"oci:{tmp_path}/out:t").text.split()[0] == digest


def test_deep_directory(tarn, tmp_path):
    """One open file for each level: as many as the system allows, not as many as the shell says."""
    def limited(hard):
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))

    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    tarn("digest", f"dir:{tmp_path}/d", preexec_fn=limited(1000))
    tarn.fails(r"dir:.*: cannot open (directory )?'(d/)+\.*d?.*': Too many open files", "digest",
               f"dir:{tmp_path}/d", preexec_fn=limited(100))
