# SPDX-License-Identifier: MIT
"""Keys of locked pools: what users give, and what the library takes."""

from __future__ import annotations

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Union

    from typing_extensions import Self

    _Secret = Union[str, bytes, bytearray, "RawKey"]
    _AuthKey = Union[_Secret, Callable[[], _Secret]]

__all__ = ["RawKey", "TakenKey", "harden"]

_RAW_BYTES = 32

harden = _core.harden


class RawKey:
    """An auth_key that is a key already: exactly 32 random bytes, from a key store or `os.urandom`.

    It skips Argon2id, which makes passwords dear to guess and joining 0.2 s long. Never make
    one from a password. Threads may share it; it cannot be pickled, and its repr hides it.
    """

    __slots__ = ("_bytes",)

    def __init__(self, key: bytes | bytearray, /) -> None:
        """Take a copy of the key.

        Raises:
            TypeError: neither bytes nor bytearray.
            ValueError: not 32 bytes.
        """
        if not isinstance(key, (bytes, bytearray)):
            raise TypeError(f"a RawKey is made of bytes, not {type(key).__name__}")
        if len(key) != _RAW_BYTES:
            raise ValueError(f"a RawKey has exactly {_RAW_BYTES} bytes, not {len(key)}")
        self._bytes = bytes(key)

    def __repr__(self) -> str:
        return "RawKey(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RawKey cannot be pickled")


class TakenKey:
    """An auth_key for the length of one call: called if it is callable, wiped if a bytearray.

    Entering raises TypeError for what is no key, and ValueError for one that no pool can have.
    """

    __slots__ = ("_given", "flags", "secret")

    def __init__(self, auth_key: _AuthKey | None) -> None:
        self._given = auth_key
        self.secret: str | bytes | bytearray | None = None
        self.flags = 0

    def __enter__(self) -> Self:
        key = self._given
        if callable(key):
            key = key()
            if key is None:
                raise TypeError("auth_key was called and returned None")
        if isinstance(key, RawKey):
            self.secret, self.flags = key._bytes, _core.RAW_KEY
        elif key is None or isinstance(key, (str, bytes, bytearray)):
            self.secret = key
        else:
            kind = type(key).__name__
            raise TypeError(f"auth_key must be a str, bytes, bytearray or RawKey, not {kind}")
        try:
            self._check()
        except ValueError:
            self._wipe()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._wipe()

    def _wipe(self) -> None:
        if isinstance(self.secret, bytearray):
            self.secret[:] = bytes(len(self.secret))  # same size: in place
        self.secret = None

    def _check(self) -> None:
        key = self.secret
        if key is None:
            return
        if not key:
            raise ValueError("auth_key is empty")
        size = len(key)
        if isinstance(key, str) and not key.isascii():
            if any("\ud800" <= letter <= "\udfff" for letter in key):
                raise ValueError("auth_key has a lone surrogate, which UTF-8 cannot say")
            size = sum(1 + (c > "\x7f") + (c > "\u07ff") + (c > "\uffff") for c in key)
        if size > _core.PASSWORD_MAX:
            raise ValueError(f"auth_key has {size} bytes, at most {_core.PASSWORD_MAX}")
