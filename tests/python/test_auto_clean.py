# SPDX-License-Identifier: MIT
"""Keys that go by themselves."""

from __future__ import annotations

import decimal
import math
import time
from typing import Any

import latzero
import pytest
from helpers import DEADLINE, Peer, raises, wait_until

SHORT = 0.15  # seconds; long enough to see the key alive on a busy machine


def last_seen_alive(pool: latzero.Pool, key: str) -> float:
    """Polls until the key is gone; the start of the last look that still saw it."""
    start = begun = last = time.monotonic()
    while pool.exists(key):
        last = begun
        assert last - start < DEADLINE
        begun = time.monotonic()
    return last


@pytest.mark.parametrize("seconds", [SHORT, 0.3])
def test_key_is_gone_neither_early_nor_late(pool: latzero.Pool, seconds: float) -> None:
    before = time.monotonic()
    pool.set("k", 1, auto_clean=seconds)
    after = time.monotonic()
    seen = last_seen_alive(pool, "k")
    gone = time.monotonic()
    assert gone - before >= seconds  # never early
    assert seen - after <= seconds + 0.002  # never seen later: to the millisecond


def test_expired_key_is_missing_everywhere(pool: latzero.Pool) -> None:
    pool.set("k", 1, auto_clean=0.001)
    wait_until(lambda: not pool.exists("k"))
    assert pool.get("k") is None
    assert pool.get("k", 5) == 5
    assert "k" not in pool
    assert list(pool) == []
    assert pool.mget(["k"]) == {}
    assert pool.delete("k") is False
    assert pool.delete_many(["k"]) == 0
    assert pool.expire("k", 10) is False
    assert pool.persist("k") is False
    assert pool.set("k", 1, xx=True) is False
    for call in (pool.__getitem__, pool.pop, pool.ttl, pool.get_versioned, pool.__delitem__):
        with pytest.raises(KeyError):
            call("k")
    pool.set("k", 1, auto_clean=0.001)
    wait_until(lambda: not pool.exists("k"))
    assert pool.set("k", 2, nx=True) is True
    pool.set("n", 5, auto_clean=0.001)
    wait_until(lambda: not pool.exists("n"))
    assert pool.increment("n") == 1
    assert pool.ttl("n") is None
    pool.set("d", 5, auto_clean=0.001)
    wait_until(lambda: not pool.exists("d"))
    assert pool.setdefault("d", 6) == 6
    assert pool.ttl("d") is None


def test_len_follows_within_a_second_of_the_expiry(pool: latzero.Pool) -> None:
    pool["stays"] = 1
    for i in range(100):
        pool.set(i, i, auto_clean=0.05)
    wait_until(lambda: len(pool) == 1)
    assert pool == {"stays": 1}


def test_plain_set_clears_auto_clean(pool: latzero.Pool) -> None:
    pool.set("k", 1, auto_clean=100)
    assert pool.ttl("k") is not None
    pool.set("k", 2)
    assert pool.ttl("k") is None
    pool.set("k", 1, auto_clean=100)
    pool["k"] = 3
    assert pool.ttl("k") is None
    pool.set("k", 1, 100)
    pool.update(k=4)
    assert pool.ttl("k") is None


def test_what_keeps_auto_clean(pool: latzero.Pool) -> None:
    pool.set("k", 1, auto_clean=100)
    pool.set("list", [1], auto_clean=100)
    pool.set("k", 2, keep_ttl=True)
    pool.increment("k")
    pool.decrement("k", 2.5)
    pool.compare_and_set("k", 0.5, 7)
    pool.modify("k", lambda v: v + 1)
    pool.append("list", 2)
    pool.setdefault("list", 0)
    for key in ("k", "list"):
        ttl = pool.ttl(key)
        assert ttl is not None
        assert 90 < ttl <= 100
    assert pool == {"k": 8, "list": [1, 2]}
    pool.set("new", 1, keep_ttl=True)
    assert pool.ttl("new") is None


def test_ttl_counts_down_in_seconds(pool: latzero.Pool) -> None:
    pool.set("k", 1, auto_clean=50)
    first = pool.ttl("k")
    assert type(first) is float
    assert 49 < first <= 50
    wait_until(lambda: (pool.ttl("k") or 0) < first)
    pool["stays"] = 1
    assert pool.ttl("stays") is None


def test_expire_and_persist(pool: latzero.Pool) -> None:
    assert pool.expire("k", 1) is False
    assert pool.persist("k") is False
    pool["k"] = "value"
    assert pool.expire("k", 100) is True
    assert 99 < (pool.ttl("k") or 0) <= 100
    assert pool.expire("k", seconds=7.5) is True
    assert 7 < (pool.ttl("k") or 0) <= 7.5
    assert pool.persist("k") is True
    assert pool.ttl("k") is None
    assert pool["k"] == "value"
    assert pool.expire("k", 0.01) is True
    wait_until(lambda: "k" not in pool)


def test_nx_and_auto_clean_make_a_lock(pool: latzero.Pool) -> None:
    assert pool.set("lock", "me", auto_clean=SHORT, nx=True) is True
    assert pool.set("lock", "you", auto_clean=SHORT, nx=True) is False
    wait_until(lambda: pool.set("lock", "you", auto_clean=100, nx=True))
    assert pool["lock"] == "you"


@pytest.mark.parametrize("given", [1, 5, 0.001, 1e-9, 2.5, 10**9, 1e12, 2**33])
def test_good_times(pool: latzero.Pool, given: float) -> None:
    pool.set("k", 1, auto_clean=given)
    if given >= 1:
        assert given - 1 < (pool.ttl("k") or 0) <= given
    pool["k"] = 1
    assert pool.expire("k", given) is True


BAD = [0, -1, 0.0, -0.0, -0.5, math.nan, math.inf, -math.inf, 10**13, 1e13, 2**63, 2**64, 10**400, 1e300]


@pytest.mark.parametrize("given", BAD, ids=range(len(BAD)))
def test_bad_times_are_value_errors_and_change_nothing(pool: latzero.Pool, given: float) -> None:
    pool["k"] = "old"
    with raises(ValueError, match="auto_clean"):
        pool.set("k", 1, auto_clean=given)
    with raises(ValueError, match="auto_clean"):
        pool.mset({"k": 1}, auto_clean=given)
    with raises(ValueError, match="seconds"):
        pool.expire("k", given)
    assert pool["k"] == "old"
    assert pool.ttl("k") is None


@pytest.mark.parametrize("given", ["1", b"1", True, [1], 1j, decimal.Decimal(1), object()])
def test_times_that_are_no_number_are_type_errors(pool: latzero.Pool, given: Any) -> None:
    pool["k"] = "old"
    with raises(TypeError, match="auto_clean must be an int or float"):
        pool.set("k", 1, auto_clean=given)
    with raises(TypeError, match="seconds must be an int or float"):
        pool.expire("k", given)
    assert pool["k"] == "old"


def test_expire_needs_a_time(pool: latzero.Pool) -> None:
    pool["k"] = 1
    with raises(TypeError, match="seconds"):
        pool.expire("k", None)  # type: ignore[arg-type]


def test_expiry_is_the_same_in_every_process(pool: latzero.Pool, peer: Peer) -> None:
    pool.set("k", 1, auto_clean=60)
    here, there = pool.ttl("k"), peer("pool.ttl('k')")
    assert here is not None
    assert abs(here - there) < 5
    assert peer("pool.set('gone', 1, auto_clean=0.05)") is True
    wait_until(lambda: "gone" not in pool)
    assert peer("'gone' in pool") is False


def test_memory_of_expired_values_comes_back(manager: latzero.SharedMemoryPool) -> None:
    pool = manager.create("small", max_size=8 << 20)
    for _ in range(6):
        for i in range(4):
            wait_until(lambda i=i: stored(pool, i))
        wait_until(lambda: len(pool) == 0)
    assert pool.check() == []


def stored(pool: latzero.Pool, key: int) -> bool:
    try:
        return pool.set(key, b"x" * (1 << 20), auto_clean=0.05)
    except latzero.PoolFullError:
        return False  # until the sweep has been there


def test_many_expiring_keys_beside_staying_ones(pool: latzero.Pool) -> None:
    for i in range(2000):
        pool.set(i, i, auto_clean=0.02 + (i % 10) / 100)
        pool[f"s{i}"] = i
    wait_until(lambda: len(pool) == 2000)
    assert sorted(pool.values()) == list(range(2000))
