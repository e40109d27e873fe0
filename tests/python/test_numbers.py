# SPDX-License-Identifier: MIT
"""increment and decrement."""

from __future__ import annotations

import decimal
import fractions
import math
import threading
from typing import Any

import latzero
import pytest
from helpers import raises
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BIG = 2**63


def test_increment_starts_at_initial(pool: latzero.Pool) -> None:
    assert pool.increment("a") == 1
    assert pool.increment("a") == 2
    assert pool.increment("b", 5) == 5
    assert pool.increment("c", 5, initial=100) == 105
    assert pool.increment("c", by=5, initial=1000) == 110
    assert pool.increment(key="d", by=-3) == -3
    assert pool == {"a": 2, "b": 5, "c": 110, "d": -3}


def test_decrement(pool: latzero.Pool) -> None:
    assert pool.decrement("a") == -1
    assert pool.decrement("a", 5, initial=9) == -6
    assert pool.decrement("b", by=0.5) == -0.5
    assert pool.decrement("c", -(2**63)) == 2**63
    assert pool.decrement("d", -(2**70), initial=2**70) == 2**71


def test_floats(pool: latzero.Pool) -> None:
    assert pool.increment("a", 0.5) == 0.5
    assert pool.increment("a", 1) == 1.5
    pool["b"] = 1
    value = pool.increment("b", 1.0)
    assert (value, type(value), type(pool["b"])) == (2.0, float, float)
    assert pool.increment("c", 1, initial=0.5) == 1.5
    assert pool.increment("d", math.inf) == math.inf
    assert math.isnan(pool.increment("d", -math.inf))


@pytest.mark.parametrize(
    ("start", "by"),
    [
        (BIG - 1, 1),
        (-BIG, -1),
        (BIG, 1),
        (BIG, -1),
        (-BIG - 1, 1),
        (2**100, -(2**100)),
        (0, 2**200),
        (1, -(2**200)),
        (2**5000, 2**5000),
        (BIG - 1, BIG - 1),
        (-BIG, -BIG),
    ],
    ids=range(11),
)
def test_ints_of_any_size_are_exact(pool: latzero.Pool, start: int, by: int) -> None:
    pool["k"] = start
    assert pool.increment("k", by) == start + by
    assert pool["k"] == start + by
    assert pool.decrement("k", by) == start
    assert pool["k"] == start
    assert pool.increment("new", by, initial=start) == start + by
    assert pool.increment("new2", by, initial=start) == pool["new2"]


def test_big_ints_come_back_to_small(pool: latzero.Pool) -> None:
    pool["k"] = BIG - 1
    assert pool.increment("k") == BIG
    assert pool.decrement("k") == BIG - 1
    assert pool.increment("k", -1) == BIG - 2
    assert pool.get_versioned("k")[0] == BIG - 2


def test_float_and_bigint(pool: latzero.Pool) -> None:
    pool["k"] = 2**70
    assert pool.increment("k", 0.5) == float(2**70)
    pool["f"] = 0.5
    assert pool.increment("f", 2**70) == float(2**70)
    pool["huge"] = 10**400
    with raises(OverflowError):
        pool.increment("huge", 1.0)
    assert pool["huge"] == 10**400


@pytest.mark.parametrize(
    "value",
    [True, False, None, "1", b"1", bytearray(b"1"), [1], (1,), 1j, decimal.Decimal(1)],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.parametrize("by", [1, 1.5, 2**70])
def test_other_types_are_type_errors_and_stay(pool: latzero.Pool, value: Any, by: Any) -> None:
    pool["k"] = value
    before = pool.get_versioned("k")
    for call in (pool.increment, pool.decrement):
        with raises(TypeError, match="not an int or a float"):
            call("k", by)
    assert pool.get_versioned("k") == before


@pytest.mark.parametrize("number", [True, "1", None, b"1", 1j, fractions.Fraction(1), [1]])
def test_operands_must_be_numbers(pool: latzero.Pool, number: Any) -> None:
    with raises(TypeError, match="by must be"):
        pool.increment("k", number)
    with raises(TypeError, match="initial must be"):
        pool.increment("k", 1, initial=number)
    assert "k" not in pool


def test_subclasses_of_numbers_as_operands(pool: latzero.Pool) -> None:
    class Count(int):
        pass

    class Real(float):
        pass

    assert pool.increment("a", Count(2)) == 2
    assert pool.increment("b", Real(2.5)) == 2.5
    assert pool.increment("c", Count(2**70)) == 2**70
    assert pool.increment("d", 1, initial=Count(2**70)) == 2**70 + 1
    assert [type(v) for v in (pool["a"], pool["b"], pool["c"])] == [int, float, int]


@pytest.mark.parametrize("by", [1, 0.5, 2**70])
def test_increment_keeps_auto_clean(pool: latzero.Pool, by: float) -> None:
    pool.set("k", 1, auto_clean=100)
    pool.increment("k", by)
    ttl = pool.ttl("k")
    assert ttl is not None
    assert 90 < ttl <= 100


def test_threads_lose_no_increment(pool: latzero.Pool) -> None:
    def work() -> None:
        for _ in range(1000):
            pool.increment("small")
            pool.increment("big", 2**64)
            pool.increment("edge", 1, initial=BIG - 2000)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool["small"] == 4000
    assert pool["big"] == 4000 * 2**64
    assert pool["edge"] == BIG + 2000


numbers = st.integers() | st.integers(BIG - 5, BIG + 5) | st.integers(-BIG - 5, -BIG + 5)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(numbers | st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=6))
def test_sums_are_python_s(pool: latzero.Pool, terms: list[float]) -> None:
    pool.clear()
    total: float = 0
    for term in terms:
        total = total + term
        answer = pool.increment("k", term)
        assert (answer, type(answer)) == (total, type(total))
        assert pool["k"] == total
