# SPDX-License-Identifier: Apache-2.0
"""Hostile converted images (lies.py): check and mount refuse them by name, or a mount reads only
what is right."""
import environment
import images
import lies
import pytest
import trees
from forge import forged, reader_refuses


@pytest.fixture(scope="module")
def victim(session_tarn, tmp_path_factory):
    directory = tmp_path_factory.mktemp("victim")
    return images.convert(session_tarn, images.from_tars("victim", lies.victim(), directory),
                          directory)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One daemon for all of it."""
    top = tmp_path_factory.mktemp("daemon")
    tarn = environment.Tarn(top / "root")
    yield tarn
    tarn.close(top)


@pytest.mark.parametrize("kind, title", [(kind, title) for kind in ("BOOTSTRAP", "MANIFEST")
                                         for title in getattr(lies, kind)])
def test_image_is_refused(victim, daemon, tmp_path, place, kind, title):
    message, change = getattr(lies, kind)[title]
    name = forged(victim, change, tmp_path / "forged")
    daemon.fails(message, "check", name, timeout=300)
    daemon.fails(message, "mount", name, place, timeout=300)
    assert not place.is_mount()
    if kind == "BOOTSTRAP":
        daemon.fails(message, "ls", "-R", name, timeout=300)


@pytest.mark.parametrize("title", lies.METADATA)
def test_metadata_is_refused(victim, daemon, tmp_path, place, title):
    message, change = lies.METADATA[title]
    name = forged(victim, change, tmp_path / "forged")
    daemon.fails(message, "check", "--quick", name, timeout=300)
    exported = f"oci:{tmp_path}/export:t"
    # What a layer means shows only on those below it; that a link is its own target shows at once.
    if title in ("hard link to nothing", "hard link to a directory"):
        daemon("export", name, exported)
        daemon.fails("hard link", "convert", exported, f"oci:{tmp_path}/again:t", timeout=300)
    else:
        daemon.fails(message, "export", name, exported, timeout=300)
    daemon("mount", name, place)
    trees.assert_same(victim.expected, trees.scan(place))
    daemon("umount", place)


@pytest.mark.parametrize("title", lies.CHUNKS)
def test_chunk_is_an_error_for_its_reader(victim, tarn, tmp_path, place, title):
    message, change, broken = lies.CHUNKS[title]
    name = forged(victim, change, tmp_path / "forged")
    tarn.fails(message, "check", name, timeout=300)
    tarn("mount", name, place)
    with pytest.raises(OSError, match="Input/output error"):
        (place / broken).read_bytes()
    for path in ({"d/data", "d/atext"} - {broken}) | {"d/p1", "d/sub/x", "d/holes"}:
        assert trees.hash_file(place / path) == victim.expected[path.encode()].sha256, path
    tarn("umount", place)


@pytest.mark.parametrize("kind", ["BOOTSTRAP", "METADATA"])
def test_reader_refuses_them_too(victim, tmp_path, kind):
    """The second implementation is as strict."""
    for number, (title, (_, change)) in enumerate(getattr(lies, kind).items()):
        name = forged(victim, change, tmp_path / str(number))
        assert reader_refuses(name), title
