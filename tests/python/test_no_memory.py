# SPDX-License-Identifier: MIT
"""The n-th allocation of a call fails, for every n: MemoryError or the usual result, and all goes on.

Only what is written in C, called without a Python frame between: CPython 3.11 itself loses
references, and now and then the exception, where one passes through a Python function without
memory. One interpreter for all calls, apart from pytest's: if it crashes, what it printed says where.
"""

from __future__ import annotations

import importlib.util

import latzero
import pytest
from helpers import run_python

SWEEP = r"""
import operator
import os

import _testcapi
import latzero
from latzero import _core

N_MAX = 2000  # more than any call here allocates


class Special:
    # has no short form: it is pickled
    def __eq__(self, other):
        return type(other) is Special

    __hash__ = None


LONG = "x" * 5000
BYTES = b"y" * 100_000
WIDE = {f"w{i}": i for i in range(70)}  # more than one batch
TUPLE = ("t", ("u" * 300, 1 << 90))

manager = latzero.SharedMemoryPool()
pool = manager.create("p")
other = latzero.connect("p")
Pool = latzero.Pool


def prepare():
    pool.clear()
    pool["int"], pool["float"], pool["str"], pool["bytes"] = 7, 0.5, "text", b"bytes"
    pool["big"], pool["long"], pool["special"], pool["blob"] = 1 << 100, LONG, Special(), BYTES
    pool[TUPLE] = "tuple"
    pool.set("mortal", 1, auto_clean=1000)


def k_is(*values):
    return lambda: pool.get("k") in (None, *values)


def export():
    # the descriptors are the caller's, and new ones each time
    for fd in pool._export():
        if fd >= 0:
            os.close(fd)


# (function, arguments, what holds afterwards)
READS = [
    *((operator.getitem, (pool, key)) for key in ("int", "float", "str", "bytes", "big", "long", "special", "blob", TUPLE)),
    (pool.get, ("int",)),
    (pool.get, ("missing", 5)),
    (pool.get_versioned, ("str",)),
    (pool.exists, ("int",)),
    (pool.__contains__, (TUPLE,)),
    (pool.ttl, ("int",)),
    (pool.mget, (["int", "float", "str", "missing", TUPLE],)),
    (pool._scan, (0, 1000, None)),
    (pool._scan, (0, 1000, "s")),
    (len, (pool,)),
    (pool.check, ()),
    (export, ()),
    (_core.exists, ("p",)),
]
UNSTEADY = [(pool.stats, ()), (pool.members, ()), (_core.list_pools, ())]  # they tell of times and counts
WRITES = [
    (pool.set, ("k", 12345678901), k_is(12345678901)),
    (pool.set, ("k", "text"), k_is("text")),
    (pool.set, ("k", LONG), k_is(LONG)),
    (pool.set, ("k", BYTES), k_is(BYTES)),
    (pool.set, ("k", -(1 << 200)), k_is(-(1 << 200))),
    # no bytearray is read: a failing PyByteArray_FromStringAndSize looks at what it has not set (CPython 3.11)
    (pool.set, ("k", bytearray(b"abc")), None),
    (pool.set, ("k", Special()), k_is(Special())),
    (pool.set, (TUPLE, "tuple"), lambda: pool[TUPLE] == "tuple"),
    (pool.set, ("k", 1, 1000.0), k_is(1)),
    (operator.setitem, (pool, "k", 1.5), k_is(1.5)),
    (pool.setdefault, ("k", "new"), k_is("new")),
    (pool.setdefault, ("int", 1), lambda: pool["int"] == 7),
    (operator.delitem, (pool, "int"), lambda: pool.get("int", 7) == 7),
    (pool.delete, ("long",), lambda: pool.get("long", LONG) == LONG),
    (pool.pop, ("long",), None),
    (pool.pop, ("missing", None), None),
    (pool.increment, ("int",), lambda: pool["int"] in (7, 8)),
    (pool.increment, ("float", 0.25), lambda: pool["float"] in (0.5, 0.75)),
    (pool.expire, ("int", 1000.0), lambda: pool["int"] == 7),
    (pool.persist, ("mortal",), lambda: pool["mortal"] == 1),
    (pool.mset, (WIDE,), lambda: all(pool.get(key, value) == value for key, value in WIDE.items())),
    (pool.delete_many, (["int", "str", "missing"],), lambda: len(pool) in (8, 9, 10)),
    (pool.clear, (), lambda: len(pool) in range(11)),
]
ERRORS = [
    (operator.getitem, (pool, "missing"), KeyError),
    (operator.getitem, (pool, 1.5), TypeError),
    (pool.set, ("k", 1, -1.0), ValueError),
    (pool.increment, ("str",), TypeError),
    (_core.connect, (Pool, "none", 0, 1000, None), latzero.PoolNotFoundError),
    (_core.create, (Pool, "p", 0, 0, None), latzero.PoolExistsError),
]
MAKERS = [(_core.connect, (Pool, "p", 0, 1000, None)), (_core.create, (Pool, "q", 0, 0, None))]


def attempt(function, arguments, n, lasting):
    error = result = None
    _testcapi.set_nomemory(n, 0 if lasting else n + 1)
    try:
        result = function(*arguments)
    except BaseException as raised:
        error = raised
    finally:
        _testcapi.remove_mem_hooks()
    if error is not None:
        error.__traceback__ = None
    return result, error


def sound():
    other["sound"] = 1
    assert pool.delete("sound")
    assert pool.check() == []
    assert not _core.exists("q")


def sweep(function, arguments, usual, before=None, holds=None):
    name = f"{function.__name__}{str(arguments[-2:])[:60]}"
    print(name, end=": ", flush=True)
    failures = needed = 0
    for lasting in (True, False):
        for n in range(N_MAX):
            if before is not None:
                before()
            result, error = attempt(function, arguments, n, lasting)
            if isinstance(result, Pool):
                result.close()
            if holds is not None:
                assert holds(), f"allocation {n}"
            sound()
            if type(error) is MemoryError:
                failures += 1
                continue
            assert usual(result, error), f"allocation {n}: {result!r}, {error!r}"
            if lasting:
                needed = n
                break
            if n >= needed:
                break
        else:
            raise AssertionError("there is no end")
    print(failures, flush=True)


for function, arguments in READS:
    prepare()
    wanted = function(*arguments)  # it also imports and caches what it wants
    sweep(function, arguments, lambda result, error: error is None and result == wanted)
for function, arguments in UNSTEADY:
    prepare()
    function(*arguments)
    sweep(function, arguments, lambda result, error: error is None and result)
for function, arguments, holds in WRITES:
    prepare()
    wanted = function(*arguments)
    sweep(function, arguments, lambda result, error: error is None and result == wanted, prepare, holds)
for function, arguments, kind in ERRORS:
    prepare()
    sweep(function, arguments, lambda result, error: type(error) is kind)
for function, arguments in MAKERS:
    prepare()
    sweep(function, arguments, lambda result, error: error is None)
print("done", pool.check())
"""


@pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None, reason="this interpreter has no _testcapi to make memory fail"
)
def test_no_call_breaks_for_want_of_memory() -> None:
    said = run_python(SWEEP).splitlines()
    print("\n".join(said))
    assert said[-1] == "done []"
    assert sum(int(line.rsplit(": ", 1)[1]) for line in said[:-1]) > 200


def test_a_create_that_fails_leaves_no_pool() -> None:
    class Failing(latzero.SharedMemoryPool):
        def _join(self, pool: latzero.Pool) -> latzero.Pool:
            raise MemoryError

    manager = Failing()
    try:
        manager.create("p")
    except MemoryError:
        pass
    assert not latzero.exists("p")
