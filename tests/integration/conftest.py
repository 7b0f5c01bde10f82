# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration tests. They need root, and the programs in TARN_BUILD_DIR (default
build/release)."""
import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import environment  # noqa: E402
import images  # noqa: E402

if os.geteuid() != 0:
    pytest.exit("the integration tests need root", 4)


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: worth running under a thread sanitizer")


@pytest.fixture(scope="session")
def session_tarn(tmp_path_factory):
    """For what does not mount."""
    return environment.Tarn(tmp_path_factory.mktemp("session-root"))


@pytest.fixture
def tarn(tmp_path):
    """The programs on a root directory of their own; ends them, unmounts what is below tmp_path."""
    tarn = environment.Tarn(tmp_path / "root")
    yield tarn
    tarn.close(tmp_path)


@pytest.fixture
def place(tmp_path):
    """A directory to mount on."""
    target = tmp_path / "mnt"
    target.mkdir()
    yield target
    environment.unmount_below(target)


@pytest.fixture(scope="session")
def corner(session_tarn, tmp_path_factory):
    directory = tmp_path_factory.mktemp("corner")
    return images.convert(session_tarn, images.corner(directory), directory)


def lab_image(name, session_tarn, tmp_path_factory):
    directory = tmp_path_factory.mktemp(name)
    image = images.from_umoci(name, images.lab_layout(name), directory)
    return images.convert(session_tarn, image, directory)


@pytest.fixture(scope="session")
def base(session_tarn, tmp_path_factory):
    return lab_image("base", session_tarn, tmp_path_factory)


@pytest.fixture(scope="session")
def quirks(session_tarn, tmp_path_factory):
    return lab_image("quirks", session_tarn, tmp_path_factory)


@pytest.fixture(params=["corner", "base", "quirks"])
def image(request):
    """Each of the images."""
    return request.getfixturevalue(request.param)
