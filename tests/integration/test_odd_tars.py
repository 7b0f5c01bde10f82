# SPDX-License-Identifier: Apache-2.0
"""Layers that few write, each beside a plain one that means the same tree."""
import pytest
from oci_layout import LayoutBuilder
from tars import DIRECTORY, LINK, Tar

LONG = b"n" * 255


def layer(*entries):
    """One tar of keyword arguments of Tar.add()."""
    tar = Tar()
    for entry in entries:
        tar.add(**entry)
    return tar


def aufs():
    """What aufs keeps in the root of a branch; names of one inode are links into its plnk."""
    plnk = b".wh..wh.plnk/"
    return layer({"name": b".wh..wh.aufs"}, {"name": b".wh..wh.orph/", "kind": DIRECTORY},
                 {"name": plnk, "kind": DIRECTORY}, {"name": plnk + b"12.34", "data": b"two names"},
                 {"name": b"a", "kind": LINK, "link": plnk + b"12.34"},
                 {"name": b"d/b", "kind": LINK, "link": b"/" + plnk + b"12.34"},
                 {"name": plnk + b"unused", "data": b"nobody's"},
                 {"name": b"d/.wh..wh.opaque", "data": b"nobody's"})


def links(*pairs):
    """[(name, target)]; a target that is bytes is another name, None a directory, a number a file."""
    return layer(*({"name": name + b"/", "kind": DIRECTORY} if target is None else
                   {"name": name, "kind": LINK, "link": target} if isinstance(target, bytes) else
                   {"name": name, "data": b"file %d" % target} for name, target in pairs))


LOWER = links((b"a", 1), (b"b", 2), (b"c", 3))
ODD = {
    "links that change places": (
        [LOWER, links((b"x", b"a"), (b"a", b"b"), (b"b", b"c"), (b"c", b"x"))],
        [links((b"a", 2), (b"b", 3), (b"c", 1), (b"x", b"c"))]),
    "a link to what becomes a directory with links": (
        [LOWER, links((b"z", b"a"), (b"a", None), (b"a/b", b"b"))],
        [links((b"z", 1), (b"a", None), (b"b", 2), (b"a/b", b"b"), (b"c", 3))]),
    "a link in a directory that its target becomes": (
        [LOWER, links((b"z", b"a"), (b"a", None), (b"a/b", b"z"), (b"a/c", b"z"))],
        [links((b"z", 1), (b"a", None), (b"a/b", b"z"), (b"a/c", b"z"), (b"b", 2), (b"c", 3))]),
    "files of aufs": ([aufs()], [layer({"name": b"a", "data": b"two names"},
                                       {"name": b"d/b", "kind": LINK, "link": b"a"})]),
    "a whiteout of a name of 255 bytes": (
        [layer({"name": b"d/" + LONG, "data": b"x"}, {"name": b"d/" + LONG[1:], "data": b"y"}),
         layer({"name": b"d/.wh." + LONG})],
        [layer({"name": b"d/" + LONG[1:], "data": b"y"})]),
    "a directory of 255 bytes where a file was": (
        [layer({"name": LONG + b"/below", "data": b"x"}),
         layer({"name": LONG, "data": b"x"}, {"name": LONG + b"/", "kind": DIRECTORY})],
        [layer({"name": LONG + b"/", "kind": DIRECTORY})]),
}


@pytest.mark.parametrize("title", ODD)
def test_same_tree(tarn, tmp_path, title):
    odd, plain = ODD[title]
    source, out = f"oci:{tmp_path}/odd:latest", f"oci:{tmp_path}/out:t"
    LayoutBuilder(tmp_path / "odd").image(odd)
    LayoutBuilder(tmp_path / "plain").image(plain)
    digest = tarn("digest", f"oci:{tmp_path}/plain:latest").text
    assert tarn("digest", source).text == digest
    tarn("convert", source, out)
    tarn("check", out)
    assert tarn("digest", out).text == digest
    tarn("export", out, f"oci:{tmp_path}/back:t")
    assert tarn("digest", f"oci:{tmp_path}/back:t").text == digest


def test_links_that_no_archive_can_say(tarn, tmp_path):
    """The name that led to the lower file is gone, and the other one lies where that was."""
    upper = links((b"z", b"a"), (b"a", None), (b"a/b", b"z"), (b"z", 4))
    LayoutBuilder(tmp_path / "odd").image([LOWER, upper])
    tarn("convert", f"oci:{tmp_path}/odd:latest", f"oci:{tmp_path}/out:t")
    tarn("check", f"oci:{tmp_path}/out:t")
    tarn.fails("layer 1: entry 'a/b': no archive can say this hard link", "export",
               f"oci:{tmp_path}/out:t", f"oci:{tmp_path}/back:t")
    assert not (tmp_path / "back").exists()
