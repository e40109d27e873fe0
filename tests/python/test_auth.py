# SPDX-License-Identifier: MIT
"""Locked pools: keys in every form, who is let in, what travels to children."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from typing import Any

import latzero
import pytest
from helpers import fd_count, raises, run_python, wait_until
from latzero import AuthenticationError, RawKey, SharedMemoryPool

KEY = "correct horse battery staple"
RAW = RawKey(bytes(range(32)))
PROTECTED = [{"auth": True}, {"encryption": True}, {"auth": True, "encryption": True}]


@pytest.fixture
def locked(manager: SharedMemoryPool) -> latzero.Pool:
    """A pool behind a raw key, which costs no time."""
    return manager.create("locked", auth=True, auth_key=RAW)


# ---- making and joining ----------------------------------------------------------


@pytest.mark.parametrize("options", PROTECTED)
def test_the_right_key_joins_and_no_other(
    manager: SharedMemoryPool, options: dict[str, bool]
) -> None:
    pool = manager.create("p", auth_key=KEY, **options)  # type: ignore[arg-type]
    pool["a"] = {"value": 1}
    code = """
import latzero
for key in ("wrong", None):
    try:
        latzero.connect("p", auth_key=key)
    except latzero.AuthenticationError as error:
        assert error.retry_after is None and "\\n" not in str(error), error
        print("refused")
pool = latzero.connect("p", auth_key="correct horse battery staple")
print(pool["a"], pool.stats()["auth"], pool.stats()["encryption"])
"""
    encrypted = options.get("encryption", False)
    assert run_python(code) == f"refused\nrefused\n{{'value': 1}} True {encrypted}\n"


@pytest.mark.parametrize(
    "key", [KEY, "pässwörd €\U0001f511", b"\x00\xff bytes", bytearray(b"array"), lambda: "called", RAW]
)
def test_keys_come_in_many_forms(manager: SharedMemoryPool, key: Any) -> None:
    def copy() -> Any:
        return bytearray(key) if isinstance(key, bytearray) else key

    manager.create("p", auth=True, auth_key=copy())["a"] = 1
    with SharedMemoryPool().connect("p", auth_key=copy()) as pool:
        assert pool["a"] == 1
    with raises(AuthenticationError):
        SharedMemoryPool().connect("p", auth_key="other")


def test_str_and_its_utf8_are_one_key(manager: SharedMemoryPool) -> None:
    manager.create("p", auth=True, auth_key="schlüssel")
    SharedMemoryPool().connect("p", auth_key="schlüssel".encode()).close()


def test_a_bytearray_is_wiped_whatever_comes_of_it(manager: SharedMemoryPool) -> None:
    key = bytearray(b"secret")
    manager.create("p", auth=True, auth_key=key)
    assert key == bytes(6)
    key = bytearray(b"wrong!")
    with raises(AuthenticationError):
        manager.connect("p", auth_key=key)
    assert key == bytes(6)
    key = bytearray(b"wrong!")
    with raises(latzero.PoolNotFoundError):
        manager.destroy("nothing", auth_key=key)
    assert key == bytes(6)
    key = bytearray(b"x" * 5000)
    with raises(ValueError):
        manager.create("q", auth=True, auth_key=lambda: key)
    assert key == bytes(5000)


def test_a_password_does_not_stay_in_a_str(manager: SharedMemoryPool) -> None:
    # PyUnicode_AsUTF8 would keep a copy in it: the object would grow
    key = "schlüssel"
    size = sys.getsizeof(key)
    manager.create("p", auth=True, auth_key=key)
    assert sys.getsizeof(key) == size


IMPOSSIBLE = ["", b"", bytearray(), "x" * 1025, "€" * 342, "half \ud800 pair"]


@pytest.mark.parametrize("key", IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
def test_a_key_that_cannot_be_is_refused(
    manager: SharedMemoryPool, locked: latzero.Pool, key: Any
) -> None:
    with raises(ValueError, match="auth_key"):
        manager.create("p", auth=True, auth_key=key)
    assert not manager.exists("p")
    for call in (manager.connect, manager.destroy):
        with raises(AuthenticationError, match="auth_key"):
            call("locked", auth_key=key)
    assert manager.exists("locked")


def test_the_longest_key_is_taken(manager: SharedMemoryPool) -> None:
    manager.create("p", auth=True, auth_key="€" * 341 + "x")
    SharedMemoryPool().connect("p", auth_key=("€" * 341 + "x").encode()).close()


@pytest.mark.parametrize("key", [1, 1.5, object(), ["a"], lambda: None, lambda: 7, memoryview(b"x")])
def test_what_is_no_key_is_a_type_error(
    manager: SharedMemoryPool, locked: latzero.Pool, key: Any
) -> None:
    with raises(TypeError, match="auth_key"):
        manager.create("p", auth=True, auth_key=key)
    with raises(TypeError, match="auth_key"):
        manager.connect("locked", auth_key=key)
    with raises(TypeError, match="auth_key"):
        manager.destroy("locked", auth_key=key)


def test_an_error_in_the_callable_passes_through(
    manager: SharedMemoryPool, locked: latzero.Pool
) -> None:
    def fail() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manager.connect("locked", auth_key=fail)


def test_raw_keys() -> None:
    assert "0" not in repr(RAW)
    with raises(ValueError, match="32"):
        RawKey(b"short")
    with raises(TypeError):
        RawKey("x" * 32)  # type: ignore[arg-type]
    with raises(TypeError, match="pickled"):
        pickle.dumps(RAW)


def test_a_raw_key_is_no_password(manager: SharedMemoryPool, locked: latzero.Pool) -> None:
    with raises(AuthenticationError, match="raw key"):
        manager.connect("locked", auth_key=bytes(range(32)))
    manager.create("p", auth=True, auth_key=bytes(range(32)))
    with raises(AuthenticationError, match="raw key"):
        manager.connect("p", auth_key=RAW)


def test_the_joined_process_must_give_the_key_too(
    manager: SharedMemoryPool, locked: latzero.Pool
) -> None:
    with raises(AuthenticationError, match="wrong"):
        manager.connect("locked", auth_key=RawKey(bytes(32)))
    with raises(AuthenticationError, match="none was given"):
        manager.connect("locked")
    assert len(locked.members()) == 1


def test_a_readonly_member_serves_others(manager: SharedMemoryPool, locked: latzero.Pool) -> None:
    locked["a"] = 1
    with SharedMemoryPool().connect("locked", auth_key=RAW, readonly=True) as reader:
        manager.close()
        code = (
            "import latzero\n"
            "for i in range(2):\n"
            "    try: latzero.connect('locked', auth_key=latzero.RawKey(bytes(32)))\n"
            "    except latzero.AuthenticationError: pass\n"
            "print(latzero.connect('locked', auth_key=latzero.RawKey(bytes(range(32))))['a'])"
        )
        assert run_python(code) == "1\n"
        assert reader["a"] == 1
        with raises(latzero.ReadOnlyError):
            reader["a"] = 2


# ---- exist_ok ----------------------------------------------------------------------


@pytest.mark.parametrize("options", [*PROTECTED, {}])
@pytest.mark.parametrize("other", [*PROTECTED, {}])
def test_exist_ok_wants_the_same_protection(
    manager: SharedMemoryPool, options: dict[str, bool], other: dict[str, bool]
) -> None:
    def make(manager: SharedMemoryPool, options: dict[str, bool]) -> latzero.Pool:
        key = RAW if options else None
        return manager.create("p", auth_key=key, exist_ok=True, **options)  # type: ignore[arg-type]

    def level(options: dict[str, bool]) -> int:
        return 2 if options.get("encryption") else len(options)

    make(manager, options)
    with SharedMemoryPool() as second:
        if level(options) == level(other):
            make(second, other)
        else:
            with raises(ValueError, match="exists with"):
                make(second, other)
    assert manager.exists("p")


def test_exist_ok_wants_the_same_key(manager: SharedMemoryPool, locked: latzero.Pool) -> None:
    with raises(AuthenticationError):
        manager.create("locked", auth=True, auth_key="other", exist_ok=True)
    with raises(AuthenticationError):
        manager.create("locked", auth=True, auth_key=RawKey(bytes(32)), exist_ok=True)
    with raises(latzero.PoolExistsError):
        manager.create("locked", auth=True, auth_key=RAW)


# ---- without a key -------------------------------------------------------------------


@pytest.mark.parametrize("options", PROTECTED)
def test_listing_needs_no_key(manager: SharedMemoryPool, options: dict[str, bool]) -> None:
    pool = manager.create("p", auth_key=RAW, **options)  # type: ignore[arg-type]
    assert SharedMemoryPool().exists("p")
    (info,) = SharedMemoryPool().list_pools()
    assert (info.name, info.auth, info.encryption) == ("p", True, options.get("encryption", False))
    stats = pool.stats()
    assert (stats["auth"], stats["encryption"]) == (info.auth, info.encryption)


def test_destroying_needs_the_key(manager: SharedMemoryPool, locked: latzero.Pool) -> None:
    for key in (None, "other", RawKey(bytes(32))):
        with raises(AuthenticationError):
            manager.destroy("locked", auth_key=key)
    locked["a"] = 1
    SharedMemoryPool().destroy("locked", auth_key=RAW)
    with raises(latzero.PoolClosedError):
        locked["a"]
    assert not manager.exists("locked")


# ---- guessing ------------------------------------------------------------------------


def test_too_many_wrong_keys_are_told_when_to_come_again(locked: latzero.Pool) -> None:
    # another process guesses: one that has joined compares by itself
    code = """
import latzero
tries = [latzero.RawKey(bytes([i] * 32)) for i in range(40)]
told = 0
for key in tries:
    try:
        latzero.connect("locked", auth_key=key, timeout=0.05)
    except latzero.AuthenticationError as error:
        if error.retry_after is not None:
            assert 0 < error.retry_after <= 1, error.retry_after
            assert "too many" in str(error)
            told += 1
assert told > 0
print(latzero.connect("locked", auth_key=latzero.RawKey(bytes(range(32))), timeout=30).name)
"""
    assert run_python(code) == "locked\n"


def test_open_pools_are_not_limited(manager: SharedMemoryPool) -> None:
    manager.create("open")
    code = """
import latzero
for i in range(30):
    try:
        latzero.connect("open", auth_key=latzero.RawKey(bytes(32)))
    except latzero.AuthenticationError as error:
        assert error.retry_after is None
print(latzero.connect("open").name)
"""
    assert run_python(code) == "open\n"


def test_stopped_members_are_a_timeout_with_a_key_too(manager: SharedMemoryPool) -> None:
    code = "import sys, latzero\np = latzero.create('stopped', auth=True, auth_key=latzero.RawKey(bytes(range(32))))\nprint('ready', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        with raises(latzero.PoolTimeoutError):
            manager.connect("stopped", auth_key=RAW, timeout=0.3)
        assert manager.exists("stopped")
        holder.kill()


# ---- children ------------------------------------------------------------------------


def add_in_child(pool: latzero.Pool) -> None:
    pool.increment("n")
    with SharedMemoryPool().connect(pool.name, auth_key=RAW) as second:
        second.increment("n")
    # a child of ours can be served by us, and can serve
    assert pool.stats()["auth"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("options", PROTECTED[:2])
def test_handles_work_in_children(
    manager: SharedMemoryPool, method: str, options: dict[str, bool]
) -> None:
    pool = manager.create("p", auth_key=RAW, **options)  # type: ignore[arg-type]
    context: Any = multiprocessing.get_context(method)
    children = [context.Process(target=add_in_child, args=(pool,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert pool["n"] == 4


def hand_on(pool: latzero.Pool) -> None:
    child = multiprocessing.get_context("spawn").Process(target=add_in_child, args=(pool,))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_a_spawned_child_can_hand_the_pool_on(locked: latzero.Pool) -> None:
    child = multiprocessing.get_context("spawn").Process(target=hand_on, args=(locked,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert locked["n"] == 2


def twice(pools: list[latzero.Pool]) -> None:
    for pool in pools:
        pool.increment("n")


def test_a_child_gets_several_handles(manager: SharedMemoryPool, locked: latzero.Pool) -> None:
    second = manager.connect("locked", auth_key=RAW)
    child = multiprocessing.get_context("spawn").Process(target=twice, args=([locked, second],))
    child.start()
    child.join(60)
    assert (child.exitcode, locked["n"]) == (0, 2)


_pool: latzero.Pool


def keep(pool: latzero.Pool) -> None:
    global _pool
    _pool = pool


def increment(_: int) -> None:
    _pool.increment("n")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_executors(locked: latzero.Pool, method: str) -> None:
    with concurrent.futures.ProcessPoolExecutor(
        2, multiprocessing.get_context(method), keep, (locked,)
    ) as executor:
        list(executor.map(increment, range(20)))
    assert locked["n"] == 20


def test_a_forked_child_joins_when_its_parent_is_gone(locked: latzero.Pool) -> None:
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(write)
            os.read(read, 1)
            locked["from"] = "child"
            code = "import latzero\nprint(latzero.connect('locked', auth_key=latzero.RawKey(bytes(range(32))))['from'])"
            status = 0 if run_python(code) == "child\n" else 2
        finally:
            os._exit(status)
    os.close(read)
    locked.close()
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_leaves_no_descriptor_behind(locked: latzero.Pool) -> None:
    context = multiprocessing.get_context("spawn")

    def spawn() -> None:
        child = context.Process(target=add_in_child, args=(locked,))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        child.close()
        del child
        gc.collect()

    spawn()
    before = fd_count()
    spawn()
    wait_until(lambda: fd_count() <= before)


def test_the_key_is_in_no_pickle(manager: SharedMemoryPool, monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing import context as process_context
    from multiprocessing import reduction

    class Popen:
        """Stands for a child that is being started."""

        @staticmethod
        def duplicate_for_child(fd: int) -> int:
            return fd

        @staticmethod
        def DupFd(fd: int) -> int:
            return fd

    pool = manager.create("p", auth=True, auth_key="sentinel password")
    popen = Popen()
    process_context.set_spawning_popen(popen)
    try:
        pickled = bytes(reduction.ForkingPickler.dumps(pool))
    finally:
        process_context.set_spawning_popen(None)
    assert b"sentinel" not in pickled
    assert len(pickled) < 300


# ---- threads --------------------------------------------------------------------------


def test_threads_join_together_and_others_go_on(manager: SharedMemoryPool) -> None:
    pool = manager.create("p", auth=True, auth_key=KEY)
    results: list[object] = []

    def join() -> None:
        try:
            with SharedMemoryPool().connect("p", auth_key=KEY) as handle:
                results.append(handle["a"])
        except BaseException as error:
            results.append(error)

    pool["a"] = 1
    threads = [threading.Thread(target=join) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert pool["a"] == 1
    assert results == [1] * 4


# ---- harden ---------------------------------------------------------------------------


def test_harden_hides_the_process_and_leaves_it_working(locked: latzero.Pool) -> None:
    code = """
import ctypes, os, latzero
PR_GET_DUMPABLE = 3
before = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE)
latzero.harden()
print(before, ctypes.CDLL(None).prctl(PR_GET_DUMPABLE))
pool = latzero.create("hard", auth=True, auth_key="key")
pool["a"] = 1
child = os.fork()
if child == 0:
    os._exit(0 if pool["a"] == 1 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(latzero.connect("locked", auth_key=latzero.RawKey(bytes(range(32)))).name)
"""
    assert run_python(code) == "1 0\n0\nlocked\n"
