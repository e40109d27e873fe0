# SPDX-License-Identifier: MIT
"""SharedMemoryPool: pools by name."""

from __future__ import annotations

from _weakref import ref

from . import _core
from ._auth import TakenKey
from ._errors import AuthenticationError, PoolExistsError, PoolNotFoundError
from ._pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._auth import _AuthKey

__all__ = ["PoolInfo", "SharedMemoryPool"]

_NAME_MAX = 100
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_COMPRESSIONS = ("none", "zlib", "lz4", "zstd")
_TIMEOUT_MAX = 1_000_000.0  # seconds


class PoolInfo:
    """What `list_pools` tells of one pool.

    A pool whose every member is stopped cannot be asked: all fields but `name` are then None.

    Attributes:
        name: the pool's name.
        auth: whether it needs an auth_key.
        encryption: whether its records are encrypted.
        members: number of joined processes.
        keys: number of keys.
        used_bytes: memory in use.
        max_bytes: the most memory it may use.
        created_at: Unix time in seconds.
        last_heartbeat: Unix time in seconds, of the answering member.
    """

    __slots__ = (
        "auth",
        "created_at",
        "encryption",
        "keys",
        "last_heartbeat",
        "max_bytes",
        "members",
        "name",
        "used_bytes",
    )

    def __init__(
        self,
        name: str,
        auth: bool | None,
        encryption: bool | None,
        members: int | None,
        keys: int | None,
        used_bytes: int | None,
        max_bytes: int | None,
        created_at: float | None,
        last_heartbeat: float | None,
    ) -> None:
        self.name = name
        self.auth = auth
        self.encryption = encryption
        self.members = members
        self.keys = keys
        self.used_bytes = used_bytes
        self.max_bytes = max_bytes
        self.created_at = created_at
        self.last_heartbeat = last_heartbeat

    def __repr__(self) -> str:
        return (
            f"PoolInfo(name={self.name!r}, auth={self.auth}, encryption={self.encryption}, "
            f"members={self.members}, keys={self.keys}, used_bytes={self.used_bytes}, "
            f"max_bytes={self.max_bytes}, created_at={self.created_at}, "
            f"last_heartbeat={self.last_heartbeat})"
        )


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a pool name must be a str, not {type(name).__name__}")
    if not 1 <= len(name) <= _NAME_MAX:
        raise ValueError(f"a pool name has 1 to {_NAME_MAX} characters, not {len(name)}")
    if name.startswith(".") or not _NAME_CHARACTERS.issuperset(name):
        raise ValueError(
            f"a pool name is made of A-Z a-z 0-9 . _ - and does not start with '.': {ascii(name)}"
        )


def _check_size(max_size: int | None) -> int:
    if max_size is None:
        return 0
    if not isinstance(max_size, int) or isinstance(max_size, bool):
        raise TypeError(f"max_size must be an int of bytes or None, not {type(max_size).__name__}")
    if not 0 < max_size < 1 << 63:
        raise ValueError("max_size must be a positive number of bytes")
    return max_size


def _check_timeout(timeout: float) -> int:
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
        raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
    if not 0 < timeout:  # also NaN
        raise ValueError("timeout must be a positive number of seconds")
    return max(1, int(min(timeout, _TIMEOUT_MAX) * 1000))


def _check_protection(auth: bool, auth_key: object, encryption: bool) -> None:
    """A pool that was asked to be protected is never made unprotected, nor one that was not."""
    if (auth or encryption) and auth_key is None:
        raise ValueError("auth=True and encryption=True need an auth_key")
    if auth_key is not None and not (auth or encryption):
        raise ValueError("auth_key is given, but neither auth=True nor encryption=True")


class _GivenKey(TakenKey):
    """Of one who wants to join: a key that no pool can have is a wrong one."""

    __slots__ = ()

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except ValueError as error:
            raise AuthenticationError(str(error)) from None


def _check_compression(compress: str) -> None:
    if compress not in _COMPRESSIONS:
        raise ValueError(f"compress must be one of {', '.join(_COMPRESSIONS)}")
    if compress != "none":
        raise NotImplementedError("compress is not in this version of latzero")


def _check_flags(name: str, has: dict[str, bool | None], flags: int) -> None:
    """exist_ok: a pool that exists must be what was asked for."""
    wanted = {
        "auth": bool(flags & _core.AUTH),
        "encryption": bool(flags & _core.ENCRYPTION),
        "pickle": not flags & _core.NO_PICKLE,
    }
    for flag, value in wanted.items():
        if has.get(flag, value) != value:
            raise ValueError(f"pool '{name}' exists with {flag}={has[flag]}")


class SharedMemoryPool:
    """Makes, joins, lists and destroys pools.

    A manager has no state but the pools that it joined: any number of managers, in any
    process of the same user, see the same pools. A pool that it made stays joined until the
    manager is closed or gone, also when nobody keeps the `Pool`; one that it connected to
    until that `Pool` is closed or gone.

    Threads may share a manager. After `os.fork()` the child's manager and pools work.
    """

    __slots__ = ("_joined", "_made")

    def __init__(self) -> None:
        self._joined: dict[int, ref[Pool]] = {}
        self._made: dict[str, Pool] = {}

    def create(
        self,
        name: str,
        auth: bool = False,
        auth_key: _AuthKey | None = None,
        encryption: bool = False,
        *,
        max_size: int | None = None,
        compress: str = "none",
        pickle: bool = True,
        exist_ok: bool = False,
    ) -> Pool:
        """Make the pool and join it. It lives while any process is joined.

        Args:
            name: 1-100 characters of A-Z a-z 0-9 . _ -, not starting with '.'.
            auth: whether joining needs the auth_key, and every record carries an HMAC.
            auth_key: the password: 1-1024 bytes as str (UTF-8), bytes, bytearray (wiped after
                use), a `RawKey`, or a callable that returns one of these.
            encryption: whether keys and values are encrypted; joining needs the auth_key too.
            max_size: the most memory in bytes, at least 2 MiB; None: as the system allows.
            compress: "none".
            pickle: False: the pool takes only None, bool, int, float, str, bytes, bytearray.
            exist_ok: join a pool of that name that exists, instead of PoolExistsError.

        A password costs about 0.2 s of one processor and 64 MiB (Argon2id), without the GIL.
        It is in no file, argument or shared page; what latzero copied of it is wiped.

        Raises:
            PoolExistsError: a process holds a pool of that name.
            ValueError: a bad name, key or option; with exist_ok, the pool has other flags.
            AuthenticationError: with exist_ok, the auth_key is not that pool's.
            PoolFullError: the system has no memory for a pool.
        """
        _check_name(name)
        _check_protection(auth, auth_key, encryption)
        _check_compression(compress)
        size = _check_size(max_size)
        flags = 0 if pickle else _core.NO_PICKLE
        if encryption:
            flags |= _core.ENCRYPTION | _core.AUTH
        elif auth:
            flags |= _core.AUTH
        with TakenKey(auth_key) as key:
            if exist_ok:
                pool = self._create_or_connect(name, size, flags, key)
            else:
                pool = _core.create(Pool, name, size, flags | key.flags, key.secret)
        self._join(pool)
        self._made[name] = pool  # last: a create that fails leaves no pool behind
        return pool

    def _create_or_connect(self, name: str, size: int, flags: int, key: TakenKey) -> Pool:
        while True:
            try:
                return _core.create(Pool, name, size, flags | key.flags, key.secret)
            except PoolExistsError:
                pass
            try:
                pool = _core.connect(Pool, name, key.flags, 0, key.secret)
            except PoolNotFoundError:
                continue  # its last member left between the two calls
            except AuthenticationError:
                self._check_lock(name, flags)  # whose complaint comes first
                raise
            try:
                _check_flags(name, pool.stats(), flags)
            except ValueError:
                pool.close()
                raise
            return pool

    def _check_lock(self, name: str, flags: int) -> None:
        """Without joining: is the pool locked as the flags say?"""
        for info in self.list_pools():
            if info.name == name and info.auth is not None:
                _check_flags(name, {"auth": info.auth, "encryption": info.encryption}, flags)

    def connect(
        self,
        name: str,
        auth_key: _AuthKey | None = None,
        *,
        readonly: bool = False,
        timeout: float = 2.0,
    ) -> Pool:
        """Join the pool.

        Args:
            name: the pool's name.
            auth_key: the key of a locked pool: str, bytes, bytearray (wiped after use), `RawKey`,
                or a callable that returns one of these.
            readonly: whether every call that would write raises ReadOnlyError; the pool's
                data is then mapped as read-only memory.
            timeout: seconds to wait for others: for an answer, and for the turn while wrong keys
                are being tried. The 0.2 s that a password costs (Argon2id, without the GIL)
                come on top.

        A process that has joined a locked pool already must give its key all the same.

        Raises:
            PoolNotFoundError: no process holds it.
            AuthenticationError: the auth_key is wrong, missing, or given for an open pool; or
                too many wrong ones were tried by whomever: then `retry_after` says in how many
                seconds it may work.
            PoolTimeoutError: every member is stopped.
        """
        _check_name(name)
        flags = _core.READONLY if readonly else 0
        timeout_ms = _check_timeout(timeout)
        with _GivenKey(auth_key) as key:
            pool = _core.connect(Pool, name, flags | key.flags, timeout_ms, key.secret)
        return self._join(pool)

    def _join(self, pool: Pool) -> Pool:
        key = id(pool)
        joined = self._joined
        joined[key] = ref(pool, lambda _: joined.pop(key, None))
        return pool

    def exists(self, name: str) -> bool:
        """Whether some process holds a pool of that name. Needs no auth_key."""
        _check_name(name)
        return _core.exists(name)

    def list_pools(self) -> list[PoolInfo]:
        """Every pool of this user that some process holds. Needs no auth_key.

        Removes what killed processes left behind on the way.
        """
        return [PoolInfo(*fields) for fields in _core.list_pools()]

    def destroy(self, name: str, auth_key: _AuthKey | None = None) -> None:
        """Free the name at once and end the pool for every member.

        Each member's next call raises PoolClosedError; the memory goes back as they let go.

        Raises:
            PoolNotFoundError: no process holds it.
            AuthenticationError: as in connect.
        """
        _check_name(name)
        with _GivenKey(auth_key) as key:
            _core.destroy(name, key.flags, key.secret)

    def close(self) -> None:
        """Leave every pool that this manager joined. It can be used again."""
        for reference in list(self._joined.values()):
            pool = reference()
            if pool is not None:
                pool.close()
        self._joined.clear()
        self._made.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
