# SPDX-License-Identifier: Apache-2.0
"""What a conversion leaves at the destination: the original for everybody else, Tarn's entry behind it,
and nothing half-done, however it ends."""
import hashlib
import json
import os
import signal
import subprocess
import time

import corner_cases
import environment
import oci_layout
import pytest
from tars import Tar

TARN = "application/vnd.tarn.image.v1"


@pytest.fixture
def source(tmp_path):
    """Two layers, the upper one with enough data to be interrupted in."""
    lower, upper = Tar(), Tar()
    lower.add(b"etc/one", data=b"one\n")
    for i in range(12):
        upper.add(b"big/%d" % i, data=corner_cases.noise(4 << 20, i))
    oci_layout.LayoutBuilder(tmp_path / "source").image([lower, upper])
    return f"oci:{tmp_path}/source:latest"


def index(directory):
    return json.loads((directory / "index.json").read_text())["manifests"]


def tagged(directory):
    return [e for e in index(directory) if oci_layout.REF_NAME in e.get("annotations", {})]


def check_blobs(directory):
    """Every file under a digest's name has that digest, and there are no others."""
    for name in os.listdir(directory / "blobs" / "sha256"):
        data = (directory / "blobs" / "sha256" / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == name


def skopeo(*words):
    done = subprocess.run(["skopeo", *words], capture_output=True, check=True)
    return done.stdout


def test_others_get_the_original(tarn, source, tmp_path):
    out = tmp_path / "out"
    tarn("convert", "--quiet", source, f"oci:{out}:v1")
    entries = index(out)
    original = index(tmp_path / "source")[0]
    assert entries[0]["digest"] == original["digest"]
    assert entries[0]["annotations"][oci_layout.REF_NAME] == "v1"
    assert entries[1]["artifactType"] == TARN
    assert entries[1]["platform"] == {"os": "unknown", "architecture": "unknown"}
    assert entries[1]["annotations"]["dev.tarn.subject"] == original["digest"]
    assert len(entries) == 2
    assert skopeo("inspect", "--raw", f"oci:{out}:v1") == skopeo("inspect", "--raw", source)
    skopeo("copy", "-q", f"oci:{out}:v1", f"oci:{tmp_path}/copy:x")
    assert index(tmp_path / "copy")[0]["digest"] == original["digest"]
    subprocess.run(["umoci", "raw", "unpack", "--image", f"{out}:v1", tmp_path / "rootfs"],
                   capture_output=True, check=True)
    assert (tmp_path / "rootfs" / "etc" / "one").read_bytes() == b"one\n"
    check_blobs(out)


def test_replace(tarn, source, tmp_path):
    out = tmp_path / "out"
    tarn("convert", "--quiet", "--replace", source, f"oci:{out}:v1")
    assert [e["artifactType"] for e in index(out)] == [TARN]
    assert tarn("ls", f"oci:{out}:v1").text.split() == ["big", "etc"]


def test_archive(tarn, source, tmp_path):
    name = f"oci-archive:{tmp_path}/out.tar:v1"
    tarn("convert", "--quiet", source, name)
    assert skopeo("inspect", "--raw", name) == skopeo("inspect", "--raw", source)
    assert tarn("cat", name, "etc/one").text == "one\n"
    assert set(os.listdir(tmp_path)) - {"root"} == {"out.tar", "source"}


def test_a_second_run_makes_nothing(tarn, source, tmp_path):
    name = f"oci:{tmp_path}/out:v1"
    tarn("convert", "--quiet", source, name)
    before = sorted(os.listdir(tmp_path / "out" / "blobs" / "sha256")), index(tmp_path / "out")
    again = json.loads(tarn("convert", "--json", source, name).text)
    assert again["layers_reused"] == again["layers"] == 2
    assert before == (sorted(os.listdir(tmp_path / "out" / "blobs" / "sha256")),
                      index(tmp_path / "out"))
    assert json.loads(tarn("convert", "--json", "--no-reuse", source, name).text)[
        "layers_reused"] == 0
    assert before == (sorted(os.listdir(tmp_path / "out" / "blobs" / "sha256")),
                      index(tmp_path / "out"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted(tarn, source, tmp_path, number):
    tarn("convert", "--quiet", source, f"oci:{tmp_path}/whole:v1")
    out, spool = tmp_path / "out", tmp_path / "spool"
    spool.mkdir()
    interrupted = 0
    for delay in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3):
        words = [environment.BUILD / "tarn", "convert", "--quiet", "--threads", "1", source,
                 f"oci:{out}:v1"]
        with subprocess.Popen(words, env=dict(os.environ, TMPDIR=str(spool)),
                              stderr=subprocess.DEVNULL) as process:
            time.sleep(delay)
            process.send_signal(number)
            if process.wait() == 0:
                break
        interrupted += 1
        assert os.listdir(spool) == []
        if (out / "index.json").exists():
            assert tagged(out) == []
            check_blobs(out) if number == signal.SIGINT else None
            for name in os.listdir(out / "blobs" / "sha256"):
                assert len(name) == 64
    assert interrupted > 0
    tarn("convert", "--quiet", source, f"oci:{out}:v1")
    check_blobs(out)
    assert index(out)[1]["digest"] == index(tmp_path / "whole")[1]["digest"]


def test_disk_full(tarn, source, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", small], check=True)
    try:
        done = subprocess.run([environment.BUILD / "tarn", "convert", source, f"oci:{small}/out:v1"],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "No space left" in done.stderr, done.stderr
        assert tagged(small / "out") == []
        check_blobs(small / "out")
        spooled = subprocess.run([environment.BUILD / "tarn", "convert", source,
                                  f"oci:{tmp_path}/out:v1"], capture_output=True, text=True,
                                 env=dict(os.environ, TMPDIR=str(small)), check=False)
        assert spooled.returncode == 1 and "set TMPDIR" in spooled.stderr, spooled.stderr
        assert not (tmp_path / "out" / "index.json").exists() or tagged(tmp_path / "out") == []
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_two_at_once(tarn, source, tmp_path):
    words = [environment.BUILD / "tarn", "convert", "--quiet", source]
    running = [subprocess.Popen([*words, f"oci:{tmp_path}/out:v{i}"]) for i in range(4)]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    assert len(tagged(tmp_path / "out")) == 4
    check_blobs(tmp_path / "out")
