# SPDX-License-Identifier: MIT
"""What can be a key, and that equal keys and only those find each other."""

from __future__ import annotations

import enum
from collections import namedtuple
from typing import Any

import latzero
import pytest
from helpers import Peer, label, raises
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEYS: list[Any] = [
    "",
    "a",
    "ä",
    "日本語",
    "😀",
    "a\0b",
    "x" * 65535,
    "ä" * 32767,
    b"",
    b"a",
    b"\0",
    bytes(range(256)),
    b"x" * 65535,
    0,
    1,
    -1,
    127,
    128,
    -128,
    -129,
    255,
    256,
    32767,
    32768,
    -32768,
    -32769,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**63) - 1,
    2**64,
    2**511,
    -(2**511),
    2**512,
    2**5000,
    -(2**5000),
    (),
    ("a",),
    ("a", "b"),
    ("ab", ""),
    ("a", ("b",)),
    (("a", "b"),),
    (1, "1", b"1"),
    ((), ((),)),
    ("x" * 300, -1),
    (2**600, "a"),
    (((((((1,),),),),),),),
    ("x" * 65000, (b"y" * 500,)),
]


def test_every_kind_of_key_holds_its_own_value(pool: latzero.Pool) -> None:
    for number, key in enumerate(KEYS):
        pool[key] = number
    assert len(pool) == len(KEYS)
    for number, key in enumerate(KEYS):
        assert pool[key] == number
        assert key in pool


def test_keys_come_back_as_they_were(pool: latzero.Pool) -> None:
    for key in KEYS:
        pool[key] = key
    seen = dict(pool.items())
    assert len(seen) == len(KEYS)
    for key, value in seen.items():
        assert key == value
        assert type(key) is type(value)


def test_keys_of_different_types_differ(pool: latzero.Pool) -> None:
    pool.update({"1": "str", b"1": "bytes", 1: "int", (1,): "tuple"})
    assert [pool[k] for k in ("1", b"1", 1, (1,))] == ["str", "bytes", "int", "tuple"]


def test_bool_is_its_int(pool: latzero.Pool) -> None:
    pool[True] = "yes"
    assert pool[1] == "yes"
    assert (True,) not in pool
    pool[(False,)] = "no"
    assert pool[(0,)] == "no"
    assert all(type(key) is not bool for key in pool)


class Color(enum.IntEnum):
    RED = 7


class Text(str):
    __slots__ = ()


Point = namedtuple("Point", "x y")


def test_subclasses_are_their_base(pool: latzero.Pool) -> None:
    pool[Color.RED] = 1
    pool[Text("t")] = 2
    pool[Point(1, 2)] = 3
    assert (pool[7], pool["t"], pool[(1, 2)]) == (1, 2, 3)


@pytest.mark.parametrize(
    "key",
    [
        None,
        1.0,
        1j,
        [],
        ["a"],
        {},
        set(),
        frozenset(),
        bytearray(b"a"),
        memoryview(b"a"),
        object(),
        str,
        ...,
        (None,),
        ("a", 1.0),
        ("a", ("b", [])),
        (bytearray(b""),),
    ],
)
def test_other_keys_are_type_errors_everywhere(pool: latzero.Pool, key: Any) -> None:
    calls = [
        lambda: pool[key],
        lambda: pool.get(key),
        lambda: pool.set(key, 1),
        lambda: key in pool,
        lambda: pool.exists(key),
        lambda: pool.delete(key),
        lambda: pool.pop(key),
        lambda: pool.pop(key, None),
        lambda: pool.setdefault(key),
        lambda: pool.get_versioned(key),
        lambda: pool.increment(key),
        lambda: pool.ttl(key),
        lambda: pool.expire(key, 1),
        lambda: pool.persist(key),
        lambda: pool.mget([key]),
        lambda: pool.delete_many([key]),
        lambda: pool.modify(key, len, 1),
        lambda: pool.append(key, 1),
        lambda: pool.compare_and_set(key, 1, 2),
        lambda: pool.__setitem__(key, 1),
        lambda: pool.__delitem__(key),
    ]
    for call in calls:
        with raises(TypeError, match="keys must be"):
            call()
    assert len(pool) == 0


@pytest.mark.parametrize(
    "key",
    [
        "x" * 65536,
        "ä" * 32768,
        b"x" * 65536,
        2 ** (8 * 65535),
        2 ** (8 * 70000),
        ("x" * 65533,),
        ("x" * 70000,),
        (2 ** (8 * 65533),),
        (2 ** (8 * 70000),),
        ("x" * 30000, ("y" * 36000,)),
        tuple(range(40000)),
    ],
    ids=label,
)
def test_long_keys_are_value_errors(pool: latzero.Pool, key: Any) -> None:
    for call in (pool.get, pool.exists, pool.delete, lambda k: pool.set(k, 1)):
        with raises(ValueError, match="65535 bytes"):
            call(key)


def test_longest_keys_work(pool: latzero.Pool) -> None:
    keys = ["x" * 65535, b"y" * 65535, 2 ** (8 * 65535 - 2), ("x" * 65531,)]
    for key in keys:
        pool[key] = len(repr(type(key)))
        assert pool[key] == len(repr(type(key)))
    assert sorted(map(repr, map(type, pool))) == sorted(map(repr, map(type, keys)))
    cursor, found = pool.scan(count=1)
    assert len(found) >= 1 or cursor != 0


def nested(depth: int) -> Any:
    key: Any = 1
    for _ in range(depth):
        key = (key,)
    return key


def test_tuples_nest_up_to_8_deep(pool: latzero.Pool) -> None:
    pool[nested(8)] = 1
    assert pool[nested(8)] == 1
    assert list(pool) == [nested(8)]
    for depth in (9, 50, 5000):
        with raises(TypeError, match="8 deep"):
            pool.get(nested(depth))


@pytest.mark.parametrize("key", ["\ud800", "a\udfff", ("\ud800",), ("a", ("\udc80",))])
def test_lone_surrogates_in_keys_are_refused(pool: latzero.Pool, key: Any) -> None:
    with raises(latzero.SerializationError, match="surrogate") as info:
        pool[key] = 1
    assert isinstance(info.value.__cause__, UnicodeEncodeError)
    with raises(latzero.SerializationError, match="surrogate"):
        key in pool  # noqa: B015


def test_missing_key_error_holds_the_key(pool: latzero.Pool) -> None:
    for key in ("a", 1, b"", ("a", 1), ()):
        for call in (pool.__getitem__, pool.__delitem__, pool.pop, pool.ttl, pool.get_versioned):
            with pytest.raises(KeyError) as info:
                call(key)
            assert info.value.args == (key,)


def test_both_processes_agree_on_keys(pool: latzero.Pool, peer: Peer) -> None:
    keys = [key for key in KEYS if len(label(key)) < 30 and key != (2**600, "a")]
    for key in keys:
        assert peer(f"pool.set({key!r}, {key!r})") is True
    for key in keys:
        assert pool[key] == key


scalars = st.text(st.characters(exclude_categories=["Cs"])) | st.binary() | st.integers()
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=6)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(keys, min_size=1, max_size=8))
def test_equal_keys_and_only_those_meet(pool: latzero.Pool, some: list[Any]) -> None:
    # a dict holds "a" and b"a" apart, and so does a pool
    pool.clear()
    model = {}
    for number, key in enumerate(some):
        pool[key] = number
        model[key] = number
    assert dict(pool.items()) == model
    assert len(pool) == len(model)
