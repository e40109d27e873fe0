# SPDX-License-Identifier: MIT
"""Closed, destroyed, read-only and full pools; threads; Ctrl-C; nothing left over."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import threading
import weakref
from typing import Any

import latzero
import pytest
from helpers import Peer, fd_count, raises, run_python, thread_count, wait_until

READS: dict[str, Any] = {
    "getitem": lambda p: p["k"],
    "get": lambda p: p.get("k"),
    "contains": lambda p: "k" in p,
    "len": len,
    "iter": lambda p: list(p),
    "exists": lambda p: p.exists("k"),
    "get_versioned": lambda p: p.get_versioned("k"),
    "mget": lambda p: p.mget(["k"]),
    "ttl": lambda p: p.ttl("k"),
    "scan": lambda p: p.scan(),
    "keys": lambda p: list(p.keys()),
    "values": lambda p: list(p.values()),
    "items": lambda p: list(p.items()),
    "copy": lambda p: p.copy(),
    "eq": lambda p: p == {},
    "stats": lambda p: p.stats(),
    "members": lambda p: p.members(),
    "check": lambda p: p.check(),
}

WRITES: dict[str, Any] = {
    "setitem": lambda p: p.__setitem__("k", 1),
    "delitem": lambda p: p.__delitem__("k"),
    "set": lambda p: p.set("k", 1),
    "set with options": lambda p: p.set("k", 1, 5, nx=True),
    "set large": lambda p: p.set("k", bytes(1 << 20)),
    "setdefault": lambda p: p.setdefault("k", 1),
    "setdefault new": lambda p: p.setdefault("new", 1),
    "delete": lambda p: p.delete("k"),
    "delete missing": lambda p: p.delete("missing"),
    "pop": lambda p: p.pop("k"),
    "pop missing": lambda p: p.pop("missing", None),
    "popitem": lambda p: p.popitem(),
    "update": lambda p: p.update(k=1),
    "clear": lambda p: p.clear(),
    "mset": lambda p: p.mset({"k": 1}),
    "mset nothing": lambda p: p.mset({}),
    "delete_many": lambda p: p.delete_many(["k"]),
    "increment": lambda p: p.increment("n"),
    "increment big": lambda p: p.increment("n", 2**70),
    "decrement": lambda p: p.decrement("n"),
    "expire": lambda p: p.expire("k", 1),
    "persist": lambda p: p.persist("k"),
    "compare_and_set": lambda p: p.compare_and_set("k", "v", 1),
    "compare_and_set no": lambda p: p.compare_and_set("k", 1, 1),
    "modify": lambda p: p.modify("k", lambda v: v),
    "append": lambda p: p.append("k", "x"),
}


@pytest.mark.parametrize("call", [*READS, *WRITES])
def test_closed_pools_refuse_every_call(manager: latzero.SharedMemoryPool, call: str) -> None:
    if call == "mset nothing":
        return  # there is nothing to refuse
    pool = manager.create("q")
    pool.close()
    with raises(latzero.PoolClosedError, match="closed"):
        {**READS, **WRITES}[call](pool)


@pytest.mark.parametrize("call", [*READS, *WRITES])
def test_destroyed_pools_refuse_every_call(manager: latzero.SharedMemoryPool, call: str) -> None:
    if call == "mset nothing":
        return
    pool = manager.create("q")
    pool["k"] = "v"
    manager.destroy("q")
    with raises(latzero.PoolClosedError):
        {**READS, **WRITES}[call](pool)


@pytest.mark.parametrize("call", WRITES)
def test_readonly_handles_refuse_every_write(
    manager: latzero.SharedMemoryPool, pool: latzero.Pool, call: str
) -> None:
    pool.update(k="v", n=1)
    reader = manager.connect("p", readonly=True)
    with raises(latzero.ReadOnlyError, match="read"):
        WRITES[call](reader)
    assert pool == {"k": "v", "n": 1}


def test_readonly_handles_read_live(manager: latzero.SharedMemoryPool, pool: latzero.Pool) -> None:
    reader = manager.connect("p", readonly=True)
    assert reader.readonly is True
    assert pool.readonly is False
    pool.update(k="v", n=1)
    for call in READS.values():
        call(reader)
    assert reader == {"k": "v", "n": 1}
    big = os.urandom(1 << 20)
    pool["k"] = big
    assert reader["k"] == big


def test_close_is_idempotent_and_leaves(manager: latzero.SharedMemoryPool) -> None:
    pool = manager.create("q")
    assert pool.closed is False
    assert pool.close() is None
    assert pool.closed is True
    pool.close()
    assert not manager.exists("q")
    assert (pool.name, pool.readonly) == ("q", False)


def test_with_closes(manager: latzero.SharedMemoryPool) -> None:
    with manager.create("q") as pool:
        pool["a"] = 1
        with pytest.raises(ZeroDivisionError), manager.connect("q") as other:
            assert other["a"] == 1
            raise ZeroDivisionError
        assert other.closed
        assert not pool.closed
    assert pool.closed
    with raises(latzero.PoolClosedError), pool:
        pass


def test_handles_close_one_by_one(manager: latzero.SharedMemoryPool) -> None:
    first = manager.create("q")
    second = manager.connect("q")
    first["a"] = 1
    first.close()
    assert second["a"] == 1
    second.close()
    assert not manager.exists("q")


def test_dropped_handles_leave(manager: latzero.SharedMemoryPool) -> None:
    pool = latzero.SharedMemoryPool().create("q")
    reference = weakref.ref(pool)
    del pool
    gc.collect()
    assert reference() is None
    assert not manager.exists("q")


def test_pickling_a_pool_is_a_type_error(pool: latzero.Pool) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with raises(TypeError, match="multiprocessing child"):
            pickle.dumps(pool, protocol)
    with raises(latzero.SerializationError):
        pool["self"] = pool
    with raises(TypeError):
        copy.deepcopy(pool)
    assert copy.copy(pool) == pool.copy()


# ---- no memory -----------------------------------------------------------------


def fill(pool: latzero.Pool, size: int) -> int:
    count = 0
    while True:
        try:
            pool[count] = bytes([count % 256]) * size
        except latzero.PoolFullError as error:
            assert "\n" not in str(error)
            return count
        count += 1
        assert count < 10_000_000


@pytest.mark.parametrize("size", [100, 5000, 100_000])
def test_full_pool_loses_nothing_and_works_on(
    manager: latzero.SharedMemoryPool, size: int
) -> None:
    pool = manager.create("full", max_size=4 << 20)
    count = fill(pool, size)
    assert count * size > 1 << 20
    assert len(pool) == count
    for i in range(count):
        assert pool[i] == bytes([i % 256]) * size
    with raises(latzero.PoolFullError):
        pool["big"] = bytes(8 << 20)
    with raises(latzero.PoolFullError):
        pool[0] = bytes(8 << 20)
    assert pool[0] == bytes(size)
    assert pool.check() == []
    assert pool.delete_many(range(count)) == count
    assert len(pool) == 0
    wait_until(lambda: stores(pool, size))
    assert pool.check() == []


def stores(pool: latzero.Pool, size: int) -> bool:
    try:
        return pool.set("again", bytes(size))
    except latzero.PoolFullError:
        return False


def test_value_larger_than_the_pool(manager: latzero.SharedMemoryPool) -> None:
    pool = manager.create("small", max_size=2 << 20)
    with raises(latzero.PoolFullError):
        pool["k"] = bytes(64 << 20)
    with raises(latzero.PoolFullError):
        pool.mset({"a": 1, "b": bytes(64 << 20)})
    assert "k" not in pool
    pool["a"] = 2
    assert pool["a"] == 2


# ---- threads ---------------------------------------------------------------------


def in_threads(*works: Any) -> list[BaseException]:
    errors: list[BaseException] = []

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_share_a_handle(pool: latzero.Pool) -> None:
    def work(number: int) -> Any:
        def run() -> None:
            for i in range(1000):
                pool[(number, i % 50)] = (number, i)
                value = pool[(number, i % 50)]
                assert value == (number, i)
                pool.increment("count")

        return run

    assert in_threads(*(work(n) for n in range(4))) == []
    assert pool["count"] == 4000
    assert len(pool) == 201


def test_large_values_from_threads_are_never_torn(pool: latzero.Pool) -> None:
    values = [bytes([n]) * (1 << 20) for n in range(4)]
    pool["k"] = values[0]

    def write(n: int) -> Any:
        def run() -> None:
            for _ in range(40):
                pool["k"] = values[n]

        return run

    def read() -> None:
        for _ in range(80):
            value = pool["k"]
            assert value == values[value[0]]

    assert in_threads(write(1), write(2), read, read) == []


def test_close_while_other_threads_are_in_calls(manager: latzero.SharedMemoryPool) -> None:
    keeper = manager.create("q")
    big = os.urandom(4 << 20)
    for _ in range(10):
        handle = manager.connect("q")
        keeper["k"] = big
        begun = threading.Barrier(4)

        def work(handle: latzero.Pool = handle, begun: threading.Barrier = begun) -> None:
            begun.wait()
            with pytest.raises(latzero.PoolClosedError):
                while True:
                    assert len(handle["k"]) == len(big)
                    handle["k"] = big
                    handle.stats()

        def close(handle: latzero.Pool = handle, begun: threading.Barrier = begun) -> None:
            begun.wait()
            handle.close()

        assert in_threads(work, work, work, close) == []
    assert keeper["k"] == big
    assert len(keeper.members()) == 1
    assert keeper.check() == []


def test_nothing_is_left_over_after_use(manager: latzero.SharedMemoryPool) -> None:
    def use() -> None:
        pool = manager.create("q")
        pool.mset({i: [i] * 100 for i in range(1000)})
        pool["big"] = bytes(1 << 20)
        with Peer("q") as peer:
            assert peer("len(pool)") == 1001
        pool.clear()
        pool.close()

    use()
    threads, fds = thread_count(), fd_count()
    for _ in range(3):
        use()
    wait_until(lambda: thread_count() == threads)
    assert fd_count() == fds


# ---- Ctrl-C -----------------------------------------------------------------------


def test_ctrl_c_interrupts_and_the_pool_stays_sound(pool: latzero.Pool) -> None:
    code = """
import latzero
pool = latzero.connect("p")
big = bytes(1 << 20)
pool["ready"] = True
try:
    i = 0
    while True:
        i += 1
        pool[i % 100] = big if i % 10 == 0 else [i]
        pool.get(i % 100)
        pool.increment("count")
        pool.pop(i % 7, None)
except KeyboardInterrupt:
    assert pool.check() == [], pool.check()
    pool["ended"] = i
"""
    import subprocess
    import sys

    for _ in range(3):
        pool.clear()
        with subprocess.Popen([sys.executable, "-c", code]) as child:
            wait_until(lambda: pool.get("count", 0) > 50)
            child.send_signal(signal.SIGINT)
            assert child.wait(30) == 0
        assert pool["count"] >= pool["ended"] - 1
        assert pool.check() == []


def test_process_that_just_ends_leaves_quietly(pool: latzero.Pool) -> None:
    out = run_python(
        "import latzero\n"
        "pool = latzero.connect('p')\n"
        "keep = latzero.create('other')\n"
        "pool['a'] = 1\n"
        "print(len(pool.members()))",
        "-W",
        "error",
    )
    assert out == "2\n"
    wait_until(lambda: len(pool.members()) == 1)
    assert not latzero.exists("other")
    assert pool["a"] == 1


def test_process_that_ends_with_a_running_thread(pool: latzero.Pool) -> None:
    run_python(
        "import latzero, threading\n"
        "pool = latzero.connect('p')\n"
        "def work():\n"
        "    while True:\n"
        "        pool['a'] = bytes(1 << 20); pool['a']\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "pool.increment('n')\n"
    )
    assert pool["n"] == 1
    wait_until(lambda: len(pool.members()) == 1)
    assert pool.check() == []
