# SPDX-License-Identifier: MIT
"""Shared memory pools: one live mapping for all processes of a machine, without a server.

    >>> import latzero
    >>> pool = latzero.create("demo")                   # in one process
    >>> latzero.connect("demo").set("number", 42)       # in any other of the same user
    True
    >>> pool["number"]
    42

A pool lives exactly as long as a process is joined to it. The functions here are those of
one `SharedMemoryPool`, the default manager; `Pool` is the mapping they return.

Importing costs no thread, no file and no socket.
"""

from __future__ import annotations

import sys

if not sys.platform.startswith("linux"):
    raise ImportError("latzero runs on Linux 5.15 and newer only")

from ._auth import RawKey, harden
from ._core import __version__
from ._errors import (
    AuthenticationError,
    CorruptionError,
    IntegrityError,
    LatzeroError,
    PoolClosedError,
    PoolExistsError,
    PoolFullError,
    PoolNotFoundError,
    PoolTimeoutError,
    ReadOnlyError,
    SerializationError,
    UnsafePickleError,
)
from ._manager import PoolInfo, SharedMemoryPool
from ._pool import MISSING, Pool

__all__ = [
    "MISSING",
    "AuthenticationError",
    "CorruptionError",
    "IntegrityError",
    "LatzeroError",
    "Pool",
    "PoolClosedError",
    "PoolExistsError",
    "PoolFullError",
    "PoolInfo",
    "PoolNotFoundError",
    "PoolTimeoutError",
    "RawKey",
    "ReadOnlyError",
    "SerializationError",
    "SharedMemoryPool",
    "UnsafePickleError",
    "__version__",
    "connect",
    "create",
    "destroy",
    "exists",
    "harden",
    "list_pools",
]

_default_manager = SharedMemoryPool()

create = _default_manager.create
connect = _default_manager.connect
exists = _default_manager.exists
list_pools = _default_manager.list_pools
destroy = _default_manager.destroy
