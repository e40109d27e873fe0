# SPDX-License-Identifier: MIT
"""py-lmdb on tmpfs with every safety that costs time switched off.

Two variants: pickled values under str keys, which is what a user who stores
Python objects writes, and raw bytes under bytes keys, which is the least LMDB
can do. Each operation is a transaction of its own: that is how a reader sees
what others wrote, and a writer is seen.
"""

import os
import pickle
import shutil

from .base import Peer, now, once

MAP_BYTES = 8 << 30


class LmdbRaw(Peer):
    name = "lmdb raw"
    raw = True

    def __init__(self, directory):
        import lmdb

        super().__init__(directory)
        self.lmdb = lmdb

    def open(self):
        self.path = os.path.join(self.directory, self.name.replace(" ", "-"))
        self.env = self.lmdb.open(self.path, map_size=MAP_BYTES, sync=False, metasync=False,
                                  writemap=True, map_async=True)

    def close(self):
        self.env.close()
        shutil.rmtree(self.path)

    def spell(self, keys):
        return [key.encode() for key in keys]

    def load(self, keys, values):
        with self.env.begin(write=True) as txn:
            txn.cursor().putmulti(zip(keys, values))

    def has(self, key):
        with self.env.begin() as txn:
            return txn.get(key) is not None

    def read(self, keys):
        with self.env.begin() as txn:
            return [txn.get(key) for key in keys]

    def get_each(self, keys):
        begin = self.env.begin
        start = now()
        for key in keys:
            with begin() as txn:
                txn.get(key)
        return now() - start

    def set_each(self, keys, values):
        begin = self.env.begin
        start = now()
        for key, value in zip(keys, values):
            with begin(write=True) as txn:
                txn.put(key, value)
        return now() - start

    def delete_each(self, keys):
        begin = self.env.begin
        start = now()
        for key in keys:
            with begin(write=True) as txn:
                txn.delete(key)
        return now() - start

    def mget(self, keys):
        def run():
            with self.env.begin() as txn:
                return dict(txn.cursor().getmulti(keys))
        return once(run)

    def mset(self, mapping):
        return once(self.load, mapping.keys(), mapping.values())


class LmdbPickled(LmdbRaw):
    name = "lmdb pickled"
    raw = False

    def spell(self, keys):
        return keys

    def load(self, keys, values):
        dumps = pickle.dumps
        with self.env.begin(write=True) as txn:
            txn.cursor().putmulti((key.encode(), dumps(value, 5))
                                  for key, value in zip(keys, values))

    def has(self, key):
        return super().has(key.encode())

    def read(self, keys):
        with self.env.begin() as txn:
            return [pickle.loads(txn.get(key.encode())) for key in keys]

    def get_each(self, keys):
        begin, loads = self.env.begin, pickle.loads
        start = now()
        for key in keys:
            with begin() as txn:
                loads(txn.get(key.encode()))
        return now() - start

    def set_each(self, keys, values):
        begin, dumps = self.env.begin, pickle.dumps
        start = now()
        for key, value in zip(keys, values):
            with begin(write=True) as txn:
                txn.put(key.encode(), dumps(value, 5))
        return now() - start

    def delete_each(self, keys):
        begin = self.env.begin
        start = now()
        for key in keys:
            with begin(write=True) as txn:
                txn.delete(key.encode())
        return now() - start

    def increment_each(self, keys):
        begin, loads, dumps = self.env.begin, pickle.loads, pickle.dumps
        start = now()
        for key in keys:
            with begin(write=True) as txn:
                name = key.encode()
                txn.put(name, dumps(loads(txn.get(name)) + 1, 5))
        return now() - start

    def mget(self, keys):
        def run():
            with self.env.begin() as txn:
                found = txn.cursor().getmulti([key.encode() for key in keys])
                return {key.decode(): pickle.loads(value) for key, value in found}
        return once(run)


PEERS = [LmdbPickled, LmdbRaw]
