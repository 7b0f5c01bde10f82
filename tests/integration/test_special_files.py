# SPDX-License-Identifier: Apache-2.0
"""Fifos, devices, directories and loops where a layout has files: an error at once, no wait."""
import os

import environment
import images
import mutations
import pytest

SECONDS = 300
KINDS = {
    "fifo": os.mkfifo,
    "directory": os.mkdir,
    "endless device": lambda path: os.symlink("/dev/zero", path),
    "loop": lambda path: os.symlink(path.name, path),
}


@pytest.fixture(scope="module")
def victim(session_tarn, tmp_path_factory):
    directory = tmp_path_factory.mktemp("special")
    return images.convert(session_tarn, images.from_tars("v", mutations.layers(), directory),
                          directory)


def files(image):
    """{what: path in the layout} of each kind of file."""
    document = image.read.layout.json(image.read.descriptor)
    found = {"index": "index.json", "layout": "oci-layout"}
    for what, digest in (("manifest", image.read.descriptor["digest"]),
                         ("bootstrap", document["layers"][-1]["digest"]),
                         ("blob", document["layers"][0]["digest"])):
        found[what] = "blobs/" + digest.replace(":", "/")
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["index", "layout", "manifest", "bootstrap", "blob"])
def test_special_file(victim, session_tarn, tarn, tmp_path, place, kind, what):
    layout = images.copy_layout(victim.layout, tmp_path / "layout")
    path = layout / files(victim)[what]
    path.unlink()
    KINDS[kind](path)
    name = f"oci:{layout}:latest"
    session_tarn.fails(r"oci:|index\.json", "check", name, timeout=SECONDS)
    if what == "blob":
        tarn("mount", name, place, timeout=SECONDS)
        with pytest.raises(OSError, match="Input/output error"):
            (place / "d" / "data").read_bytes()
    else:
        tarn.fails(r"oci:|index\.json", "mount", name, place, timeout=SECONDS)
        assert environment.mounts_below(place) == []
    # A link that leads to no file counts as none: a new index takes its place.
    if what in ("index", "layout") and (what, kind) != ("index", "loop"):
        session_tarn.fails(r"oci:|index\.json|oci-layout", "convert", victim.source,
                           f"oci:{layout}:new", timeout=SECONDS)
