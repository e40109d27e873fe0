# SPDX-License-Identifier: MIT
"""One pool, a few values: make it, write, read, let it go.

Run it:  python examples/simple_pool.py
"""

import latzero

NAME = "example-simple"

with latzero.create(NAME) as pool:
    # Any object comes back equal and of the same type.
    pool["number"] = 42
    pool.set("player", {"name": "Ada", "hp": 97.5, "position": (3, 4)})
    pool.set(("tuple", "keys", 1), [None, True, b"bytes"])

    print("number:", pool["number"])
    print("player:", pool.get("player"))
    print("tuple key:", pool.get(("tuple", "keys", 1)))
    print("missing:", pool.get("nobody", "a default"))

    # Conditional and atomic operations: no lock, no lost update.
    print("set if absent:", pool.set("number", 0, nx=True))
    print("increment:", pool.increment("number", 8))
    print("append:", pool.append("log", "started"), pool["log"])

    # A key that cleans itself up.
    pool.set("session", "token", auto_clean=60)
    print("session lives for", round(pool.ttl("session")), "seconds")

    # The manners of a dict.
    del pool["session"]
    print("keys:", sorted(pool.keys(prefix="p")), "of", len(pool))
    print("here:", "player" in pool, latzero.exists(NAME))

# The last member has left: the kernel has freed the memory.
print("afterwards:", latzero.exists(NAME))
