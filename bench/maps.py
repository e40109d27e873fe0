# SPDX-License-Identifier: MIT
"""Measures the map operations of all peers, side by side.

Each round does the same work with every peer in turn (A B C, A B C, ...), so
that a slow second of the machine meets all of them. Keys are made anew for
every measurement: no string has its hash cached, in `dict` or elsewhere. The
time of the same loop with an empty body is taken off. After each measurement
the values are read back and compared.
"""

import gc
import pickle
import random
import sys
from time import perf_counter_ns as now

from peers.base import each

ROUNDS = 11
BATCH = 1000


def spell(indices):
    """11-byte keys, new objects every time."""
    return [f"k{index:010d}" for index in indices]


def integer(index, generation):
    return index + generation * 1000


def hundred_bytes(index, generation):
    return b"%010d%090d" % (index, generation)


class Wrong(AssertionError):
    """A store gave back something else than was put in."""


class Setting:
    """All peers, filled with the same keys and values."""

    def __init__(self, peers, count, make_value, seed):
        self.make_value = make_value
        self.count = count
        self.random = random.Random(seed)
        self.generation = {}
        self.peers = []
        for peer in peers:
            if count > peer.max_keys or (peer.raw and make_value is integer):
                continue
            peer.open()
            self.peers.append(peer)
        self.before = {peer.name: peer.overhead_bytes() for peer in self.peers}
        for peer in self.peers:
            keys = peer.spell(spell(range(count)))
            peer.load(keys, [make_value(index, 0) for index in range(count)])
            self.generation[peer.name] = 0
        gc.collect()

    def close(self):
        for peer in self.peers:
            peer.close()
        gc.collect()

    def indices(self, wanted):
        return self.random.sample(range(self.count), wanted)

    def verify(self, peer, indices, expected):
        got = peer.read(peer.spell(spell(indices)))
        if got != expected:
            at = next(i for i, (a, b) in enumerate(zip(got, expected)) if a != b)
            raise Wrong(f"{peer.name}: key {indices[at]} is {got[at]!r}, not {expected[at]!r}")

    def bytes_per_record(self, peer_name, payload_bytes):
        """Memory beyond key and value, or None."""
        for peer in self.peers:
            if peer.name == peer_name and self.before[peer_name] is not None:
                used = peer.overhead_bytes() - self.before[peer_name]
                return used / self.count - payload_bytes
        return None


# ---- operations: nanoseconds each, or None --------------------------------------------


def warm(peer, indices):
    """Brings the store back into the caches after the other peers' turns."""
    peer.get_each(peer.spell(spell(indices)))


def empty_loop(keys):
    start = now()
    for _ in keys:
        pass
    return now() - start


def empty_pairs(keys, values):
    start = now()
    for _, _ in zip(keys, values):
        pass
    return now() - start


def get(setting, peer, indices):
    values = [setting.make_value(index, 0) for index in indices]
    keys = peer.spell(spell(indices))
    warm(peer, indices)
    took = peer.get_each(keys) - empty_loop(keys)
    setting.verify(peer, indices, values)
    return took / len(indices)


def replace(setting, peer, indices):
    setting.generation[peer.name] += 1
    values = [setting.make_value(index, setting.generation[peer.name]) for index in indices]
    keys = peer.spell(spell(indices))
    warm(peer, indices)
    took = peer.set_each(keys, values) - empty_pairs(keys, values)
    setting.verify(peer, indices, values)
    restore(setting, peer, indices)
    return took / len(indices)


def restore(setting, peer, indices):
    values = [setting.make_value(index, 0) for index in indices]
    peer.load(peer.spell(spell(indices)), values)


def new_then_delete(setting, peer, indices):
    """Sets keys that are not there, then deletes them: two results."""
    indices = [setting.count + index for index in indices]
    values = [setting.make_value(index, 0) for index in indices]
    keys = peer.spell(spell(indices))
    warm(peer, [index - setting.count for index in indices])
    added = peer.set_each(keys, values) - empty_pairs(keys, values)
    setting.verify(peer, indices, values)
    keys = peer.spell(spell(indices))
    removed = peer.delete_each(keys) - empty_loop(keys)
    if any(peer.has(key) for key in peer.spell(spell(indices))):
        raise Wrong(f"{peer.name}: a deleted key is still there")
    return added / len(indices), removed / len(indices)


def increment(setting, peer, indices):
    keys = peer.spell(spell(indices))
    warm(peer, indices)
    took = peer.increment_each(keys)
    if took is None:
        return None
    setting.verify(peer, indices, [setting.make_value(index, 0) + 1 for index in indices])
    restore(setting, peer, indices)
    return (took - empty_loop(keys)) / len(indices)


def batches(indices):
    return [indices[start:start + BATCH] for start in range(0, len(indices) - BATCH + 1, BATCH)]


def mget(setting, peer, indices):
    warm(peer, indices)
    took = [peer.mget(peer.spell(spell(batch))) for batch in batches(indices)]
    return None if not took or None in took else sum(took) / (BATCH * len(took))


def mset(setting, peer, indices):
    took = []
    warm(peer, indices)
    for batch in batches(indices):
        values = [setting.make_value(index, 7) for index in batch]
        took.append(peer.mset(dict(zip(peer.spell(spell(batch)), values))))
        if took[-1] is None:
            return None
        setting.verify(peer, batch, values)
        restore(setting, peer, batch)
    return sum(took) / (BATCH * len(took)) if took else None


# ---- rounds ---------------------------------------------------------------------------------


def run_rounds(setting, operation, wanted, rounds):
    """peer name -> list of results, one a round; interleaved."""
    samples = {peer.name: [] for peer in setting.peers}
    for _ in range(rounds):
        indices = setting.indices(wanted)
        for peer in setting.peers:
            few = operation in (mget, mset)
            limit = wanted if few or not peer.operations else min(wanted, peer.operations)
            if few and peer.operations:
                limit = BATCH
            samples[peer.name].append(operation(setting, peer, indices[:limit]))
    return {name: values for name, values in samples.items() if None not in values}


def small_keys(peers, plan, add):
    """10,000 keys: every operation, with int and with 100-byte values."""
    wanted = 2_000 if plan.quick else 10_000
    rounds = 3 if plan.quick else ROUNDS
    for make_value, kind in ((integer, "int"), (hundred_bytes, "100 B")):
        rows = [("get", get, "get {}, 10,000 keys"), ("set", replace, "set {}, replace")]
        if make_value is integer:
            rows += [("new", new_then_delete, None),
                     ("increment", increment, "increment"),
                     ("mget", mget, "mget of 1,000, a key"),
                     ("mset", mset, "mset of 1,000, a key")]
        rows = [row for row in rows if plan.wants(f"{row[0]}-{kind.split()[0]}")]
        if not rows:
            continue
        setting = Setting(peers, 10_000, make_value, plan.seed)
        try:
            for row, operation, title in rows:
                samples = run_rounds(setting, operation, wanted, rounds)
                if operation is new_then_delete:
                    pick = lambda at: {name: [pair[at] for pair in pairs]
                                       for name, pairs in samples.items()}
                    add("new-int", "set int, new key", "ns", pick(0))
                    add("delete-int", "delete", "ns", pick(1))
                else:
                    add(f"{row}-{kind.split()[0]}", title.format(kind), "ns", samples)
        finally:
            setting.close()


def many_keys(peers, plan, add):
    """1,000,000 keys: get, and the memory that a small record takes."""
    count = 100_000 if plan.quick else 1_000_000
    wanted = 10_000 if plan.quick else 100_000
    rounds = 3 if plan.quick else 7
    for make_value, kind in ((integer, "int"), (hundred_bytes, "100 B")):
        row = f"get-{kind.split()[0]}-many"
        memory = make_value is hundred_bytes and plan.wants("memory")
        if not plan.wants(row) and not memory:
            continue
        setting = Setting(peers, count, make_value, plan.seed)
        try:
            if memory:
                extra = setting.bytes_per_record("latzero", 11 + 100)
                if extra is not None:
                    add("memory", f"bytes beyond key and value, {count:,}", "B",
                        {"latzero": [extra]})
            if plan.wants(row):
                add(row, f"get {kind}, {count:,} keys", "ns",
                    run_rounds(setting, get, wanted, rounds))
        finally:
            setting.close()


def floors(plan, add):
    """What no store can be faster than, on this machine, in this run."""
    if not plan.wants("floor"):
        return
    wanted = 10_000
    samples = {"call": [], "int": [], "bytes": []}
    small, large = 12345, hundred_bytes(1, 1)
    turns = range(wanted)
    for _ in range(3 if plan.quick else ROUNDS):
        empty = empty_loop(turns)
        samples["call"].append((time_calls(turns) - empty) / wanted)
        for name, value in (("int", small), ("bytes", large)):
            took = each(lambda _, value=value: pickle.loads(pickle.dumps(value, 5)), turns)
            samples[name].append((took - empty) / wanted)
    add("floor-call", "floor: empty C method call", "ns", {"floor": samples["call"]})
    add("floor-pickle-int", "floor: pickle.loads(dumps(int))", "ns", {"floor": samples["int"]})
    add("floor-pickle-bytes", "floor: pickle.loads(dumps(100 B))", "ns",
        {"floor": samples["bytes"]})


def time_calls(turns):
    call = "".isascii
    start = now()
    for _ in turns:
        call()
    return now() - start


def run(peers, plan, add):
    gc.disable()  # no store pays for another one's garbage
    sys.setswitchinterval(1)
    try:
        floors(plan, add)
        small_keys(peers, plan, add)
        many_keys(peers, plan, add)
    finally:
        gc.enable()
