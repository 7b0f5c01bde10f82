# SPDX-License-Identifier: Apache-2.0
"""Real container runtimes start real programs on an overlay over a mounted image."""
import json
import os
import subprocess

import pytest
from environment import unmount_below


@pytest.fixture
def rootfs(quirks, tarn, place, tmp_path):
    """An overlay over the mounted image; the runtimes write to its upper directory only."""
    tarn("mount", quirks.converted, place)
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                    f"lowerdir={place},upperdir={tmp_path}/upper,workdir={tmp_path}/work",
                    tmp_path / "merged"], check=True)
    yield tmp_path / "merged"
    unmount_below(tmp_path / "merged")


# An interpreter with its library, a pipe and a reader of other files of the image.
PROGRAM = ["bash", "-c", "perl -MPOSIX -e 'open my $f, q(<), q(/usr/bin/bash); print <$f>' | "
           "sha256sum | cut -c 1-64"]


def expected(quirks):
    return quirks.expected[b"usr/bin/bash"].sha256


def test_runc(quirks, rootfs, tmp_path):
    subprocess.run(["runc", "spec"], cwd=tmp_path, check=True)
    spec = json.loads((tmp_path / "config.json").read_text())
    spec["root"] = {"path": str(rootfs), "readonly": False}
    spec["process"].update(terminal=False, args=PROGRAM)
    spec["process"].pop("rlimits", None)
    (tmp_path / "config.json").write_text(json.dumps(spec))
    name = f"tarn-test-{os.getpid()}"
    done = subprocess.run(["runc", "run", name], cwd=tmp_path, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected(quirks)


def test_podman(quirks, rootfs, tmp_path):
    done = subprocess.run(["podman", "--root", tmp_path / "storage", "--runroot", tmp_path / "run",
                           "--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--rm",
                           "--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit",
                           "nproc=1024:1024", "--rootfs", rootfs, *PROGRAM],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected(quirks)
