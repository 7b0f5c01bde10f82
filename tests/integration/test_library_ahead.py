# SPDX-License-Identifier: Apache-2.0
"""A program's libraries come as soon as somebody reads the program's first page, before they are asked
for. Every file has a layer of its own, so that nothing but the program's list of libraries leads there."""
import os
import signal
import subprocess

import bad_server
import daemon_help
import environment
import pytest
import registry_help as help_
from reader.image import Image
from registry_help import assert_disjoint, blob_requests, published, ranges
from tars import Tar

LETTERS = b"abcdefghijkl"


@pytest.fixture(autouse=True)
def clean_log(tarn):
    yield
    daemon_help.assert_clean(tarn)


def compiled(folder, name, *words):
    """An ELF file with 50,000 bytes of noise, so that it compresses to something."""
    source = folder / f"{name}.c"
    noise = ",".join(str(b) for b in help_.content(len(name), 7, 50000))
    source.write_text(f"const unsigned char noise_{name}[] = {{{noise}}};\n"
                      + ("int main(void) { return 0; }\n" if name == "program" else ""))
    out = folder / name
    subprocess.run(["gcc", "-o", out, source, "-Wl,--no-as-needed", *words], check=True)
    return out.read_bytes()


def library(folder, name, *needed):
    soname = f"lib{name}.so.1"
    return compiled(folder, name, "-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{soname}",
                    *needed)


def layer(files, links=()):
    tar = Tar()
    for path, data in files.items():
        tar.add(path, data=data, mode=0o755)
    for path, target in links:
        tar.symlink(path, target)
    return tar


def published_image(tmp_path, tarn, registry, request, layers):
    name = help_.repository_name("libraries", request)
    source = help_.make_source(tmp_path, registry, name, layers)
    tarn("convert", source.at(registry), f"docker://{registry.host}/{name}:t")
    return published(registry, name)


def read_page(path):
    with open(path, "rb", buffering=0) as file:
        return file.read(4096)


def wait_until_whole(tarn, tmp_path, name):
    """Until all chunks of the image are there."""
    tarn("convert", name, f"oci:{tmp_path}/copy:t")
    tables = Image(f"oci:{tmp_path}/copy:t").bootstrap.blobs
    chunks = sum(row.kind == "stored" for blob in tables for row in blob.rows)
    assert environment.wait_until(lambda: daemon_help.stats(tarn)["decoded_chunks"] == chunks)


def test_chain_of_libraries(tmp_path, tarn, registry, line, place, request):
    """program -> one -> two -> one: the last by its name in the RUNPATH, the others where loaders look."""
    one = library(tmp_path, "one")
    two = library(tmp_path, "two", tmp_path / "one")
    one = library(tmp_path, "one", tmp_path / "two", "-Wl,-rpath,/opt/own")
    program = compiled(tmp_path, "program", tmp_path / "one", "-Wl,--allow-shlib-undefined")
    made = published_image(tmp_path, tarn, registry, request, [
        layer({b"usr/bin/program": program}, [(b"lib", b"usr/lib")]),
        layer({b"usr/lib/real/libone-1.2.so": one}, [(b"usr/lib/libone.so.1", b"real/libone-1.2.so")]),
        layer({b"opt/own/libtwo.so.1": two}),
    ])
    tarn("mount", f"docker://{line.host}/{made.name}:t", place)
    line.reset()
    assert read_page(place / "usr/bin/program") == program[:4096]
    wait_until_whole(tarn, tmp_path, f"docker://{registry.host}/{made.name}:t")
    before = line.log()
    assert (place / "lib/libone.so.1").read_bytes() == one
    assert (place / "opt/own/libtwo.so.1").read_bytes() == two
    assert (place / "usr/bin/program").read_bytes() == program
    assert line.log() == before and len(before) == 3
    assert_disjoint(ranges(before))


def test_many_libraries_in_one_request(tmp_path, tarn, registry, line, place, request):
    """Between two of them lies what nobody wants."""
    libraries = {b"usr/lib/lib%c.so.1" % c: library(tmp_path, chr(c)) for c in LETTERS}
    between = {b"usr/lib/lib%c.so.1.5" % c: help_.content(c, 3, 300000) for c in LETTERS}
    program = compiled(tmp_path, "program", *(tmp_path / chr(c) for c in LETTERS))
    made = published_image(tmp_path, tarn, registry, request, [
        layer({b"usr/bin/program": program}), layer({**libraries, **between})])
    tarn("mount", f"docker://{line.host}/{made.name}:t", place)
    line.reset()
    assert read_page(place / "usr/bin/program") == program[:4096]
    environment.wait_until(lambda: blob_requests(line.log(), made.blobs[1:2]))
    for path, data in libraries.items():
        assert (place / path.decode()).read_bytes() == data
    log = line.log()
    assert len(log) == 2 and log[1]["range"].count("-") >= len(LETTERS) - 1, log
    assert sum(r["received"] for r in log) < len(program) + sum(map(len, libraries.values())) * 2


def test_end_while_a_library_does_not_come(tmp_path, tarn, registry, bad, place, request):
    """The mount goes, and the daemon gives way to the next one."""
    one = library(tmp_path, "one")
    program = compiled(tmp_path, "program", tmp_path / "one")
    made = published_image(tmp_path, tarn, registry, request, [
        layer({b"usr/bin/program": program}), layer({b"usr/lib/libone.so.1": one})])
    words = ["mount", "--timeout", 600, f"docker://{bad.host}/{made.name}:t", place]
    tarn(*words)
    rule = bad.fail(bad_server.stall(100), made.blobs[1])
    assert read_page(place / "usr/bin/program") == program[:4096]
    assert environment.wait_until(lambda: rule.hits)
    os.kill(daemon_help.daemon(tarn), signal.SIGTERM)
    assert environment.wait_until(lambda: "told to end" in daemon_help.log_of(tarn))
    assert tarn("umount", place).stderr == "", "nobody has a file open"
    assert environment.wait_until(lambda: tarn.run(*words).code == 0)
    bad.clear()
