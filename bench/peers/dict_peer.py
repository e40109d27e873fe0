# SPDX-License-Identifier: MIT
"""dict: one process, no sharing. The floor, not a competitor."""

from .base import Peer, now, once


class Dict(Peer):
    name = "dict"

    def open(self):
        self.map = {}
        self.get = self.map.get
        self.set = self.map.__setitem__
        self.delete = self.map.__delitem__

    def close(self):
        del self.map, self.get, self.set, self.delete

    def increment_each(self, keys):
        table = self.map
        start = now()
        for key in keys:
            table[key] += 1
        return now() - start

    def mget(self, keys):
        table = self.map
        return once(lambda: {key: table[key] for key in keys if key in table})

    def mset(self, mapping):
        return once(self.map.update, mapping)


PEERS = [Dict]
