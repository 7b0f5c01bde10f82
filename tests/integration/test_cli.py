# SPDX-License-Identifier: Apache-2.0
"""What all commands have in common: how they take wrong use, where they print, what they say of
themselves."""
import json
import re
import subprocess

import environment
import oci_layout
import pytest
from tars import FIFO, Tar

COMMANDS = ("convert", "mount", "umount", "ps", "stats", "ls", "cat", "inspect", "check", "digest",
            "export")
OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][a-z0-9-]*")


@pytest.fixture(scope="module")
def odd(session_tarn, tmp_path_factory):
    """An image of names and values that are not UTF-8, or would spoil a line."""
    directory, tar = tmp_path_factory.mktemp("odd"), Tar()
    tar.add(b"plain", data=b"hello\n")
    tar.add(b"\xff\xfe", data=b"x", xattrs={b"user.\xff": b"\0\xff", b"user.e": b""})
    tar.add(b'quote"\\\n\x1b[31m', data=b"y")
    tar.symlink(b"link", b"plain")
    tar.symlink(b"odd link", b"\xc3")
    tar.add(b"fifo", kind=FIFO)
    oci_layout.LayoutBuilder(directory / "source").image([tar])
    name = f"oci:{directory}/out:t"
    session_tarn("convert", "--quiet", f"oci:{directory}/source:latest", name)
    return name


def printing(odd):
    """Commands that print facts, with their arguments."""
    return [["ls", odd], ["ls", "-lR", odd], ["cat", odd, "plain"], ["inspect", odd], ["check", odd],
            ["digest", odd], ["ps"], ["stats"]]


# --- standard files --------------------------------------------------------------------------------
def test_json_is_json(odd, tarn, tmp_path, place):
    tarn("mount", odd, place)
    for words in printing(odd):
        json.loads(tarn(*words, "--json").stdout)
    entries = {e.get("path") or bytes.fromhex(e["path_hex"]): e
               for e in tarn.json("ls", "-R", odd)}
    assert entries[b"\xff\xfe"]["xattrs"] == {"user.\\xff_hex": "00ff", "user.e": ""}
    assert entries["odd link"]["target_hex"] == "c3"
    for words in (["convert", f"dir:{place}", f"oci:{tmp_path}/a:t"],
                  ["export", odd, f"oci:{tmp_path}/b:t"]):
        json.loads(tarn(*words, "--json").stdout)


def test_output_that_cannot_be_written(odd, tarn):
    for words in printing(odd):
        for more in ([], ["--json"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([tarn.program, *words, *more], env=tarn.environ, stdout=full,
                                      stderr=subprocess.PIPE, text=True, check=False)
            assert done.returncode == 1, words
            assert "cannot write to stdout: No space left on device" in done.stderr, words


def test_reader_that_goes_away(odd, tarn):
    """Ends quietly, as other programs do."""
    command = 'set -o pipefail; "$@" | true'
    for _ in range(3):
        done = subprocess.run(["bash", "-c", command, "sh", tarn.program, "cat", odd, "plain"],
                              env=tarn.environ, capture_output=True, check=False)
        assert done.stderr == b"" and done.returncode in (0, 141)


def test_closed_standard_files(odd, tarn, tmp_path):
    """Nothing else gets their numbers: no store, no image is written to by mistake."""
    shell = ["bash", "-c"]
    for words in printing(odd)[:6]:
        done = subprocess.run([*shell, '"$@" >&-', "sh", tarn.program, *words], env=tarn.environ,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 1, (words, done.stderr)
        assert "cannot write to stdout: Bad file descriptor" in done.stderr
    out = f"oci:{tmp_path}/out:t"
    subprocess.run([*shell, '"$@" <&- >&- 2>&-', "sh", tarn.program, "convert", "--quiet",
                    odd.replace("/out:t", "/source:latest"), out], env=tarn.environ, check=True)
    tarn("check", out)


# --- what commands take ----------------------------------------------------------------------------
def test_cat_of_what_is_no_file(odd, tarn):
    tarn.fails("'link' is a symbolic link to 'plain'; name what it leads to", "cat", odd, "link")
    tarn.fails("'fifo' is no regular file", "cat", odd, "fifo")
    tarn.fails("'none': No such file or directory", "cat", odd, "none")
    tarn.fails("'plain/x': Not a directory", "cat", odd, "plain/x")


def test_an_image_is_named_once(odd, tarn, tmp_path):
    """Whoever detects a fault names the image or not; the message does once."""
    layout = odd.removesuffix(":t")
    for words in (["ls", f"{layout}:none"], ["inspect", f"{layout}:none"],
                  ["convert", f"{layout}:none", f"oci:{tmp_path}/out:t"]):
        done = tarn.fails(f"^tarn: {layout}: no tag 'none'; its tags are t$", *words)
        assert done.stderr.count(layout) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_use(command, tarn):
    done = tarn.run(command, "--no-such-option")
    assert done.code == 2 and done.text == ""
    assert done.stderr.startswith(
        f"tarn {command}: unrecognized option '--no-such-option'\nusage: tarn {command} ")
    if command not in ("ps", "stats"):
        assert tarn.run(command).code == 2
    done = tarn.run(command, *"abcd")
    assert done.code == (1 if command == "umount" else 2)


# --- what is said of them ----------------------------------------------------------------------------
def helped(tarn, command):
    """Options that a command's help names."""
    done = tarn(command, "--help")
    assert done.stderr == "" and done.text.startswith(f"usage: tarn {command}")
    assert max(map(len, done.lines)) <= 100
    lines = [line for line in done.lines if line.startswith(("  -", "usage"))]
    return {option for line in lines for option in OPTION.findall(line)} - {"-lR"}


def test_manual(tarn):
    """Names exactly the options that there are."""
    page = (environment.SOURCE / "docs/man/tarn.1").read_text().replace("\\-", "-")
    body = re.sub(r"\\f.", "", page)
    named = set(OPTION.findall(re.sub(r"^\.(TH|\\).*", "", body, flags=re.M)))
    real = set().union(*(helped(tarn, command) for command in COMMANDS))
    assert {o for o in named if o.startswith("--")} | {"-l", "-R"} == \
        real | {"--help", "--version"}


def completed(*words):
    script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tarn; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "sh",
                           environment.SOURCE / "completions/tarn.bash", *words],
                          capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_completion(tarn):
    assert completed("tarn", "") == {*COMMANDS, "--help", "--version"}
    for command in COMMANDS:
        assert completed("tarn", command, "-") == helped(tarn, command) | {"--help"}, command


def test_words_of_the_command_line_are_told_without_control_characters(tarn):
    done = tarn.fails(r"--level \?\[31m: give a number", "convert", "--level", "\x1b[31m", "a", "b")
    assert "\x1b" not in done.stderr
