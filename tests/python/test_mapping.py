# SPDX-License-Identifier: MIT
"""Pool as a dict has it."""

from __future__ import annotations

import collections
import threading
import types
from collections.abc import ItemsView, KeysView, Mapping, MutableMapping, ValuesView
from typing import Any

import latzero
import pytest
from helpers import raises


def test_missing_and_none_are_different_everywhere(pool: latzero.Pool) -> None:
    pool["none"] = None
    assert pool["none"] is None
    assert pool.get("none", 1) is None
    assert pool.get("missing", 1) == 1
    assert pool.get("missing") is None
    assert "none" in pool
    assert "missing" not in pool
    assert pool.exists("none") is True
    assert pool.exists("missing") is False
    assert pool.setdefault("none", 1) is None
    assert pool.mget(["none", "missing"]) == {"none": None}
    assert pool.get_versioned("none")[0] is None
    assert pool.compare_and_set("missing", None, 1) is False
    assert pool.modify("none", lambda v: (v,)) == (None,)
    pool["none"] = None
    assert pool.pop("none", 1) is None
    assert pool.pop("none", None) is None
    assert "none" not in pool


def test_get_takes_default_by_name_and_place(pool: latzero.Pool) -> None:
    assert pool.get("k", 5) == 5
    assert pool.get("k", default=5) == 5
    assert pool.get(key="k", default=5) == 5
    marker = object()
    assert pool.get("k", marker) is marker


@pytest.mark.parametrize(
    "call",
    [
        lambda p: p.get(),
        lambda p: p.get("a", 1, 2),
        lambda p: p.get("a", key="a"),
        lambda p: p.get("a", nope=1),
        lambda p: p.set("a"),
        lambda p: p.set("a", 1, None, True),
        lambda p: p.set("a", 1, value=2),
        lambda p: p.set("a", 1, ttl=1),
        lambda p: p.set(value=1),
        lambda p: p.pop(),
        lambda p: p.pop("a", 1, 2),
        lambda p: p.setdefault(),
        lambda p: p.exists(),
        lambda p: p.exists("a", "b"),
        lambda p: p.increment("a", 1, 0),
        lambda p: p.increment(),
        lambda p: p.mset(),
        lambda p: p.expire("a"),
        lambda p: p.clear(1),
        lambda p: p.close(1),
        lambda p: p.update(1),
        lambda p: p.update([1]),
    ],
)
def test_wrong_arguments_are_type_errors(pool: latzero.Pool, call: Any) -> None:
    with raises(TypeError):
        call(pool)
    assert len(pool) == 0


def test_item_access(pool: latzero.Pool) -> None:
    pool["a"] = 1
    assert pool["a"] == 1
    pool["a"] = 2
    assert pool["a"] == 2
    del pool["a"]
    with pytest.raises(KeyError):
        pool["a"]
    with pytest.raises(KeyError):
        del pool["a"]


def test_delete_says_whether_it_was_there(pool: latzero.Pool) -> None:
    pool["a"] = 1
    assert pool.delete("a") is True
    assert pool.delete("a") is False


def test_len_counts_keys(pool: latzero.Pool) -> None:
    assert len(pool) == 0
    assert not pool
    for i in range(1000):
        pool[i] = i
    assert len(pool) == 1000
    assert pool
    for i in range(0, 1000, 2):
        del pool[i]
    assert len(pool) == 500
    pool.clear()
    assert len(pool) == 0
    assert list(pool) == []


def test_pop(pool: latzero.Pool) -> None:
    pool["a"] = [1]
    assert pool.pop("a") == [1]
    with pytest.raises(KeyError):
        pool.pop("a")
    assert pool.pop("a", 7) == 7


def test_popitem_empties_the_pool(pool: latzero.Pool) -> None:
    items = {i: str(i) for i in range(50)}
    pool.update(items)
    seen = {}
    while pool:
        key, value = pool.popitem()
        assert key not in seen
        seen[key] = value
    assert seen == items
    with raises(KeyError, match="empty"):
        pool.popitem()


def test_setdefault(pool: latzero.Pool) -> None:
    value = [1]
    assert pool.setdefault("a", value) is value
    assert pool.setdefault("a", 2) == [1]
    assert pool.setdefault("b") is None
    assert pool["b"] is None
    assert pool.setdefault(key="c", default=3) == 3


def test_update_takes_what_dict_takes(pool: latzero.Pool) -> None:
    pool.update({"a": 1})
    pool.update([("b", 2), ("c", 3)])
    pool.update(d=4)
    pool.update({"e": 5}, f=6)
    pool.update()
    pool.update(types.MappingProxyType({"g": 7}))
    pool.update(iter([("h", 8)]))
    assert pool == dict(a=1, b=2, c=3, d=4, e=5, f=6, g=7, h=8)


def test_equality_is_by_content(manager: latzero.SharedMemoryPool, pool: latzero.Pool) -> None:
    other = manager.create("other")
    assert pool == other
    assert pool == {}
    pool["a"] = [1]
    assert pool != other
    assert pool == {"a": [1]}
    assert {"a": [1]} == pool
    assert pool == collections.OrderedDict(a=[1])
    assert pool != {"a": [2]}
    assert pool != {"b": [1]}
    other["a"] = [1]
    assert pool == other
    assert pool == manager.connect("p")
    assert pool != [("a", [1])]
    assert pool != 1
    assert (pool == pool) is True


def test_pool_is_not_hashable(pool: latzero.Pool) -> None:
    with raises(TypeError):
        hash(pool)


def test_copy_is_a_plain_dict(pool: latzero.Pool) -> None:
    pool.update(a=1, b=[2])
    copy = pool.copy()
    assert type(copy) is dict
    assert copy == {"a": 1, "b": [2]}
    assert dict(pool) == copy
    assert {**pool} == copy  # type: ignore[dict-item]
    pool["a"] = 3
    assert copy["a"] == 1


def test_iteration_and_views(pool: latzero.Pool) -> None:
    items = {f"k{i}": i for i in range(1500)}
    pool.update(items)
    assert sorted(pool) == sorted(items)
    assert sorted(pool.keys()) == sorted(items)
    assert sorted(pool.values()) == sorted(items.values())
    assert sorted(pool.items()) == sorted(items.items())
    keys, values, pairs = pool.keys(), pool.values(), pool.items()
    assert (len(keys), len(values), len(pairs)) == (1500, 1500, 1500)
    assert isinstance(keys, KeysView)
    assert isinstance(values, ValuesView)
    assert isinstance(pairs, ItemsView)
    assert "k1" in keys
    assert "x" not in keys
    assert 7 in values
    assert -1 not in values
    assert ("k1", 1) in pairs
    assert ("k1", 2) not in pairs
    assert ("x", 1) not in pairs
    assert "k1" not in pairs
    assert keys == set(items)
    assert keys & {"k1", "x"} == {"k1"}
    assert keys - {"k1"} == set(items) - {"k1"}
    pool["new"] = 1
    assert "new" in keys
    assert len(list(keys)) == 1501
    assert len(list(keys)) == 1501  # any number of passes


def test_reprs_never_show_the_content(pool: latzero.Pool) -> None:
    pool.update({"secret-key": "secret-value"})
    assert repr(pool) == "<latzero.Pool 'p' 1 keys>"
    for view in (pool.keys(), pool.values(), pool.items("sec")):
        assert "secret" not in repr(view)
        assert "latzero.Pool 'p'" in repr(view)


def test_repr_of_a_closed_or_destroyed_pool(manager: latzero.SharedMemoryPool) -> None:
    pool = manager.create("q")
    other = manager.connect("q")
    pool.close()
    assert repr(pool) == "<latzero.Pool 'q' closed>"
    assert pool.name == "q"
    manager.destroy("q")
    assert repr(other) == "<latzero.Pool 'q' PoolClosedError>"


def test_pool_matches_mapping_patterns(pool: latzero.Pool) -> None:
    pool["kind"] = "x"
    match pool:
        case {"kind": kind}:
            assert kind == "x"
        case _:
            pytest.fail("a Pool is a mapping")


def test_pool_cannot_be_made_by_hand() -> None:
    for cls in (latzero.Pool, latzero._core.Pool):
        with raises(TypeError, match="create"):
            cls()  # type: ignore[abstract]


def test_attributes_are_read_only(pool: latzero.Pool) -> None:
    for name, value in (("name", "x"), ("readonly", True), ("closed", True), ("other", 1)):
        with pytest.raises(AttributeError):
            setattr(pool, name, value)
    assert isinstance(pool, MutableMapping)
    assert isinstance(pool, Mapping)


def test_chain_map_over_a_pool(pool: latzero.Pool) -> None:
    chain = collections.ChainMap(pool, {"a": 0, "b": 0})
    chain["a"] = 1
    assert dict(chain) == {"a": 1, "b": 0}
    assert pool == {"a": 1}


def test_popitem_of_a_readonly_or_shared_pool(
    manager: latzero.SharedMemoryPool, pool: latzero.Pool
) -> None:
    other = manager.connect("p")
    pool.update({i: i for i in range(100)})
    seen = [(pool if i % 2 else other).popitem()[0] for i in range(100)]
    assert sorted(seen) == list(range(100))
    with raises(KeyError, match="empty"):
        other.popitem()


def test_update_and_equality_with_a_pool_that_changes(
    manager: latzero.SharedMemoryPool, pool: latzero.Pool
) -> None:
    other = manager.create("other")
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            other.mset({i: i for i in range(200)})
            other.delete_many(range(200))

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(30):
            pool.update(other)
            pool.mset(other)
            assert (pool == other) in (True, False)
            assert set(pool) <= set(range(200))
    finally:
        stop.set()
        thread.join()
