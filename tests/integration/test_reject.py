# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile inputs: refused in words that name the place, and nothing left behind."""
from pathlib import Path

import pytest
import rejects


@pytest.mark.parametrize("name", rejects.CASES)
def test_source_is_refused(name, tarn, tmp_path):
    message, make = rejects.CASES[name]
    source = make(tmp_path / "source")
    done = tarn.fails(message, "convert", "--quiet", source, f"oci:{tmp_path}/out:t", timeout=60)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    left = [str(p) for p in Path(tmp_path / "out").rglob("*") if p.is_file()]
    assert not left, f"left behind: {left}"
