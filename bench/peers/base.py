# SPDX-License-Identifier: MIT
"""What every adapter offers to the driver.

The timed loops (`*_each`) run one operation per key and return nanoseconds,
loop included; the driver subtracts what the same loop costs when it is empty.
An adapter overrides a loop where its store has a faster way than a method call
per operation, so that each store is measured at its best. An operation that a
store does not have returns None and is shown as a dash.
"""

from time import perf_counter_ns as now


class Peer:
    name = ""
    operations = None  # at most so many operations a round; None: as the row says
    max_keys = 10_000_000  # loading more takes too long to be measured
    raw = False  # stores bytes only

    def __init__(self, directory):
        """Imports what it needs (ImportError: shown as missing). directory: on tmpfs."""
        self.directory = directory

    def open(self):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError

    def spell(self, keys):
        """The keys, made anew, as this store wants them."""
        return keys

    # ---- one operation each -------------------------------------------------------

    def get(self, key):
        raise NotImplementedError

    def set(self, key, value):
        raise NotImplementedError

    def delete(self, key):
        raise NotImplementedError

    def has(self, key):
        return self.get(key) is not None

    def load(self, keys, values):
        """Fills the store; not timed."""
        for key, value in zip(keys, values):
            self.set(key, value)

    def read(self, keys):
        """The values, in order, to check them; not timed."""
        get = self.get
        return [get(key) for key in keys]

    def overhead_bytes(self):
        """Memory in use, in bytes, or None if this store does not say."""
        return None

    # ---- timed loops ---------------------------------------------------------------

    def get_each(self, keys):
        get = self.get
        start = now()
        for key in keys:
            get(key)
        return now() - start

    def set_each(self, keys, values):
        set_ = self.set
        start = now()
        for key, value in zip(keys, values):
            set_(key, value)
        return now() - start

    def delete_each(self, keys):
        delete = self.delete
        start = now()
        for key in keys:
            delete(key)
        return now() - start

    def increment_each(self, keys):
        return None

    def mget(self, keys):
        return None

    def mset(self, mapping):
        return None


def each(function, keys):
    """Times `function(key)` over the keys."""
    start = now()
    for key in keys:
        function(key)
    return now() - start


def once(function, *arguments):
    """Times one call."""
    start = now()
    function(*arguments)
    return now() - start
