# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration tests. They need root, and the programs in TARN_BUILD_DIR (default
build/release). Workers of pytest-xdist can share the work (-n 3 --dist loadfile): each has servers,
a directory and a mount namespace of its own."""
import fcntl
import os
import pickle
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import bad_server  # noqa: E402
import environment  # noqa: E402
import images  # noqa: E402
import registries  # noqa: E402

if os.geteuid() != 0:
    pytest.exit("the integration tests need root", 4)


# Those that take longest, which go first.
LONG = ["test_registry_publish.py", "test_convert.py", "test_publish.py", "test_canonical.py",
        "test_daemon.py", "test_registry_access.py", "test_export.py", "test_registry_failure.py",
        "test_waits.py", "test_mutations.py", "test_dialects.py", "test_registry_mount.py"]


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: worth running under a thread sanitizer")
    environment.leave_mount_namespace()


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(autouse=True, scope="session")
def nothing_stays_mounted():
    before = set(environment.mounts_below("/"))
    yield
    # Some may have gone: those of others, of which the namespace got copies, go with their directories.
    assert set(environment.mounts_below("/")) <= before


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
    """Made once for all workers; its directory is this worker's own."""
    top = tmp_path_factory.getbasetemp()
    shared = (top.parent if "PYTEST_XDIST_WORKER" in os.environ else top) / f"lab-{name}"
    shared.mkdir(exist_ok=True)
    with open(shared / "image", "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.tell() == 0:
            made = images.from_umoci(name, images.lab_layout(name), shared)
            pickle.dump(images.convert(session_tarn, made, shared), file)
        file.seek(0)
        image = pickle.load(file)
    image.directory = tmp_path_factory.mktemp(name)
    return image


@pytest.fixture(scope="session")
def base(session_tarn, tmp_path_factory):
    return lab_image("base", session_tarn, tmp_path_factory)


@pytest.fixture(scope="session")
def quirks(session_tarn, tmp_path_factory):
    return lab_image("quirks", session_tarn, tmp_path_factory)


@pytest.fixture(params=["corner", "base", "quirks"])
def image(request):
    """Each of the images; some of them by @pytest.mark.parametrize("image", [...], indirect=True)."""
    return request.getfixturevalue(request.param)


# --- servers: see registries.py, bad_server.py and tools/slow_line.py ---------------------------
def server(scope, make):
    """A fixture of something with close()."""
    @pytest.fixture(scope=scope)
    def fixture(request):
        made = make(request)
        yield made
        made.close()
    return fixture


def new_directory(request, name):
    return request.getfixturevalue("tmp_path_factory").mktemp(name)


authority = pytest.fixture(scope="session")(
    lambda tmp_path_factory: registries.Authority(tmp_path_factory.mktemp("authority")))

# One plain registry for all tests: take a repository name of your own in it.
registry = server("session", lambda request: registries.Registry(
    new_directory(request, "registry")))

# Its contents by other ways.
tls_registry = server("session", lambda request: registries.Registry(
    new_directory(request, "tls"), tls=request.getfixturevalue("authority").server(), basic=True,
    storage=request.getfixturevalue("registry").storage))
basic_registry = server("session", lambda request: registries.Registry(
    new_directory(request, "basic"), basic=True,
    storage=request.getfixturevalue("registry").storage))
session_token_server = server("session", lambda request: registries.TokenServer(
    new_directory(request, "tokens")))
token_registry = server("session", lambda request: registries.Registry(
    new_directory(request, "token-registry"),
    tokens=request.getfixturevalue("session_token_server"),
    storage=request.getfixturevalue("registry").storage))
session_line = server("session", lambda request: registries.SlowLine(
    request.getfixturevalue("registry").port))
session_bad = server("session", lambda request: bad_server.BadServer(
    request.getfixturevalue("registry").port))
containerd = server("session", lambda request: registries.Containerd())


@pytest.fixture
def token_server(session_token_server):
    session_token_server.reset()
    return session_token_server


FAST = {"rtt": 0, "mbit": 0, "slow_start": 0, "stall": 0, "stall_after": 0, "down": 0,
        "down_after": 0}


@pytest.fixture
def line(session_line):
    """A line to the registry, fast until told otherwise, its log empty."""
    session_line.set(**FAST)
    session_line.reset()
    yield session_line
    session_line.set(**FAST)


@pytest.fixture
def bad(session_bad):
    """A server before the registry that behaves until told otherwise."""
    session_bad.clear()
    yield session_bad
    session_bad.clear()


@pytest.fixture(autouse=True, scope="session")
def no_login(tmp_path_factory):
    """Nobody's own credentials get into a test."""
    no_login = tmp_path_factory.mktemp("no-login")
    (no_login / "config.json").write_text("{}")  # podman wants one where the variable leads
    os.environ["DOCKER_CONFIG"] = str(no_login)
