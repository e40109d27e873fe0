# SPDX-License-Identifier: MIT
"""Runs the C benchmark (bench/c/bench_map.c) and takes over its figures."""

import json
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.join(HERE, "..", "build", "release", "liblatzero.a")


def find(path=None):
    """The program, built anew if the C library is there; or None."""
    if path is None and os.path.exists(LIBRARY):
        subprocess.run(["make", "-s", "-C", os.path.join(HERE, "c")], check=True)
        path = os.path.join(HERE, "c", "bench_map")
    return os.path.abspath(path) if path and os.access(path, os.X_OK) else None


def run(program, plan, add):
    """Each line of the program is one row: {"row", "title", "unit", "samples": {...}}."""
    if not plan.wants("c"):
        return
    command = [program] + (["--quick"] if plan.quick else [])
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        row = json.loads(line)
        if plan.wants(row["row"]):
            add(row["row"], row["title"], row["unit"], row["samples"])
