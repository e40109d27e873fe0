# SPDX-License-Identifier: MIT
"""multiprocessing.Manager().dict(): the standard library's shared mapping."""

import multiprocessing

from .base import Peer, now, once


class Manager(Peer):
    name = "Manager"
    operations = 500
    max_keys = 100_000

    def open(self):
        # Not fork: the other stores are open in this process.
        self.manager = multiprocessing.get_context("spawn").Manager()
        self.map = self.manager.dict()
        self.get = self.map.get
        self.set = self.map.__setitem__
        self.delete = self.map.__delitem__

    def close(self):
        self.manager.shutdown()
        del self.map, self.get, self.set, self.delete

    def load(self, keys, values):
        self.map.update(dict(zip(keys, values)))

    def increment_each(self, keys):
        # Not atomic: with several processes, updates are lost.
        table = self.map
        start = now()
        for key in keys:
            table[key] += 1
        return now() - start

    def mset(self, mapping):
        return once(self.map.update, mapping)


PEERS = [Manager]
