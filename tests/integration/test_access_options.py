# SPDX-License-Identifier: Apache-2.0
"""The options for registries, as far as no registry is needed; and that secrets stay where they are."""
import base64
import json
import socket
from pathlib import Path

import environment
import oci_layout
import pytest
from tars import Tar

COMMANDS = {
    "convert": ["dir:/etc/apt"], "export": ["oci:/tmp/x"], "mount": ["/mnt"], "ls": [], "cat": ["/x"],
    "inspect": [], "check": [], "digest": [],
}
PASSWORD = "a secret in a test"


@pytest.fixture
def nobody():
    """A port on which connections are refused."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield f"localhost:{one.getsockname()[1]}"


def words(command, image, *options):
    more = COMMANDS[command]
    if command == "convert":
        return [command, *options, *more, image]
    return [command, *options, image, *more]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("options, message", (
    (["--timeout", "0"], "--timeout 0: give a number of seconds from 1 to 86400"),
    (["--timeout", "1s"], "--timeout 1s: give a number"),
    (["--ca", "/no/such.pem"], "--ca /no/such.pem: No such file"),
    (["--no-such-option"], "unrecognized option '--no-such-option'"),
))
def test_wrong_options(tarn, command, options, message):
    done = tarn.run(*words(command, "localhost:1/a:b", *options))
    assert done.code == 2
    assert message in done.stderr
    assert f"usage: tarn {command}" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("prefix", ("", "docker://"))
def test_nobody_answers(tarn, nobody, place, command, prefix):
    """A bare name is a registry's, for every command; the message says which, where and what to do."""
    name = f"{prefix}{nobody}/some/image:tag"
    line = words(command, name, "--timeout", "1", "--insecure", "--plain-http")
    done = tarn.run(*[str(place) if word == "/mnt" else word for word in line])
    assert done.code == 1
    for part in (f"http://{nobody}/v2/some/image/", "is the registry up?", "--timeout"):
        assert part in done.stderr
    if command != "convert":
        assert done.stderr.startswith(f"tarn: {name}: ")


def test_referrer_needs_a_registry(tarn, nobody, tmp_path):
    tar = Tar()
    tar.add(b"x", data=b"y")
    oci_layout.LayoutBuilder(tmp_path / "source").image([tar])
    source, layout = f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/made:latest"
    for line, code, message in (
            ([source, layout], 1, "is no registry"),
            (["dir:/etc/apt", f"{nobody}/a:b"], 1, "needs an image that the result refers to"),
            (["--replace", source, f"{nobody}/a:b"], 2, "exclude each other")):
        done = tarn.run("convert", "--referrer", *line)
        assert done.code == code
        assert message in done.stderr
    assert not Path(tmp_path, "made").exists()


def everything_said(tarn):
    """What the daemon tells, logs and writes, and what it shows of itself."""
    said = [tarn(what, "--json").stdout for what in ("ps", "stats")]
    for pid in environment.processes(str(tarn.root)):
        said.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    said += [path.read_bytes() for path in Path(tarn.root).rglob("*") if path.is_file()]
    return b"".join(said)


def test_secrets_stay_in_the_daemons_memory(tarn, nobody, place, tmp_path):
    """Also when what they are for fails."""
    file = tmp_path / "auth.json"
    secret = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    file.write_text(json.dumps({"auths": {nobody: {"auth": secret}}}))
    tar = Tar()
    tar.add(b"x", data=b"y")
    oci_layout.LayoutBuilder(tmp_path / "source").image([tar])
    tarn("convert", "--quiet", f"oci:{tmp_path}/source:latest", f"oci:{tmp_path}/made:latest")
    login = {"REGISTRY_AUTH_FILE": str(file)}
    tarn("mount", f"oci:{tmp_path}/made:latest", place, env=login)
    done = tarn.run("mount", "--timeout", "1", f"{nobody}/a:b", tmp_path, env=login)
    assert done.code == 1
    said = everything_said(tarn) + done.stderr.encode()
    assert b"made:latest" in said  # it was looked at
    for word in (PASSWORD, secret):
        assert word.encode() not in said
