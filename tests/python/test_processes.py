# SPDX-License-Identifier: MIT
"""Several processes on one pool: fork, spawn, forkserver, and strangers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from typing import Any

import latzero
import pytest
from helpers import DEADLINE, Peer, raises, run_python, thread_count, wait_until

METHODS = ["fork", "spawn", "forkserver"]


def test_writes_are_seen_at_once(pool: latzero.Pool, peer: Peer) -> None:
    for i in range(200):
        pool["k"] = i
        assert peer("pool['k']") == i
        assert peer(f"pool.set('back', {i})") is True
        assert pool["back"] == i
    peer("pool.pop('k')")
    assert "k" not in pool
    peer("pool.clear()")
    assert len(pool) == 0


def test_strangers_lose_no_increment(pool: latzero.Pool) -> None:
    code = (
        "import latzero\n"
        "pool = latzero.connect('p')\n"
        "for i in range(3000):\n"
        "    pool.increment('n')\n"
        "    pool.modify('m', lambda v: v + 1, 0)\n"
        "    pool.append('l', i) if i % 100 == 0 else None\n"
        "    pool.increment('f', 0.5)\n"
    )
    errors: list[BaseException] = []

    def run() -> None:
        try:
            run_python(code)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (pool["n"], pool["m"], pool["f"], len(pool["l"])) == (12000, 12000, 6000.0, 120)


def test_killed_process_harms_nobody(pool: latzero.Pool) -> None:
    for _ in range(3):
        with Peer("p") as peer:
            assert peer.process.stdin is not None
            peer.process.stdin.write("[pool.set(i % 50, bytes(i % 5000)) for i in iter(int, 1)]\n")
            peer.process.stdin.flush()
            wait_until(lambda: len(pool) > 0)
            peer.kill()
        pool.mset({i: i for i in range(50)})
        assert pool.mget(range(50)) == {i: i for i in range(50)}
        pool.clear()
    wait_until(lambda: len(pool.members()) == 1)
    assert pool.check() == []


def test_stopped_process_stops_nobody(pool: latzero.Pool, peer: Peer) -> None:
    peer("pool.set('a', 1)")
    os.kill(peer.process.pid, signal.SIGSTOP)
    try:
        for i in range(1000):
            pool[i] = i
        assert len(pool) == 1001
        assert latzero.connect("p")["a"] == 1
    finally:
        os.kill(peer.process.pid, signal.SIGCONT)
    assert peer("pool[999]") == 999


# ---- multiprocessing ------------------------------------------------------------------


def add(pool: latzero.Pool, count: int) -> None:
    for _ in range(count):
        pool.increment("n")
    pool[os.getpid()] = pool.name


def add_to_both(pools: list[latzero.Pool], readonly: latzero.Pool) -> None:
    pools[0]["a"] = 1
    pools[1]["b"] = pools[0]["a"] + 1
    assert readonly.readonly
    assert readonly["b"] == 2
    try:
        readonly["c"] = 1
    except latzero.ReadOnlyError:
        pools[0]["refused"] = True


def start(method: str, target: Any, *args: Any) -> Any:
    process = multiprocessing.get_context(method).Process(target=target, args=args)
    with warnings.catch_warnings():
        if method == "fork" and thread_count() > 1 + len(latzero.list_pools()):
            warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process


def finish(process: Any) -> None:
    process.join(DEADLINE)
    assert process.exitcode == 0


@pytest.mark.parametrize("method", METHODS)
def test_handles_work_in_multiprocessing_children(pool: latzero.Pool, method: str) -> None:
    children = [start(method, add, pool, 500) for _ in range(3)]
    for child in children:
        finish(child)
    assert pool["n"] == 1500
    assert [pool[child.pid] for child in children] == ["p", "p", "p"]
    wait_until(lambda: len(pool.members()) == 1)


@pytest.mark.parametrize("method", METHODS)
def test_several_handles_travel_together(
    manager: latzero.SharedMemoryPool, pool: latzero.Pool, method: str
) -> None:
    other, reader = manager.connect("p"), manager.connect("p", readonly=True)
    finish(start(method, add_to_both, [pool, other, pool], reader))
    assert pool == {"a": 1, "b": 2, "refused": True}


def test_nothing_secret_or_lasting_is_pickled(pool: latzero.Pool) -> None:
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    with raises(TypeError, match="multiprocessing child"):
        queue.put(pool)
    queue.close()


def test_closed_handles_cannot_be_handed_on(manager: latzero.SharedMemoryPool) -> None:
    pool = manager.create("q")
    pool.close()
    with raises(latzero.PoolClosedError):
        start("spawn", add, pool, 1)


def call_in_worker(arguments: Any) -> int:
    directory, name, i = arguments
    os.environ["LATZERO_DIR"] = directory  # the fork server may be an earlier test's
    return latzero.connect(name).increment("n", i)


@pytest.mark.parametrize("method", METHODS)
def test_worker_pools(pool: latzero.Pool, method: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        workers = multiprocessing.get_context(method).Pool(2)
    with workers:
        workers.map(call_in_worker, [(os.environ["LATZERO_DIR"], "p", i) for i in range(20)])
    workers.join()
    assert pool["n"] == sum(range(20))


# ---- os.fork() ----------------------------------------------------------------------------

FORK = """
import os, sys, time, latzero
pool = latzero.create("f")
pool["a"] = 1

def threads():
    return len(os.listdir("/proc/self/task"))

def settle(count):
    "A thread that was joined may still be on its way out."
    end = time.monotonic() + 20
    while threads() != count:
        assert time.monotonic() < end, threads()

def in_child(work):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid

def wait(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def fork_script(code: str) -> None:
    run_python(FORK + code, "-W", "error")


def test_child_of_fork_works_with_the_parent_s_handle() -> None:
    fork_script("""
def work():
    assert pool["a"] == 1
    pool["b"] = os.getpid()
    assert len(pool.members()) == 2
    assert pool.check() == []
pid = in_child(work)
wait(pid)
assert pool["b"] == pid
assert pool.check() == []
""")


def test_fork_warns_of_nothing_and_the_thread_comes_back() -> None:
    fork_script("""
assert threads() == 2, threads()
for _ in range(5):
    wait(in_child(lambda: None))
    assert threads() == 2, threads()
""")


def test_parent_serves_while_it_waits_for_its_child() -> None:
    # no Python function is called between fork() and the blocking waitpid()
    fork_script("""
ppid = os.getpid()
pid = os.fork()
if pid == 0:
    end = time.monotonic() + 20
    while len(os.listdir(f"/proc/{ppid}/task")) != 2:
        if time.monotonic() > end:
            os._exit(1)
    os._exit(0)
status = os.waitpid(pid, 0)[1]
assert status == 0, "the service thread did not start again"
""")


def test_fork_beside_other_at_fork_hooks() -> None:
    fork_script("""
def hook():
    for i in range(1000):
        len([i])  # lets pending calls run while os.fork() has not returned
os.register_at_fork(before=hook, after_in_parent=hook, after_in_child=hook)
for _ in range(3):
    wait(in_child(lambda: pool.increment("n")))
assert pool["n"] == 3
assert threads() == 2, threads()
""")


def test_many_forks_in_a_row() -> None:
    fork_script("""
pids = [in_child(lambda: pool.increment("n")) for _ in range(10)]
for pid in pids:
    wait(pid)
assert pool["n"] == 10
assert threads() == 2
""")


def test_grandchildren() -> None:
    fork_script("""
def grandchild():
    pool.increment("n")
def child():
    pool.increment("n")
    wait(in_child(grandchild))
    pool.increment("n")
wait(in_child(child))
assert pool["n"] == 3
""")


def test_child_that_never_touches_the_pool_is_no_member() -> None:
    fork_script("""
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(w)
    os.read(r, 1)
    os._exit(0)
os.close(r)
assert len(pool.members()) in (1, 2)
os.close(w)
wait(pid)
""")


def test_child_outlives_the_parent_s_membership() -> None:
    fork_script("""
r, w = os.pipe()
def work():
    pool["alive"] = True
    os.write(w, b"x")
    other = latzero.connect("f")
    while other.get("go") is None:
        pass
    other["done"] = True
pid = in_child(work)
os.read(r, 1)
second = latzero.connect("f")
pool.close()
second.set("go", 1)
second.close()
wait(pid)
assert not latzero.exists("f")
""")


def test_child_can_close_its_handle() -> None:
    fork_script("""
def work():
    pool.close()
    assert latzero.exists("f")
    with latzero.connect("f") as again:
        again["b"] = 2
wait(in_child(work))
assert pool == {"a": 1, "b": 2}
""")


def test_child_of_a_fork_during_large_calls_can_close() -> None:
    # the count of calls in flight is copied, the threads whose calls it counts are not
    code = """
import threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
stop = False
def work():
    big = bytes(8 << 20)
    while not stop:
        pool["big"] = big
        pool["big"]
thread = threading.Thread(target=work)
thread.start()
def child():
    pool.increment("n")
    pool.close()
    fds = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
           if os.path.lexists(f"/proc/self/fd/{fd}")]
    assert not [fd for fd in fds if "memfd" in fd], fds
for _ in range(10):
    wait(in_child(child))
stop = True
thread.join()
assert pool["n"] == 10
assert pool.check() == []
"""
    fork_script(code)


def test_subprocess_and_forkpty_after_joining() -> None:
    fork_script("""
import pty, subprocess
for options in ({}, {"preexec_fn": lambda: None}, {"start_new_session": True}, {"close_fds": False}):
    subprocess.run([sys.executable, "-c", ""], check=True, **options)
    assert threads() == 2, (options, threads())
pid, fd = pty.fork()
if pid == 0:
    os._exit(0 if pool["a"] == 1 else 1)
wait(pid)
os.close(fd)
assert threads() == 2
""")


def test_subprocess_where_vfork_cannot_be_used() -> None:
    fork_script("""
import subprocess
subprocess._USE_VFORK = False
subprocess.run([sys.executable, "-c", ""], check=True)
assert threads() == 2, threads()
""")


def test_fork_in_another_thread() -> None:
    fork_script("""
import threading, warnings
errors = []
def work():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # two threads are two threads
            pid = in_child(lambda: pool.increment("n"))
        wait(pid)
        assert threads() == 3, threads()
    except BaseException as error:
        errors.append(error)
thread = threading.Thread(target=work)
thread.start()
thread.join()
assert errors == [], errors
assert pool["n"] == 1
settle(2)
""")


@pytest.mark.parametrize("method", METHODS)
def test_multiprocessing_with_warnings_as_errors(method: str) -> None:
    code = f"""
import multiprocessing, latzero
def work(pool):
    pool.increment("n")
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    pool = latzero.create("f")
    for _ in range(3):
        process = context.Process(target=work, args=(pool,))
        process.start()
        process.join()
        assert process.exitcode == 0
    assert pool["n"] == 3
"""
    path = os.path.join(os.environ["LATZERO_DIR"], "script.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(code)
    run_python(f"import runpy; runpy.run_path({path!r}, run_name='__main__')" if method == "fork"
               else f"import subprocess, sys; subprocess.run([sys.executable, '-W', 'error', {path!r}], check=True)",
               "-W", "error")


def test_fork_after_everything_was_closed() -> None:
    fork_script("""
pool.close()
settle(1)
wait(in_child(lambda: None))
settle(1)
pool = latzero.create("g")
assert threads() == 2
""")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="threads are counted from 3.12 on")
def test_fork_does_warn_where_there_are_other_threads() -> None:
    # the canary: these tests would see the warning
    fork_script("""
import threading, warnings
event = threading.Event()
thread = threading.Thread(target=event.wait)
thread.start()
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    wait(in_child(lambda: None))
assert [w.category for w in seen] == [DeprecationWarning]
event.set()
thread.join()
""")
