# SPDX-License-Identifier: MIT
"""SharedMemoryPool: create, connect, exists, list_pools, destroy, close."""

from __future__ import annotations

import gc
import math
import os
import time
from typing import Any

import latzero
import pytest
from helpers import Peer, fd_count, raises, thread_count, wait_until
from latzero import SharedMemoryPool

GOOD_NAMES = ["a", "A-z_0.9", "x" * 100, "-", "_", "a.pool", "9"]
BAD_NAMES = ["", ".", ".a", "..", "a/b", "a b", "x" * 101, "ä", "a\n", "a\0b", "a\\", "*"]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_names_work(manager: SharedMemoryPool, name: str) -> None:
    pool = manager.create(name)
    assert pool.name == name
    assert manager.exists(name)
    assert manager.connect(name).name == name


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("call", ["create", "connect", "exists", "destroy"])
def test_bad_names_are_value_errors(manager: SharedMemoryPool, call: str, name: str) -> None:
    with raises(ValueError, match="pool name"):
        getattr(manager, call)(name)


@pytest.mark.parametrize("name", [None, 1, b"p", ["p"], ("p",), 1.5])
@pytest.mark.parametrize("call", ["create", "connect", "exists", "destroy"])
def test_names_that_are_no_str_are_type_errors(
    manager: SharedMemoryPool, call: str, name: Any
) -> None:
    with raises(TypeError, match="pool name must be a str"):
        getattr(manager, call)(name)


def test_create_twice_raises_exists(manager: SharedMemoryPool) -> None:
    manager.create("p")
    with raises(latzero.PoolExistsError, match="p"):
        SharedMemoryPool().create("p")


def test_exist_ok_joins_the_existing_pool(manager: SharedMemoryPool) -> None:
    first = manager.create("p", exist_ok=True)
    first["a"] = 1
    assert manager.create("p", exist_ok=True)["a"] == 1


def test_exist_ok_with_other_flags_is_a_value_error(manager: SharedMemoryPool) -> None:
    first = manager.create("p", pickle=False)
    with raises(ValueError, match="pickle=False"):
        manager.create("p", exist_ok=True)
    first["a"] = 1
    assert manager.create("p", pickle=False, exist_ok=True)["a"] == 1


def test_connect_to_nothing_raises_not_found(manager: SharedMemoryPool) -> None:
    with raises(latzero.PoolNotFoundError, match="nothing"):
        manager.connect("nothing")


def test_exists_says_whether_somebody_holds_it(manager: SharedMemoryPool) -> None:
    assert manager.exists("p") is False
    pool = manager.create("p")
    assert manager.exists("p") is True
    pool.close()
    assert manager.exists("p") is False


def test_destroy_nothing_raises_not_found(manager: SharedMemoryPool) -> None:
    with raises(latzero.PoolNotFoundError, match="nothing"):
        manager.destroy("nothing")


def test_destroy_frees_the_name_and_ends_the_pool_for_all(
    manager: SharedMemoryPool, pool: latzero.Pool, peer: Peer
) -> None:
    pool["a"] = 1
    assert peer("pool['a']") == 1
    manager.destroy("p")
    assert not manager.exists("p")
    with raises(latzero.PoolClosedError):
        pool.get("a")
    assert peer("pool.get('a')") == "PoolClosedError"
    again = SharedMemoryPool().create("p")
    assert "a" not in again
    again.close()


@pytest.mark.parametrize(
    "options", [{"auth": True}, {"encryption": True}, {"auth": True, "encryption": True}]
)
def test_protection_without_a_key_is_a_value_error(
    manager: SharedMemoryPool, options: dict[str, bool]
) -> None:
    with raises(ValueError, match="auth_key"):
        manager.create("p", **options)  # type: ignore[arg-type]
    assert not manager.exists("p")


def test_a_key_never_makes_an_open_pool(manager: SharedMemoryPool) -> None:
    with raises(ValueError, match="auth_key"):
        manager.create("p", auth_key="secret")
    assert not manager.exists("p")


def test_key_for_an_open_pool_is_an_authentication_error(
    manager: SharedMemoryPool, pool: latzero.Pool
) -> None:
    with raises(latzero.AuthenticationError) as info:
        manager.connect("p", auth_key="secret")
    assert info.value.retry_after is None
    with raises(latzero.AuthenticationError):
        manager.destroy("p", auth_key="secret")
    assert manager.exists("p")
    with raises(latzero.PoolNotFoundError):
        manager.destroy("nothing", auth_key="secret")


@pytest.mark.parametrize("compress", ["zlib", "lz4", "zstd"])
def test_compression_is_refused_for_now(manager: SharedMemoryPool, compress: str) -> None:
    with raises(NotImplementedError):
        manager.create("p", compress=compress)


@pytest.mark.parametrize("compress", ["gzip", "", "NONE"])
def test_unknown_compression_is_a_value_error(manager: SharedMemoryPool, compress: str) -> None:
    with raises(ValueError, match="compress"):
        manager.create("p", compress=compress)


@pytest.mark.parametrize("size", [0, -1, 1 << 63, 1 << 80])
def test_bad_sizes_are_value_errors(manager: SharedMemoryPool, size: int) -> None:
    with raises(ValueError, match="max_size"):
        manager.create("p", max_size=size)


@pytest.mark.parametrize("size", ["1", 1.5, True, b"1"])
def test_sizes_that_are_no_int_are_type_errors(manager: SharedMemoryPool, size: Any) -> None:
    with raises(TypeError, match="max_size"):
        manager.create("p", max_size=size)


@pytest.mark.parametrize("timeout", [0, -1, 0.0, math.nan, -math.inf])
def test_bad_timeouts_are_value_errors(manager: SharedMemoryPool, timeout: float) -> None:
    with raises(ValueError, match="timeout"):
        manager.connect("p", timeout=timeout)


@pytest.mark.parametrize("timeout", ["1", None, True])
def test_timeouts_that_are_no_number_are_type_errors(
    manager: SharedMemoryPool, timeout: Any
) -> None:
    with raises(TypeError, match="timeout"):
        manager.connect("p", timeout=timeout)


def test_long_timeouts_work(manager: SharedMemoryPool, pool: latzero.Pool) -> None:
    assert manager.connect("p", timeout=math.inf).name == "p"
    assert manager.connect("p", timeout=1e300).name == "p"
    assert manager.connect("p", timeout=1e-9 + 1).name == "p"


def test_options_are_by_name_only(manager: SharedMemoryPool) -> None:
    with pytest.raises(TypeError):
        manager.create("p", False, None, False, 1 << 22)  # type: ignore[misc]
    with pytest.raises(TypeError):
        manager.connect("p", None, True)  # type: ignore[misc]


def test_list_pools_tells_each_pool(manager: SharedMemoryPool) -> None:
    assert manager.list_pools() == []
    before = time.time()
    manager.create("b", max_size=8 << 20)["k"] = 1
    manager.create("a")
    infos = {info.name: info for info in manager.list_pools()}
    assert sorted(infos) == ["a", "b"]
    info = infos["b"]
    assert (info.auth, info.encryption, info.members, info.keys) == (False, False, 1, 1)
    assert info.max_bytes is not None
    assert 0 < info.max_bytes <= 16 << 20
    assert info.used_bytes is not None
    assert info.used_bytes >= 0
    assert info.created_at is not None
    assert abs(info.created_at - before) < 60
    assert info.last_heartbeat is not None
    assert abs(info.last_heartbeat - before) < 60
    assert repr(info).startswith("PoolInfo(name='b', auth=False")


def test_list_pools_counts_members(manager: SharedMemoryPool, pool: latzero.Pool) -> None:
    with Peer("p"):
        assert [info.members for info in manager.list_pools()] == [2]
    wait_until(lambda: [info.members for info in manager.list_pools()] == [1])


def test_leftovers_of_the_killed_are_not_listed_and_removed(
    manager: SharedMemoryPool, rendezvous: str
) -> None:
    manager.create("p")
    with Peer("p") as peer:
        manager.close()
        assert manager.exists("p")
        peer.kill()
    wait_until(lambda: not manager.exists("p"))
    assert manager.list_pools() == []
    assert [name for name in os.listdir(rendezvous) if name.startswith("p")] == []
    with raises(latzero.PoolNotFoundError):
        manager.connect("p")
    manager.create("p")


def test_pool_lives_while_any_process_is_joined(manager: SharedMemoryPool) -> None:
    pool = manager.create("p")
    pool["a"] = [1]
    with Peer("p") as peer:
        pool.close()
        assert peer("pool['a']") == [1]
        assert manager.connect("p")["a"] == [1]
        manager.close()
        assert manager.exists("p")
    wait_until(lambda: not manager.exists("p"))


def test_manager_keeps_what_it_made(manager: SharedMemoryPool) -> None:
    manager.create("p")  # nobody keeps the Pool
    gc.collect()
    assert SharedMemoryPool().connect("p").name == "p"


def test_manager_does_not_keep_what_it_connected_to(manager: SharedMemoryPool) -> None:
    pool = manager.create("p")
    other = SharedMemoryPool()
    handle = other.connect("p")
    pool.close()
    assert manager.exists("p")
    del handle
    gc.collect()
    assert not manager.exists("p")


def test_pool_outlives_the_manager_it_was_connected_by(pool: latzero.Pool) -> None:
    handle = SharedMemoryPool().connect("p")
    gc.collect()
    handle["a"] = 1
    assert pool["a"] == 1


def test_manager_close_leaves_every_pool() -> None:
    with SharedMemoryPool() as manager:
        pools = [manager.create("a"), manager.create("b"), manager.connect("a")]
    assert all(pool.closed for pool in pools)
    assert manager.list_pools() == []
    manager.close()
    manager.create("a").close()


def test_nothing_is_left_after_close(rendezvous: str) -> None:
    with SharedMemoryPool() as manager:
        manager.create("warm-up")["a"] = [1]
    threads, fds = thread_count(), fd_count()
    for _ in range(20):
        with SharedMemoryPool() as manager:
            manager.create("p")["a"] = 1
            manager.connect("p")["b"] = 2
    wait_until(lambda: thread_count() == threads)
    assert fd_count() == fds
    assert os.listdir(rendezvous) == []


def test_unsafe_directory_is_refused_with_a_reason(
    manager: SharedMemoryPool, rendezvous: str
) -> None:
    os.chmod(rendezvous, 0o777)
    with raises(PermissionError, match=os.path.basename(rendezvous)):
        manager.create("p")
    os.chmod(rendezvous, 0o700)
    manager.create("p")


def test_directory_that_cannot_be_made_says_so(
    manager: SharedMemoryPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATZERO_DIR", "/proc/no/such/place")
    with pytest.raises(OSError) as info:
        manager.create("p")
    assert "\n" not in str(info.value)
