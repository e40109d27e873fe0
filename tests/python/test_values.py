# SPDX-License-Identifier: MIT
"""Whatever goes in comes out: same value, same type, also in another process."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import math
import os
import pickle
import struct
import threading
import time
import uuid
from random import Random
from typing import Any

import latzero
import pytest
from helpers import Peer, label, raises
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


class Number(int):
    pass


class Real(float):
    pass


class Text(str):
    pass


class Raw(bytes):
    pass


class Growing(bytearray):
    pass


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Thing:
    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __eq__(self, other: object) -> bool:
        return type(other) is Thing and exactly(self.inner, other.inner)

    __hash__ = None  # type: ignore[assignment]


def exactly(a: Any, b: Any) -> bool:
    """Equal, and of the same type at every depth."""
    if type(a) is not type(b):
        return False
    if type(a) is float:
        return struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(exactly, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(map(exactly, a.items(), b.items()))
    return bool(a == b)


SIMPLE: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    -(2**63) - 1,
    2**64,
    10**100,
    -(10**100),
    2**20000,
    0.0,
    -0.0,
    1.0,
    1.5,
    math.pi,
    math.inf,
    -math.inf,
    5e-324,
    1.7976931348623157e308,
    "",
    "a",
    "ä",
    "日本",
    "😀",
    "a\0b",
    "\ud800",
    "a\udfff😀",
    "x" * 1023,
    "x" * 1024,
    "x" * 1025,
    "ä" * 100_000,
    b"",
    b"a",
    bytes(range(256)) * 5,
    bytearray(),
    bytearray(b"a"),
    bytearray(5000),
]

PICKLED: list[Any] = [
    (),
    [],
    {},
    set(),
    frozenset([1]),
    (1,),
    [1],
    (1, [2, (3, {"a": (4.0, True, 1, None)})]),
    {"a": 1, 2: "b", None: (), (1,): []},
    {True: False},
    Number(1),
    Real(1.0),
    Text("a"),
    Raw(b"a"),
    Growing(b"a"),
    Color.RED,
    Level.LOW,
    Thing([1, (2,)]),
    1j,
    range(5),
    slice(1, 2),
    ...,
    NotImplemented,
    int,
    len,
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc),
    uuid.UUID(int=1),
    collections.OrderedDict(b=1, a=2),
    collections.Counter("aab"),
    collections.deque([1, 2], maxlen=3),
    [0] * 100_000,
    {"big": "x" * 1_000_000},
    ValueError("a", 1),
]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, BaseException):
        return type(a) is type(b) and a.args == b.args
    return exactly(a, b)


@pytest.mark.parametrize("value", SIMPLE + PICKLED, ids=label)
def test_values_come_back_exactly(pool: latzero.Pool, value: Any) -> None:
    pool["k"] = value
    assert same(pool["k"], value)
    assert same(pool.get("k"), value)
    assert same(pool.mget(["k"])["k"], value)
    assert same(pool.get_versioned("k")[0], value)
    assert same(pool.copy()["k"], value)
    assert pool.exists("k")
    assert same(pool.pop("k"), value)
    assert "k" not in pool


def test_nan_keeps_its_bits(pool: latzero.Pool) -> None:
    for bits in (0x7FF8000000000000, 0xFFF8000000000001, 0x7FF8DEADBEEF0000):
        value = struct.unpack("<d", struct.pack("<Q", bits))[0]
        pool["k"] = value
        assert struct.unpack("<Q", struct.pack("<d", pool["k"]))[0] == bits


def test_values_cross_processes(pool: latzero.Pool, peer: Peer) -> None:
    for value in SIMPLE:
        if label(value).startswith("int of") or value in (math.inf, -math.inf):
            continue  # no literal
        assert peer(f"pool.set('k', {value!r})") is True
        assert exactly(pool["k"], value)
        pool["back"] = value
        assert exactly(peer("pool['back']"), value)


def test_pickles_cross_processes(pool: latzero.Pool, peer: Peer) -> None:
    pool["k"] = (1, [2.0, {"a": (b"x", bytearray(b"y"))}], {1, 2})
    assert exactly(peer("pool['k']"), (1, [2.0, {"a": (b"x", bytearray(b"y"))}], {1, 2}))
    pool["when"] = datetime.date(2024, 2, 29)
    assert peer("pool['when'].isoformat()") == "2024-02-29"


def test_stored_value_is_a_copy(pool: latzero.Pool) -> None:
    value = [1]
    pool["k"] = value
    value.append(2)
    assert pool["k"] == [1]
    pool["k"].append(3)
    assert pool["k"] == [1]
    raw = bytearray(b"abc")
    pool["b"] = raw
    raw[0] = 0
    raw.extend(b"d")  # no buffer of it is kept
    assert pool["b"] == b"abc"


@pytest.mark.parametrize("size", [0, 1, 7, 8, 63, 64, 65, 1023, 1024, 1025, 4096, 65536, 262_143, 262_145])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_sizes_around_every_limit(pool: latzero.Pool, size: int, kind: type[bytes]) -> None:
    value = kind(os.urandom(size))
    pool["k"] = value
    assert exactly(pool["k"], value)


def test_replacing_by_other_sizes_and_types(pool: latzero.Pool) -> None:
    values = [b"x" * 3_000_000, 1, "y" * 2000, None, [1] * 5000, b"", 2.5, "z" * 300_000, b"x"]
    for value in values * 2:
        pool["k"] = value
        assert exactly(pool["k"], value)
    assert len(pool) == 1


@pytest.mark.parametrize("kind", ["bytes", "str", "pickle", "bytearray"])
def test_64_mib_values(pool: latzero.Pool, kind: str) -> None:
    size = 64 << 20
    make = {
        "bytes": lambda: os.urandom(1 << 20) * 64,
        "bytearray": lambda: bytearray(os.urandom(1 << 20) * 64),
        "str": lambda: "abcdefgh" * (size // 8),
        "pickle": lambda: [os.urandom(1 << 20) * 64],
    }[kind]
    value = make()
    pool["k"] = value
    again = pool["k"]
    assert type(again) is type(value)
    assert again == value
    del pool["k"]


@pytest.mark.skipif(
    os.environ.get("LATZERO_TEST_LARGE") != "1", reason="needs 13 GiB: LATZERO_TEST_LARGE=1"
)
def test_values_of_more_than_4_gib(pool: latzero.Pool) -> None:
    value = bytes(1 << 20) + os.urandom(1 << 20)
    value = value * 2049  # 4 GiB + 2 MiB
    pool["k"] = value
    assert pool["k"] == value
    assert pool.pop("k") == value


def test_unpicklable_values_are_serialization_errors(pool: latzero.Pool) -> None:
    pool["k"] = "old"
    for value in (lambda: 1, threading.Lock(), (i for i in ()), [open], {"a": lambda: 1}):
        if value == [open]:
            continue
        with raises(latzero.SerializationError, match="cannot store") as info:
            pool["k"] = value
        assert info.value.__cause__ is not None
        assert pool["k"] == "old"
        with raises(latzero.SerializationError):
            pool.mset({"n": 1, "k": value})
        assert pool.copy() == {"k": "old"}


class Angry:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


def test_errors_while_pickling_are_chained(pool: latzero.Pool) -> None:
    error = RuntimeError("two\nlines")
    with raises(latzero.SerializationError, match="RuntimeError") as info:
        pool["k"] = Angry(error)
    assert info.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), SystemExit(1)])
def test_errors_that_are_not_the_value_s_pass(pool: latzero.Pool, error: BaseException) -> None:
    with pytest.raises(type(error)) as info:
        pool["k"] = Angry(error)
    assert info.value is error
    assert "k" not in pool


def test_recursive_values(pool: latzero.Pool) -> None:
    value: list[Any] = []
    value.append(value)
    pool["k"] = value
    again = pool["k"]
    assert again[0] is again
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with raises(latzero.SerializationError, match="RecursionError"):
        pool["k"] = deep
    while deep:
        deep = deep.pop()


class Vanishing:
    """Pickles, but cannot be read back."""

    def __reduce__(self) -> Any:
        return (_explode, ())


def _explode() -> None:
    raise LookupError("gone")


def test_unreadable_pickles_are_serialization_errors_and_stay(pool: latzero.Pool) -> None:
    pool["k"] = Vanishing()
    for call in (
        pool.__getitem__,
        pool.get,
        pool.pop,
        pool.setdefault,
        pool.get_versioned,
        lambda k: pool.mget([k]),
        lambda k: pool.pop(k, None),
        lambda k: pool.modify(k, len),
    ):
        with raises(latzero.SerializationError, match="LookupError") as info:
            call("k")
        assert isinstance(info.value.__cause__, LookupError)
        assert "k" in pool
    assert pool.delete("k")


def test_pool_without_pickle_takes_simple_values_only(manager: latzero.SharedMemoryPool) -> None:
    pool = manager.create("safe", pickle=False)
    for value in SIMPLE:
        pool["k"] = value
        assert exactly(pool["k"], value)
    for value in PICKLED:
        with raises(latzero.UnsafePickleError, match="pickle=False"):
            pool["bad"] = value
    assert "bad" not in pool
    assert pool.stats()["pickle"] is False
    with Peer("safe") as peer:
        assert peer("pool.set('bad', [])") == "UnsafePickleError"
    with raises(latzero.UnsafePickleError):
        manager.connect("safe")["bad"] = ()


class Closing:
    """Closes the pool while it is pickled or unpickled."""

    pool: latzero.Pool

    def __init__(self, when: str) -> None:
        self.when = when

    def __reduce__(self) -> Any:
        if self.when == "out":
            Closing.pool.close()
        return (_close, (self.when,))


def _close(when: str) -> str:
    if when == "in":
        Closing.pool.close()
    return when


@pytest.mark.parametrize("when", ["in", "out"])
def test_pool_closed_by_a_value_s_own_code(
    manager: latzero.SharedMemoryPool, pool: latzero.Pool, when: str
) -> None:
    Closing.pool = handle = manager.connect("p")
    values = {"a": 1, "k": Closing(when), "z": 2}
    if when == "out":
        with raises(latzero.PoolClosedError):
            handle.mset(values)
        assert len(pool) == 0
    else:
        handle.mset(values)
        with raises(latzero.PoolClosedError):
            handle.mget(["a", "k", "z"])
    assert handle.closed


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.binary().map(bytearray),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_like)
def test_any_nested_value(pool: latzero.Pool, value: Any) -> None:
    pool["k"] = value
    assert pickle.dumps(pool["k"]) == pickle.dumps(pickle.loads(pickle.dumps(value))) or exactly(
        pool["k"], value
    )


def test_values_of_many_sizes_come_and_go(pool: latzero.Pool) -> None:
    # beside the service thread, which takes idle memory back every 100 ms
    random = Random(1)
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        items = {i: bytes(int(2 ** random.uniform(3, 14))) for i in range(random.randrange(9))}
        pool.clear()
        pool.mset(items)
        assert pool == items
