# SPDX-License-Identifier: MIT
"""Writes on condition, versions, and what is composed of them."""

from __future__ import annotations

import threading
from typing import Any

import latzero
import pytest
from helpers import raises


def test_set_returns_true(pool: latzero.Pool) -> None:
    assert pool.set("k", 1) is True
    assert pool.set(key="k", value=2) is True
    assert pool["k"] == 2


def test_nx_writes_only_the_absent(pool: latzero.Pool) -> None:
    assert pool.set("k", 1, nx=True) is True
    assert pool.set("k", 2, nx=True) is False
    assert pool["k"] == 1
    assert pool.set("k", 3, nx=False) is True


def test_xx_writes_only_the_present(pool: latzero.Pool) -> None:
    assert pool.set("k", 1, xx=True) is False
    assert "k" not in pool
    pool["k"] = 1
    assert pool.set("k", 2, xx=True) is True
    assert pool["k"] == 2


def test_if_version(pool: latzero.Pool) -> None:
    assert pool.set("k", 1, if_version=0) is True
    assert pool.set("k", 2, if_version=0) is False
    _, version = pool.get_versioned("k")
    assert pool.set("k", 3, if_version=version) is True
    assert pool.set("k", 4, if_version=version) is False
    assert pool["k"] == 3
    del pool["k"]
    assert pool.set("k", 5, if_version=version) is False
    assert "k" not in pool
    assert pool.set("k", 6, if_version=None) is True


@pytest.mark.parametrize("version", [-1, 1 << 64, 1 << 80])
def test_bad_versions_are_value_errors(pool: latzero.Pool, version: int) -> None:
    with raises(ValueError, match="if_version"):
        pool.set("k", 1, if_version=version)


@pytest.mark.parametrize("version", ["1", 1.0, True, b"1"])
def test_versions_that_are_no_int_are_type_errors(pool: latzero.Pool, version: Any) -> None:
    with raises(TypeError, match="if_version"):
        pool.set("k", 1, if_version=version)


def test_conditions_that_exclude_each_other(pool: latzero.Pool) -> None:
    with raises(ValueError, match="nx and xx"):
        pool.set("k", 1, nx=True, xx=True)
    with raises(ValueError, match="keep_ttl"):
        pool.set("k", 1, 5, keep_ttl=True)


def test_versions_change_with_every_write_and_never_come_back(pool: latzero.Pool) -> None:
    seen = set()
    for i in range(200):
        pool["k"] = i % 2
        value, version = pool.get_versioned("k")
        assert (value, type(version)) == (i % 2, int)
        assert version > 0
        assert version not in seen
        seen.add(version)
        if i % 7 == 0:
            del pool["k"]
    assert pool.get_versioned("k") == pool.get_versioned("k")


def test_compare_and_set_compares_type_and_value(pool: latzero.Pool) -> None:
    pool["k"] = 1
    assert pool.compare_and_set("k", True, 0) is False
    assert pool.compare_and_set("k", 1.0, 0) is False
    assert pool.compare_and_set("k", 2, 0) is False
    assert pool.compare_and_set("k", 1, [2]) is True
    assert pool.compare_and_set("k", (2,), 0) is False
    assert pool.compare_and_set("k", [2], None) is True
    assert pool.compare_and_set("k", None, 3) is True
    assert pool["k"] == 3
    assert pool.compare_and_set("missing", 3, 4) is False
    assert pool.compare_and_set("missing", latzero.MISSING, 4) is True
    assert pool["missing"] == 4


def test_compare_and_set_when_somebody_came_between(pool: latzero.Pool) -> None:
    class Sly:
        """Compares equal, and writes the key while it does."""

        def __reduce__(self) -> Any:
            return (Sly, ())

        def __eq__(self, other: object) -> bool:
            pool["k"] = "other"
            return True

        __hash__ = None  # type: ignore[assignment]

    # not picklable (local), so the sly side is `expected` of a builtin type
    class Int(int):
        def __eq__(self, other: object) -> bool:
            pool["k"] = "other"
            return int(self) == other

        __hash__ = int.__hash__

    pool["k"] = 1
    assert pool.compare_and_set("k", Int(1), 2) is False
    assert pool["k"] == 1


def test_modify_retries_until_the_key_held_still(pool: latzero.Pool) -> None:
    pool["k"] = 1
    calls = []

    def change(value: int) -> int:
        calls.append(value)
        if len(calls) < 3:
            pool["k"] = value + 10
        return value * 100

    assert pool.modify("k", change) == 2100
    assert calls == [1, 11, 21]
    assert pool["k"] == 2100


def test_modify_of_a_missing_key(pool: latzero.Pool) -> None:
    with pytest.raises(KeyError):
        pool.modify("k", lambda v: v)
    assert pool.modify("k", lambda v: v + [1], default=[]) == [1]
    assert pool.modify("none", lambda v: v, default=None) is None
    assert pool == {"k": [1], "none": None}


def test_modify_passes_the_function_s_error_and_changes_nothing(pool: latzero.Pool) -> None:
    pool["k"] = 1
    with pytest.raises(ZeroDivisionError):
        pool.modify("k", lambda v: v / 0)
    with raises(latzero.SerializationError):
        pool.modify("k", lambda v: lambda: v)
    assert pool["k"] == 1


def test_append(pool: latzero.Pool) -> None:
    assert pool.append("list", 1) == 1
    assert pool.append("list", [2]) == 2
    assert pool["list"] == [1, [2]]
    pool["str"] = "a"
    assert pool.append("str", "bc") == 3
    assert pool["str"] == "abc"
    pool["bytes"] = b""
    assert pool.append("bytes", b"xy") == 2
    assert pool["bytes"] == b"xy"


@pytest.mark.parametrize("value", [1, None, (1,), {}, bytearray(b"a"), 1.5])
def test_append_to_other_types_is_a_type_error(pool: latzero.Pool, value: Any) -> None:
    pool["k"] = value
    with raises(TypeError, match="append"):
        pool.append("k", 1)
    assert pool["k"] == value


def test_append_of_other_types_to_text_is_a_type_error(pool: latzero.Pool) -> None:
    pool.update(s="a", b=b"a")
    for key, item in (("s", b"b"), ("b", "b"), ("s", 1), ("b", bytearray(b"x"))):
        with raises(TypeError, match="append"):
            pool.append(key, item)
    assert pool == {"s": "a", "b": b"a"}


def in_threads(count: int, work: Any) -> None:
    errors = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_modify_and_append_lose_nothing_in_threads(pool: latzero.Pool) -> None:
    def work() -> None:
        for i in range(200):
            pool.modify("sum", lambda v: v + 1, default=0)
            pool.append("list", i)

    in_threads(4, work)
    assert pool["sum"] == 800
    assert sorted(pool["list"]) == sorted(list(range(200)) * 4)


def test_setdefault_has_one_winner(pool: latzero.Pool) -> None:
    answers = []

    def work() -> None:
        for i in range(200):
            answers.append((i, pool.setdefault(i, threading.get_ident())))

    in_threads(4, work)
    assert len(set(answers)) == 200


def test_pop_has_one_winner(pool: latzero.Pool) -> None:
    taken = []

    def work() -> None:
        for i in range(500):
            value = pool.pop(i, None)
            if value is not None:
                taken.append(value)

    pool.update({i: (i,) for i in range(500)})
    in_threads(4, work)
    assert sorted(taken) == [(i,) for i in range(500)]
    assert len(pool) == 0
