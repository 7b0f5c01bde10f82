# SPDX-License-Identifier: Apache-2.0
"""More damaged and hostile sources (see also test_reject.py), most with the fault in the second
layer: whole layers below it may stay for the next run, but no tag and nothing half done."""
import hashlib
from pathlib import Path

import oci_layout
import pytest
import rejects


@pytest.mark.parametrize("name", rejects.CASES)
def test_source_is_refused(name, session_tarn, tmp_path):
    message, make = rejects.CASES[name]
    source, out = make(tmp_path / "source"), tmp_path / "out"
    done = session_tarn.fails(message, "convert", "--quiet", source, f"oci:{out}:t", timeout=300)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert {tag for tag in oci_layout.tags(out) if tag} == set()
    for path in out.rglob("*"):
        if path.is_file() and path.parent != out:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, f"half: {path}"
    assert {path.name for path in Path(out).glob("*") if path.is_file()} <= \
        {"oci-layout", "index.json"}
