# SPDX-License-Identifier: MIT
"""Running out of memory is an error, not a crash: at the limit of a memory cgroup."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1 << 20

FILL = """
import sys, latzero
with open(sys.argv[1] + "/cgroup.procs", "w") as file:
    file.write(str(__import__("os").getpid()))
pool = latzero.create("limited")
value, n = b"x" * 100_000, 0
try:
    while n < 10_000:
        pool.set(n, value)
        n += 1
except latzero.PoolFullError:
    pass
print(n, len(pool), pool.get(0) == value, pool.check())
for key in range(0, n, 2):
    del pool[key]
print(pool.set("after", 1), pool.get("after"), len(pool))
"""


def limited_group(limit: int) -> Path | None:
    """A memory cgroup with that limit, of whichever version is there; None: none can be made."""
    for root, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"latzero-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text(str(limit))
            return group
        except OSError:
            group.rmdir()
    return None


@pytest.fixture
def group() -> Iterator[Path]:
    made = limited_group(160 * MIB)
    if made is None:
        pytest.skip("no memory cgroup can be made here")
    yield made
    made.rmdir()


def test_a_pool_at_its_cgroup_limit_is_full_and_usable(group: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILL, str(group)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr)
    filled, after = done.stdout.splitlines()
    n, kept, first, findings = filled.split(maxsplit=3)
    assert 500 < int(n) < 1600, "neither full at once nor beyond the limit"
    assert (int(kept), first, findings) == (int(n), "True", "[]")
    assert after.startswith("True 1 ")
