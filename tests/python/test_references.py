# SPDX-License-Identifier: MIT
"""The extension gives back every object it takes, on every path."""

from __future__ import annotations

import gc
import sys
from typing import Any

import latzero
import pytest

ROUNDS = 400


def swallow(call: Any) -> None:
    try:
        call()
    except (KeyError, TypeError, ValueError, OverflowError, latzero.LatzeroError):
        pass


class Vanishing:
    """Pickles, but cannot be read back."""

    def __reduce__(self) -> Any:
        return (_explode, ())


def _explode() -> None:
    raise LookupError


CALLS: dict[str, Any] = {
    "set, get": lambda p: (p.set("a", 12345), p.get("a"), p["a"]),
    "every simple value": lambda p: [
        (p.set("v", v), p["v"]) for v in (None, True, 1.5, 2**80, "ä", "\ud800", b"b", bytearray(b"c"))
    ],
    "pickles": lambda p: (p.set("a", [1, (2,)]), p["a"]),
    "large": lambda p: (p.set("a", "x" * 5000), p["a"], p.set("a", bytes(3000)), p["a"]),
    "large pickle": lambda p: (p.set("a", [bytes(3000)]), p["a"]),
    "large bigint": lambda p: (p.set("a", 2**20000), p["a"]),
    "keys": lambda p: [p.set(k, 1) for k in ("ü", b"b", 7, 2**700, ("a", (1, "x" * 200)))],
    "bad keys": lambda p: [swallow(lambda k=k: p.get(k)) for k in (1.5, "\ud800", (1, []), "x" * 70000)],
    "long tuples": lambda p: swallow(lambda: p.get(("x" * 60000, "y" * 60000))),
    "missing": lambda p: [swallow(lambda: p["missing"]), swallow(lambda: p.pop("missing"))],
    "defaults": lambda p: (p.get("missing", [1]), p.pop("missing", [1])),
    "unpicklable": lambda p: swallow(lambda: p.set("a", lambda: 1)),
    "unreadable": lambda p: (p.set("u", Vanishing()), swallow(lambda: p["u"])),
    "options": lambda p: (
        p.set("o", 1, auto_clean=100),
        p.set("o", 1, nx=True),
        p.set("o", 1, if_version=p.get_versioned("o")[1]),
    ),
    "bad options": lambda p: [
        swallow(lambda: p.set("o", 1, auto_clean=-1)),
        swallow(lambda: p.set("o", 1, nx=True, xx=True)),
        swallow(lambda: p.set("o", 1, if_version=-1)),
        swallow(lambda: p.set("o", 1, nope=1)),
    ],
    "setdefault": lambda p: (p.setdefault("s", [1]), p.delete("s"), p.setdefault("s", [1])),
    "numbers": lambda p: (p.increment("n", 2**70), p.decrement("n", 2**70), p.increment("f", 0.5)),
    "no numbers": lambda p: (
        p.set("t", "x"),
        swallow(lambda: p.increment("t")),
        swallow(lambda: p.increment("t", 2**70)),
        swallow(lambda: p.increment("n", "1")),
    ),
    "batches": lambda p: (
        p.mset({i: [i] for i in range(40)}),
        p.mget(range(50)),
        p.delete_many(range(50)),
    ),
    "bad batches": lambda p: [
        swallow(lambda: p.mset({**{i: i for i in range(20)}, 1.5: 1})),
        swallow(lambda: p.mset({**{i: i for i in range(20)}, "b": _explode.__code__})),
        swallow(lambda: p.mget([*range(20), None])),
        swallow(lambda: p.mget([*range(20), "u"])),
        swallow(lambda: p.mset(1)),
        swallow(lambda: p.mget("ab")),
    ],
    "scan": lambda p: (list(p), p.scan(0, 5, "a"), list(p.items()), list(p.values("a"))),
    "bad scan": lambda p: [swallow(lambda: p.scan(-1)), swallow(lambda: p.scan(0, 1, b""))],
    "inspection": lambda p: (p.stats(), p.members(), p.check(), p.ttl("a") if "a" in p else 0),
    "compositions": lambda p: (
        p.modify("m", lambda v: [v], 1),
        p.compare_and_set("m", 2, 3),
        p.append("l", 1),
        p.pop("l"),
        p.delete("m"),
    ),
    "handles": lambda p: latzero.SharedMemoryPool().connect(p.name).close(),
    "lists": lambda p: (latzero.list_pools(), latzero.exists(p.name)),
    "refused opens": lambda p: [
        swallow(lambda: latzero.connect("missing")),
        swallow(lambda: latzero.SharedMemoryPool().create(p.name)),
        swallow(lambda: latzero.connect("a/b")),
    ],
    "closed": lambda p: [h := latzero.SharedMemoryPool().connect(p.name), h.close(), swallow(h.stats)],
}


@pytest.mark.parametrize("name", CALLS)
def test_no_object_is_left_behind(pool: latzero.Pool, name: str) -> None:
    call = CALLS[name]

    def grown(rounds: int) -> int:
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(rounds):
            call(pool)
        gc.collect()
        return sys.getallocatedblocks() - before

    grown(20)
    assert min(grown(ROUNDS // 4) for _ in range(4)) < ROUNDS // 8


def test_arguments_keep_their_reference_counts(pool: latzero.Pool) -> None:
    key, value, default = "key-" + "x" * 50, 12345678, [1]
    watched = (key, value, default, None, True)

    def counts() -> list[int]:
        return [sys.getrefcount(item) for item in watched]

    def work() -> None:
        for _ in range(1000):
            pool.set(key, value)
            pool.get(key, default)
            pool.delete(key)
            pool.get(key, default)
            pool.setdefault(key, value)
            pool.pop(key, default)
            pool.mset({key: value})
            pool.mget([key])
            pool.increment(key, value)
            pool.exists(key)

    work()
    before = counts()
    work()
    assert all(abs(a - b) < 100 for a, b in zip(before, counts()))
