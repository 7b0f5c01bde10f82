# SPDX-License-Identifier: Apache-2.0
"""What the measurements ran on."""
import os
import platform

from bench_run import command


def _first(path, key):
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith(key):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown"


def describe(programs, scratch):
    return {"processor": _first("/proc/cpuinfo", "model name"), "processors": os.cpu_count(),
            "memory MB": int(_first("/proc/meminfo", "MemTotal").split()[0]) // 1024,
            "kernel": platform.release(),
            "file system": command("findmnt", "-n", "-o", "FSTYPE", "-T", scratch).strip(),
            "load before": round(os.getloadavg()[0], 2),
            "tarn": command(os.path.join(programs, "tarn"), "--version").strip()}
