# SPDX-License-Identifier: Apache-2.0
"""A few of the kills of crashes.py (scripts/crash makes hundreds)."""
import crashes


def test_killed_converter(tmp_path):
    run = crashes.ConverterRun(tmp_path, 7)
    run.run(6)
    assert run.kills == 6


def test_killed_daemon(tmp_path):
    run = crashes.DaemonRun(tmp_path, 7)
    try:
        run.run(8)
    finally:
        run.close()
    assert run.kills >= 8 and run.reads > 0
