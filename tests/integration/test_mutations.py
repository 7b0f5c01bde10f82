# SPDX-License-Identifier: Apache-2.0
"""Some mutations of an image and a store (mutations.py; scripts/damage runs thousands)."""
import mutations


def test_mutations(tmp_path):
    run = mutations.Run(tmp_path, 20)
    try:
        run.run(100)
    finally:
        run.close()
    for row in mutations.ROWS:
        assert run.counts[row]["flipped"] + run.counts[row]["truncated"] > 0, row
