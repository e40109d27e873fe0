# SPDX-License-Identifier: MIT
"""Pool: the mapping.

What must be fast is in C (`_core.Pool`); here is what is composed of it. The compositions
are atomic where their documentation says so: they read a value with its version, compute,
and write on condition that the version is still the same, until that succeeds.
"""

from __future__ import annotations

import os
import sys

# the module behind collections.abc: every interpreter has it loaded, `collections` not
from _collections_abc import ItemsView, KeysView, Mapping, MutableMapping, ValuesView

from . import _core
from ._errors import ReadOnlyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Union

    from typing_extensions import Self

    _Key = Union[str, bytes, int, "tuple[_Key, ...]"]
    _Keys = KeysView[_Key]
    _Values = ValuesView[Any]
    _Items = ItemsView[_Key, Any]
    _Mapping = MutableMapping[_Key, Any]
else:
    _Keys, _Values, _Items, _Mapping = KeysView, ValuesView, ItemsView, MutableMapping

__all__ = ["MISSING", "Pool"]

_SCAN_COUNT = 500  # keys a round of iteration


class _Missing:
    """The type of MISSING."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "latzero.MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""Stands for "no value" where None is one."""


def _keys(pool: Pool, prefix: str | None) -> Iterator[_Key]:
    cursor = 0
    while True:
        cursor, keys = pool._scan(cursor, _SCAN_COUNT, prefix)
        yield from keys
        if cursor == 0:
            return


def _items(pool: Pool, prefix: str | None) -> Iterator[tuple[_Key, Any]]:
    cursor = 0
    while True:
        cursor, keys = pool._scan(cursor, _SCAN_COUNT, prefix)
        yield from pool.mget(keys).items()
        if cursor == 0:
            return


def _check_prefix(prefix: str | None) -> None:
    if prefix is not None and not isinstance(prefix, str):
        raise TypeError(f"prefix must be a str or None, not {type(prefix).__name__}")


class _PrefixView:
    """keys(), values() and items(): live, any number of passes, weakly consistent."""

    __slots__ = ()
    _mapping: Pool
    _prefix: str | None

    def __len__(self) -> int:
        if self._prefix is None:
            return len(self._mapping)
        return sum(1 for _ in _keys(self._mapping, self._prefix))

    def __repr__(self) -> str:
        prefix = "" if self._prefix is None else f" with prefix {self._prefix!r}"
        return f"<{type(self).__name__} of {self._mapping!r}{prefix}>"

    def _covers(self, key: object) -> bool:
        prefix = self._prefix
        return prefix is None or (isinstance(key, str) and key.startswith(prefix))


class PoolKeys(_PrefixView, _Keys):
    """The keys of a pool, set-like."""

    __slots__ = ("_prefix",)

    def __init__(self, pool: Pool, prefix: str | None) -> None:
        _check_prefix(prefix)
        self._mapping = pool
        self._prefix = prefix

    def __iter__(self) -> Iterator[_Key]:
        return _keys(self._mapping, self._prefix)

    def __contains__(self, key: object) -> bool:
        return self._covers(key) and key in self._mapping


class PoolValues(_PrefixView, _Values):
    """The values of a pool."""

    __slots__ = ("_prefix",)

    def __init__(self, pool: Pool, prefix: str | None) -> None:
        _check_prefix(prefix)
        self._mapping = pool
        self._prefix = prefix

    def __iter__(self) -> Iterator[Any]:
        for _, value in _items(self._mapping, self._prefix):
            yield value

    def __contains__(self, value: object) -> bool:
        return any(other is value or other == value for other in self)


class PoolItems(_PrefixView, _Items):
    """The (key, value) pairs of a pool; each pair is what the key held at one moment."""

    __slots__ = ("_prefix",)

    def __init__(self, pool: Pool, prefix: str | None) -> None:
        _check_prefix(prefix)
        self._mapping = pool
        self._prefix = prefix

    def __iter__(self) -> Iterator[tuple[_Key, Any]]:
        return _items(self._mapping, self._prefix)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2 or not self._covers(item[0]):
            return False
        value = self._mapping.get(item[0], MISSING)
        return value is not MISSING and bool(value == item[1])


def _same(stored: object, expected: object) -> bool:
    return type(stored) is type(expected) and bool(stored == expected)


def _rejoin(cls: type[Pool], name: str, fds: tuple[Any, ...], readonly: bool) -> Pool:
    """In a multiprocessing child: the pool that its parent handed over."""
    memory, listener, key = (-1 if fd is None else fd.detach() for fd in fds)
    return _core.join(cls, name, memory, listener, key, _core.READONLY if readonly else 0)


class Pool(_core.Pool, _Mapping):
    """A shared memory pool: a mapping that all its processes read and write live.

    Pools come from `SharedMemoryPool.create` and `.connect` (also as `latzero.create` and
    `.connect`). Two handles on one pool in one process share one membership.

    Keys: str, bytes, int (a bool is its int), or a tuple of these, nested up to 8 deep, of
    up to 65,535 bytes when encoded. Values: whatever pickle can store; types come back
    exactly. None is a value: missing and None are different everywhere.

    Every operation on one key is linearizable across processes; one on several keys is one
    such operation for each. Any thread may call; after `os.fork()` the child's handles work;
    a handle given to a multiprocessing child (spawn, forkserver, fork) works there.

    Errors: PoolClosedError after close() or destroy(), ReadOnlyError for writes through a
    read-only handle, PoolFullError, SerializationError, CorruptionError, and in locked pools
    IntegrityError. After each the pool is as it was before the call.

    What is promised when processes die, stop, or need more memory than there is:

    - A process killed at any moment (SIGKILL, a crash, the OOM killer) makes nobody wait and
      leaves no value half written. A call of its that had not returned was done, or was not.
      What it held the others give back, the first of it within about a second.
    - A process that is stopped (SIGSTOP, a debugger, a frozen container) stays a member, and
      nobody waits for it. All values remain everybody's to read, replace and delete; but the
      memory of what it wrote is not used again before it goes on or dies, so the pool is full
      the sooner. When all of a pool's processes are stopped, its name stays taken and
      connect() ends with PoolTimeoutError.
    - A pool is memory and nothing else: it ends with its last process, and with the machine.
    - PoolFullError: max_size is reached, or the machine or the container has no more to give.
      That call changed nothing; reading and deleting go on. Memory is asked for before it is
      used, so no write is answered with SIGBUS. One rare read may be, or by the OOM killer:
      that of a process which was stopped for more than a second in the middle of it, when
      the container is at its limit.
    - Deleted memory goes back to the system after about a second.
    - Reading a large value that others replace faster than it can be copied goes on until
      they pause.
    """

    __slots__ = ()

    # ---- reading many ----------------------------------------------------------

    def scan(
        self, cursor: int = 0, count: int = 100, prefix: str | None = None
    ) -> tuple[int, list[_Key]]:
        """About `count` keys from `cursor` on, and the cursor to go on with; 0: that was all.

        A key that is there all the time is given exactly once, one that comes or goes
        meanwhile at most once. No order. `prefix`: only str keys that begin with it.
        """
        return self._scan(cursor, count, prefix)

    def keys(self, prefix: str | None = None) -> PoolKeys:
        """The keys; with `prefix`, the str keys that begin with it. Weakly consistent as scan()."""
        return PoolKeys(self, prefix)

    def values(self, prefix: str | None = None) -> PoolValues:
        """The values of keys(prefix)."""
        return PoolValues(self, prefix)

    def items(self, prefix: str | None = None) -> PoolItems:
        """The (key, value) pairs of keys(prefix)."""
        return PoolItems(self, prefix)

    def __iter__(self) -> Iterator[_Key]:
        return _keys(self, None)

    def copy(self) -> dict[_Key, Any]:
        """A dict of everything, weakly consistent as scan()."""
        return dict(_items(self, None))

    def __eq__(self, other: object) -> bool:
        if other is self:
            return True
        if isinstance(other, Mapping):
            return self.copy() == dict(other.items())
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    # ---- writing many ----------------------------------------------------------

    def update(  # type: ignore[override]
        self, other: Mapping[_Key, Any] | Iterable[tuple[_Key, Any]] = (), /, **more: Any
    ) -> None:
        """Write every item of a mapping or of an iterable of pairs, then the keywords.

        Each key is written atomically, the whole is not.
        """
        # dict(pool) would fail on a key that goes meanwhile
        items: dict[_Key, Any] = other.copy() if isinstance(other, Pool) else dict(other)
        items.update(more)
        self.mset(items)

    def popitem(self) -> tuple[_Key, Any]:
        """Remove some key and return it with its value, atomically. KeyError when empty."""
        # A random start: processes that empty a pool together rarely meet, and the part
        # that is already empty is not walked through each time.
        for cursor in (int.from_bytes(os.urandom(8), "little"), 0):
            while True:
                cursor, keys = self._scan(cursor, 1, None)
                for key in keys:
                    value = self.pop(key, MISSING)
                    if value is not MISSING:
                        return key, value
                if cursor == 0:
                    break
        raise KeyError("popitem(): the pool is empty")

    # ---- read, compute, write ----------------------------------------------------

    def _read(self, key: _Key) -> tuple[Any, int]:
        try:
            return self.get_versioned(key)
        except KeyError:
            return MISSING, 0

    def compare_and_set(self, key: _Key, expected: Any, new: Any) -> bool:
        """Write `new` if the key's value has the type of `expected` and equals it; atomic.

        A missing key equals nothing but MISSING. Keeps auto_clean. Returns whether it wrote.
        """
        if self.readonly:
            raise ReadOnlyError("this pool was connected with readonly=True")
        while True:
            value, version = self._read(key)
            if not _same(value, expected):
                return False
            if self.set(key, new, keep_ttl=True, if_version=version):
                return True

    def modify(self, key: _Key, func: Callable[[Any], Any], default: Any = MISSING) -> Any:
        """Replace the value by func(value), atomically; returns the new value.

        `func` is called again, with the new value, when another writer came first, so it
        should have no other effects. A missing key starts with `default`; without one:
        KeyError. Keeps auto_clean.
        """
        if self.readonly:
            raise ReadOnlyError("this pool was connected with readonly=True")
        while True:
            value, version = self._read(key)
            if value is MISSING:
                if default is MISSING:
                    raise KeyError(key)
                value = default
            new = func(value)
            if self.set(key, new, keep_ttl=True, if_version=version):
                return new

    def append(self, key: _Key, item: Any) -> int:
        """Append to a list, or concatenate to a str or bytes, atomically; returns the new length.

        A missing key starts an empty list. TypeError, and nothing changed, when the value is
        of another type, or a str or bytes and `item` is not. Keeps auto_clean.
        """
        return len(self.modify(key, lambda value: _appended(value, item), []))

    # ---- the handle ----------------------------------------------------------------

    def __enter__(self) -> Self:
        if self.closed:
            self.stats()  # raises PoolClosedError
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            state = f"{len(self)} keys"
        except Exception as error:  # a repr must not raise
            state = "closed" if self.closed else type(error).__name__
        return f"<latzero.Pool {self.name!r} {state}>"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Only for a multiprocessing child: descriptors travel, no name, no auth_key.

        The key of a locked pool lies in the kernel, in the queue of one of the descriptors,
        until the child takes it out: it is in no pickle, file or argument.
        """
        context = sys.modules.get("multiprocessing.context")
        popen = None if context is None else context.get_spawning_popen()
        if popen is None:
            raise TypeError(
                "a Pool can only be pickled for a multiprocessing child that is being started; "
                "elsewhere connect() by name"
            )
        from multiprocessing.reduction import DupFd
        from multiprocessing.util import Finalize

        passed = []
        for fd in self._export():
            if fd >= 0:
                Finalize(popen, os.close, args=(fd,))
            passed.append(DupFd(fd) if fd >= 0 else None)
        return _rejoin, (type(self), self.name, tuple(passed), self.readonly)

    def __copy__(self) -> dict[_Key, Any]:
        return self.copy()


def _appended(value: Any, item: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [*value, item]
    if kind is str or kind is bytes:
        if type(item) is not kind:
            raise TypeError(f"cannot append {type(item).__name__} to a {kind.__name__}")
        return value + item
    raise TypeError(f"cannot append to a {kind.__name__}; only to list, str, bytes")


_core.adopt_methods(Pool)
