# SPDX-License-Identifier: MIT
"""stats, members, check: what a pool tells of itself."""

from __future__ import annotations

import json
import os
import time

import latzero
from helpers import Peer, wait_until

STATS = {
    "keys": int,
    "used_bytes": int,
    "committed_bytes": int,
    "max_bytes": int,
    "hits": int,
    "misses": int,
    "sets": int,
    "deletes": int,
    "expired": int,
    "resizes": int,
    "recovered_members": int,
    "index_buckets": int,
    "index_lines": int,
    "index_load": float,
    "members": int,
    "auth": bool,
    "encryption": bool,
    "pickle": bool,
    "created_at": float,
    "age": float,
}

MEMBER = {
    "pid": int,
    "uid": int,
    "program": str,
    "joined_at": float,
    "last_heartbeat": float,
    "ops": int,
    "hits": int,
    "misses": int,
    "sets": int,
    "deletes": int,
    "views": int,
    "self": bool,
}


def test_stats_have_these_fields(pool: latzero.Pool) -> None:
    stats = pool.stats()
    assert {name: type(value) for name, value in stats.items()} == STATS
    assert json.loads(json.dumps(stats)) == stats


def test_stats_count(pool: latzero.Pool) -> None:
    before = pool.stats()
    pool["a"] = 1
    pool["b"] = 2
    pool.get("a")
    pool.get("nothing")
    del pool["b"]
    after = pool.stats()
    change = {name: after[name] - before[name] for name in ("sets", "hits", "misses", "deletes")}
    assert change == {"sets": 2, "hits": 1, "misses": 1, "deletes": 1}
    assert (after["keys"], after["members"]) == (1, 1)
    assert abs(after["created_at"] - time.time()) < 60
    assert 0 <= after["age"] < 60
    assert 0 < after["committed_bytes"] <= after["max_bytes"]
    assert after["used_bytes"] <= after["committed_bytes"]


def test_stats_see_large_values(pool: latzero.Pool) -> None:
    assert pool.stats()["used_bytes"] < 8 << 20
    pool["k"] = b"x" * (8 << 20)
    assert pool.stats()["used_bytes"] >= 8 << 20


def test_expired_keys_are_counted(pool: latzero.Pool) -> None:
    pool.mset({i: i for i in range(10)}, auto_clean=0.02)
    wait_until(lambda: pool.stats()["expired"] >= 10)


def test_members_have_these_fields(pool: latzero.Pool) -> None:
    (member,) = pool.members()
    assert {name: type(value) for name, value in member.items()} == MEMBER
    assert json.loads(json.dumps([member])) == [member]
    assert member["pid"] == os.getpid()
    assert member["uid"] == os.getuid()
    assert member["self"] is True
    assert member["program"]
    assert abs(member["joined_at"] - time.time()) < 60
    assert abs(member["last_heartbeat"] - time.time()) < 60


def test_members_come_and_go(pool: latzero.Pool) -> None:
    with Peer("p") as peer:
        members = {member["pid"]: member for member in pool.members()}
        assert set(members) == {os.getpid(), peer.process.pid}
        assert members[peer.process.pid]["self"] is False
        peer("pool.set('a', 1)")
        peer("pool.get('a')")
        members = {member["pid"]: member for member in pool.members()}
        assert members[peer.process.pid]["sets"] == 1
        assert members[peer.process.pid]["ops"] >= 2
    wait_until(lambda: [m["pid"] for m in pool.members()] == [os.getpid()])


def test_killed_members_go_and_are_counted(pool: latzero.Pool) -> None:
    with Peer("p") as peer:
        peer("pool.set('a', [1])")
        peer.kill()
        wait_until(lambda: len(pool.members()) == 1)
    wait_until(lambda: pool.stats()["recovered_members"] >= 1)
    assert pool["a"] == [1]
    assert pool.check() == []


def test_handles_of_one_process_are_one_member(
    manager: latzero.SharedMemoryPool, pool: latzero.Pool
) -> None:
    handles = [manager.connect("p") for _ in range(5)]
    assert len(pool.members()) == 1
    for handle in handles:
        handle.close()
    assert len(pool.members()) == 1
    pool["still"] = "here"


def test_check_of_a_sound_pool_is_empty(pool: latzero.Pool) -> None:
    assert pool.check() == []
    pool.mset({i: b"x" * i for i in range(3000)})
    assert pool.check() == []
    pool.delete_many(range(0, 3000, 3))
    assert pool.check() == []
    pool.clear()
    assert pool.check() == []
