# SPDX-License-Identifier: Apache-2.0
"""Hostile converted images, every checksum of them right: the rule that they break is named."""
import damages
import environment
import images
import pytest
from corner_cases import noise
from forge import forged, reader_refuses
from tars import Tar


@pytest.fixture(scope="module")
def victim(session_tarn, tmp_path_factory):
    one, two = Tar(), Tar()
    one.directory(b"d", mtime=3)
    one.add(b"d/data", data=noise(700000, 1))
    one.add(b"d/holes", data=b"x" + bytes(1 << 20) + b"y")
    one.add(b"d/long", xattrs={b"user." + b"n" * 250: b"1"})
    two.add(b"d/again", data=b"moved" + noise(700000, 1))
    two.add(b"d/data", data=noise(700000, 1), mode=0o600)
    directory = tmp_path_factory.mktemp("victim")
    return images.convert(session_tarn, images.from_tars("victim", [one, two], directory),
                          directory)


@pytest.fixture(scope="module")
def daemon(victim, tmp_path_factory):
    """One daemon for all mounts that must not come to be."""
    top = tmp_path_factory.mktemp("daemon")
    tarn = environment.Tarn(top / "root")
    (top / "kept").mkdir()
    tarn("mount", victim.converted, top / "kept")
    yield tarn
    assert (top / "kept" / "d" / "data").read_bytes() == noise(700000, 1)
    tarn.close(top)


def test_forge_makes_right_images(victim, daemon, tmp_path, place):
    name = forged(victim, lambda made: made.point_to_blobs(), tmp_path / "forged")
    daemon("check", name)
    daemon("mount", name, place)
    assert (place / "d" / "data").read_bytes() == noise(700000, 1)
    daemon("umount", place)


@pytest.mark.parametrize("title", damages.BOOTSTRAP)
def test_bootstrap_is_refused(victim, daemon, tmp_path, place, title):
    message, change = damages.BOOTSTRAP[title]
    name = forged(victim, change, tmp_path / "forged")
    daemon.fails(message, "check", "--quick", name)
    daemon.fails(message, "mount", name, place)
    assert not place.is_mount()
    for words in (("ls", "-R", name), ("cat", name, "/d/data"),
                  ("export", name, f"oci:{tmp_path}/out:t")):
        assert daemon.fails(message, *words, timeout=300).stdout == b""


@pytest.mark.parametrize("title", damages.BLOBS)
def test_blob_is_refused(victim, daemon, tmp_path, title):
    message, change = damages.BLOBS[title]
    name = forged(victim, change, tmp_path / "forged")
    daemon.fails(message, "check", "--quick", name)
    daemon.fails(message, "check", name)


@pytest.mark.parametrize("title", damages.MANIFEST)
def test_manifest_is_refused(victim, daemon, tmp_path, place, title):
    message, change = damages.MANIFEST[title]
    name = forged(victim, change, tmp_path / "forged")
    daemon.fails(message, "check", "--quick", name)
    daemon.fails(message, "mount", name, place)


@pytest.mark.parametrize("kind", ["BOOTSTRAP", "BLOBS", "MANIFEST"])
def test_reader_refuses_them_too(victim, tmp_path, kind):
    """The second implementation is as strict."""
    for number, (title, (_, change)) in enumerate(getattr(damages, kind).items()):
        name = forged(victim, change, tmp_path / str(number))
        assert reader_refuses(name), title
