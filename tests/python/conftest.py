# SPDX-License-Identifier: MIT
"""Fixtures of the Python tests. Every test has a rendezvous directory of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import latzero
import pytest
from helpers import Peer
from hypothesis import settings

# A failure prints what reproduces it; nothing is remembered between runs.
settings.register_profile("latzero", database=None, print_blob=True)
settings.load_profile("latzero")


@pytest.fixture(autouse=True)
def rendezvous(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """LATZERO_DIR for this test and its children."""
    path = tempfile.mkdtemp(prefix="lz-")
    monkeypatch.setenv("LATZERO_DIR", path)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def manager() -> Iterator[latzero.SharedMemoryPool]:
    with latzero.SharedMemoryPool() as manager:
        yield manager


@pytest.fixture
def pool(manager: latzero.SharedMemoryPool) -> Iterator[latzero.Pool]:
    """A pool named "p"; sound afterwards if still open."""
    pool = manager.create("p")
    yield pool
    if not pool.closed:
        try:
            broken = pool.check()
        except latzero.PoolClosedError:
            return  # the test destroyed it
        assert broken == []


@pytest.fixture
def peer(pool: latzero.Pool) -> Iterator[Peer]:
    """Another process that is joined to the pool."""
    with Peer(pool.name) as peer:
        yield peer
