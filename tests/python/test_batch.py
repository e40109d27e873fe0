# SPDX-License-Identifier: MIT
"""mget, mset, delete_many, and scans."""

from __future__ import annotations

import collections
import threading
from typing import Any

import latzero
import pytest
from helpers import raises, wait_until

COUNTS = [0, 1, 2, 15, 16, 17, 32, 33, 1000]


@pytest.mark.parametrize("count", COUNTS)
def test_batches_of_every_size(pool: latzero.Pool, count: int) -> None:
    items: dict[Any, Any] = {f"k{i}": [i] for i in range(count)}
    assert pool.mset(items) is None
    assert pool == items
    assert pool.mget(items) == items
    assert pool.mget([*items, "missing"]) == items
    assert list(pool.mget(list(items))) == list(items)
    assert pool.delete_many([*items, "missing"]) == count
    assert len(pool) == 0


def test_mget_takes_any_iterable(pool: latzero.Pool) -> None:
    pool.update(a=1, b=2)
    for keys in (["a", "b"], ("a", "b"), {"a", "b"}, {"a": 0, "b": 0}, iter("ab"), pool.keys()):
        assert pool.mget(keys) == {"a": 1, "b": 2}
    assert pool.mget(k for k in "abc") == {"a": 1, "b": 2}
    assert pool.mget(["a", "a"]) == {"a": 1}
    assert pool.delete_many(iter(["a", "a", "b"])) == 2


@pytest.mark.parametrize("keys", ["ab", b"ab", bytearray(b"ab"), 1, None])
def test_one_key_is_no_batch(pool: latzero.Pool, keys: Any) -> None:
    for call in (pool.mget, pool.delete_many):
        with raises(TypeError):
            call(keys)


def test_mset_takes_any_mapping(pool: latzero.Pool) -> None:
    pool.mset(collections.OrderedDict(a=1))
    pool.mset(collections.ChainMap({"b": 2}))
    pool.mset(mapping={"c": 3})
    other = pool.copy()
    pool.clear()
    pool.mset(other)
    assert pool == {"a": 1, "b": 2, "c": 3}
    pool.mset(pool)
    assert pool == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize("mapping", [None, 1, "ab", [("a", 1)], [], (), {1}])
def test_mset_of_no_mapping_is_a_type_error(pool: latzero.Pool, mapping: Any) -> None:
    with raises(TypeError, match="mapping"):
        pool.mset(mapping)


def test_mset_with_auto_clean(pool: latzero.Pool) -> None:
    pool.mset({"a": 1, "b": 2}, 100)
    assert all(90 < (pool.ttl(key) or 0) <= 100 for key in "ab")
    pool.mset({"a": 1}, auto_clean=None)
    assert pool.ttl("a") is None
    pool.mset({i: i for i in range(50)}, auto_clean=0.02)
    wait_until(lambda: pool.mget(range(50)) == {})


def test_bad_key_in_a_batch(pool: latzero.Pool) -> None:
    pool["a"] = 1
    with raises(TypeError, match="keys must be"):
        pool.mget(["a", 1.5])
    with raises(TypeError, match="keys must be"):
        pool.delete_many(["a", None])
    with raises(TypeError, match="keys must be"):
        pool.mset({"a": 2, 1.5: 3})  # type: ignore[dict-item]
    assert pool == {"a": 1}


class Meddling:
    """Changes the dict it is in while it is pickled."""

    items: dict[Any, Any]

    def __reduce__(self) -> Any:
        Meddling.items.clear()
        return (int, (5,))


def test_mset_of_a_dict_that_changes_meanwhile(pool: latzero.Pool) -> None:
    Meddling.items = {i: Meddling() for i in range(100)}
    pool.mset(Meddling.items)
    assert pool == dict.fromkeys(range(100), 5)


def test_scan_gives_each_key_once(pool: latzero.Pool) -> None:
    expected = {f"k{i}" for i in range(5000)}
    pool.mset(dict.fromkeys(expected, 0))
    for count in (1, 7, 100, 10**9, 2**80):
        seen: list[Any] = []
        cursor, rounds = 0, 0
        while True:
            cursor, keys = pool.scan(cursor, count)
            assert isinstance(cursor, int)
            seen += keys
            rounds += 1
            if cursor == 0:
                break
        assert len(seen) == len(expected)
        assert set(seen) == expected
        assert rounds <= 2 + 5000 / min(count, 5000) * 2 + 5000


def test_scan_of_an_empty_pool(pool: latzero.Pool) -> None:
    cursor, keys = pool.scan()
    while cursor:
        assert keys == []
        cursor, keys = pool.scan(cursor)
    assert keys == []


def test_prefix_is_for_str_keys(pool: latzero.Pool) -> None:
    pool.mset({"user:1": 1, "user:2": 2, "usher": 3, b"user:3": 4, ("user:4",): 5, 6: 6, "ü:1": 7})
    assert sorted(pool.keys("user:")) == ["user:1", "user:2"]
    assert sorted(pool.values("user:")) == [1, 2]
    assert sorted(pool.items("us")) == [("user:1", 1), ("user:2", 2), ("usher", 3)]
    assert sorted(pool.keys(prefix="")) == ["user:1", "user:2", "usher", "ü:1"]
    assert list(pool.keys("ü")) == ["ü:1"]
    assert list(pool.keys("nothing")) == []
    assert len(pool.keys("user:")) == 2
    assert "user:1" in pool.keys("user:")
    assert "usher" not in pool.keys("user:")
    assert ("usher", 3) not in pool.items("user:")
    seen: list[Any] = []
    cursor = 0
    while True:
        cursor, keys = pool.scan(cursor, prefix="user:")
        seen += keys
        if cursor == 0:
            break
    assert sorted(seen) == ["user:1", "user:2"]


@pytest.mark.parametrize("prefix", [b"a", 1, ("a",)])
def test_other_prefixes_are_type_errors(pool: latzero.Pool, prefix: Any) -> None:
    for call in (pool.keys, pool.values, pool.items, lambda p: pool.scan(prefix=p)):
        with raises(TypeError, match="prefix"):
            call(prefix)


@pytest.mark.parametrize("count", [0, -1, -(2**80)])
def test_bad_counts_are_value_errors(pool: latzero.Pool, count: int) -> None:
    with raises(ValueError, match="count"):
        pool.scan(0, count)


@pytest.mark.parametrize("cursor", [-1, 2**64])
def test_bad_cursors_are_value_errors(pool: latzero.Pool, cursor: int) -> None:
    with raises(ValueError, match="cursor"):
        pool.scan(cursor)


@pytest.mark.parametrize("arguments", [("0", 1), (0, "1"), (None, 1), (0, 1.5)])
def test_scan_arguments_that_are_no_int(pool: latzero.Pool, arguments: Any) -> None:
    with raises(TypeError, match="int"):
        pool.scan(*arguments)


def test_scan_with_many_long_keys(pool: latzero.Pool) -> None:
    keys = {f"{i:05}" + "x" * 60_000 for i in range(40)}
    pool.mset(dict.fromkeys(keys, 1))
    assert set(pool) == keys


def test_iteration_while_the_index_grows_and_shrinks(pool: latzero.Pool) -> None:
    steady = {f"steady{i}" for i in range(1000)}
    pool.mset(dict.fromkeys(steady, 1))
    stop = threading.Event()
    errors: list[BaseException] = []

    def churn() -> None:
        try:
            while not stop.is_set():
                for i in range(20_000):
                    pool[i] = i
                    if stop.is_set():
                        break
                pool.delete_many(range(20_000))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(15):
            seen = [key for key in pool if isinstance(key, str)]
            assert len(seen) == len(steady)
            assert set(seen) == steady
    finally:
        stop.set()
        thread.join()
    assert errors == []


def test_deleting_while_iterating(pool: latzero.Pool) -> None:
    pool.mset({i: i for i in range(3000)})
    seen = []
    for key in pool:
        seen.append(key)
        del pool[key]
    assert sorted(seen) == list(range(3000))
    assert len(pool) == 0
