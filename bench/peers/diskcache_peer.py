# SPDX-License-Identifier: MIT
"""diskcache on tmpfs: SQLite behind a mapping."""

import os
import shutil

from .base import Peer, each, once


class Diskcache(Peer):
    name = "diskcache"
    operations = 500
    max_keys = 100_000

    def __init__(self, directory):
        import diskcache

        super().__init__(directory)
        self.diskcache = diskcache

    def open(self):
        self.path = os.path.join(self.directory, "diskcache")
        self.cache = self.diskcache.Cache(self.path, eviction_policy="none", size_limit=1 << 40)
        self.get = self.cache.get
        self.set = self.cache.set
        self.delete = self.cache.delete

    def close(self):
        self.cache.close()
        shutil.rmtree(self.path)
        del self.get, self.set, self.delete

    def load(self, keys, values):
        with self.cache.transact():
            super().load(keys, values)

    def increment_each(self, keys):
        return each(self.cache.incr, keys)

    def mget(self, keys):
        def run():
            with self.cache.transact():
                return {key: self.cache.get(key) for key in keys}
        return once(run)

    def mset(self, mapping):
        return once(self.load, mapping.keys(), mapping.values())


PEERS = [Diskcache]
