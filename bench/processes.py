# SPDX-License-Identifier: MIT
"""Measures what happens once per process: importing latzero and joining a pool."""

import os
import subprocess
import sys
from time import perf_counter_ns as now

HOLDER = """
import sys, latzero
with latzero.create(sys.argv[1]) as pool:
    pool["key"] = 42
    print("ready", flush=True)
    sys.stdin.read()
"""

# One process: joins again and again; or once, right after its import.
JOINER = """
import sys
from time import perf_counter_ns as now
import latzero
for _ in range(int(sys.argv[2])):
    start = now()
    pool = latzero.connect(sys.argv[1])
    value = pool.get("key")
    took = now() - start
    pool.close()
    assert value == 42
    print(took)
"""


def spawn_ms(directory, code):
    """Milliseconds of one `python -c code`, from start to exit."""
    start = now()
    subprocess.run([sys.executable, "-c", code], cwd=directory, check=True)
    return (now() - start) / 1e6


def imports(directory, plan, add):
    if not plan.wants("import"):
        return
    codes = {"nothing": "pass", "latzero": "import latzero", "lmdb": "import lmdb"}
    samples = {name: [] for name in codes}
    for _ in range(5 if plan.quick else 31):
        for name, code in codes.items():
            try:
                samples[name].append(spawn_ms(directory, code))
            except subprocess.CalledProcessError:
                samples[name].append(None)
    samples = {name: values for name, values in samples.items() if None not in values}
    floor = sorted(samples["nothing"])[len(samples["nothing"]) // 2]
    beyond = {name: [value - floor for value in values]
              for name, values in samples.items() if name != "nothing"}
    if "lmdb" in beyond:
        beyond["lmdb raw"] = beyond.pop("lmdb")
    add("floor-python", "floor: python -c pass", "ms", {"floor": samples["nothing"]})
    add("import", "import, beyond python -c pass", "ms", beyond)


def joins(directory, plan, add):
    if not plan.wants("join"):
        return
    name = f"bench-join-{os.getpid()}"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, name], cwd=directory, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if holder.stdout.readline() != "ready\n":
            return
        again = join_us(directory, name, 50 if plan.quick else 400)
        fresh = []
        for _ in range(5 if plan.quick else 120):
            fresh += join_us(directory, name, 1)
        add("join", "join + first get, one process", "us", {"latzero": again})
        add("join-fresh", "join + first get, new processes", "us", {"latzero": fresh})
    finally:
        holder.communicate()


def join_us(directory, name, times):
    done = subprocess.run([sys.executable, "-c", JOINER, name, str(times)], cwd=directory,
                          check=True, capture_output=True, text=True)
    return [int(line) / 1e3 for line in done.stdout.split()]


def run(directory, plan, add):
    imports(directory, plan, add)
    joins(directory, plan, add)
