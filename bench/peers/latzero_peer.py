# SPDX-License-Identifier: MIT
"""latzero: a pool that this process made."""

import os

from .base import Peer, each, once


class Latzero(Peer):
    name = "latzero"

    def __init__(self, directory):
        import latzero

        super().__init__(directory)
        self.latzero = latzero

    def open(self):
        self.pool = self.latzero.create(f"bench-{os.getpid()}")
        self.get = self.pool.get
        self.set = self.pool.set
        self.delete = self.pool.delete

    def close(self):
        self.pool.close()
        del self.get, self.set, self.delete

    def load(self, keys, values):
        step = 10_000
        for start in range(0, len(keys), step):
            self.pool.mset(dict(zip(keys[start:start + step], values[start:start + step])))

    def overhead_bytes(self):
        return self.pool.stats()["used_bytes"]

    def increment_each(self, keys):
        return each(self.pool.increment, keys)

    def mget(self, keys):
        return once(self.pool.mget, keys)

    def mset(self, mapping):
        return once(self.pool.mset, mapping)


PEERS = [Latzero]
