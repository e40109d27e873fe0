# SPDX-License-Identifier: MIT
"""What latzero raises.

Each class also is the built-in error that a generic handler expects:

    LatzeroError
    ├── PoolNotFoundError     (FileNotFoundError)   no process holds a pool of that name
    ├── PoolExistsError       (FileExistsError)     the name is taken
    ├── AuthenticationError   (PermissionError)     wrong, missing or needless auth_key, or too many tries
    ├── ReadOnlyError         (PermissionError)     a write through a readonly=True handle
    ├── PoolFullError         (MemoryError)         no memory for this value, or no room for one more member; the pool stays usable
    ├── PoolClosedError       (ValueError)          the handle is closed, or the pool was destroyed
    ├── PoolTimeoutError      (TimeoutError)        nobody answered, or nothing came, in time
    ├── IntegrityError                              a record failed its HMAC or AES-GCM tag
    ├── CorruptionError                             the pool's own structures are damaged
    ├── SerializationError    (TypeError)           this value cannot be stored, or not be read back
    └── UnsafePickleError                           a pickle in a pool made with pickle=False

After any of them the pool is as it was before the call. Every message is one line.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "CorruptionError",
    "IntegrityError",
    "LatzeroError",
    "PoolClosedError",
    "PoolExistsError",
    "PoolFullError",
    "PoolNotFoundError",
    "PoolTimeoutError",
    "ReadOnlyError",
    "SerializationError",
    "UnsafePickleError",
]


class LatzeroError(Exception):
    """Base of all errors of latzero."""


class PoolNotFoundError(LatzeroError, FileNotFoundError):
    """No process holds a pool of that name."""


class PoolExistsError(LatzeroError, FileExistsError):
    """Some process holds a pool of that name already."""


class AuthenticationError(LatzeroError, PermissionError):
    """The auth_key is wrong, missing, or given for a pool that has none; or there were too many tries.

    Attributes:
        retry_after: seconds after which another try may be let in; None unless tries were limited.
    """

    retry_after: float | None = None

    def __init__(self, *args: object, retry_after: float | None = None) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class ReadOnlyError(LatzeroError, PermissionError):
    """A write through a handle that was connected with readonly=True."""


class PoolFullError(LatzeroError, MemoryError):
    """The pool (max_size) or the system has no memory left for this value."""


class PoolClosedError(LatzeroError, ValueError):
    """The handle is closed, or the pool was destroyed."""


class PoolTimeoutError(LatzeroError, TimeoutError):
    """Every member of the pool is stopped, or what was waited for did not come in time."""


class IntegrityError(LatzeroError):
    """A record failed its authentication: somebody changed the memory by other means."""


class CorruptionError(LatzeroError):
    """The pool's own structures are damaged."""


class SerializationError(LatzeroError, TypeError):
    """This value cannot be stored, or these bytes cannot be read back."""


class UnsafePickleError(LatzeroError):
    """A pickle in a pool that was made with pickle=False."""


for _class in (LatzeroError, *LatzeroError.__subclasses__()):
    _class.__module__ = "latzero"  # where users find it, and what a traceback shows
del _class
