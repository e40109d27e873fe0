# SPDX-License-Identifier: MIT
"""docs/design/codec.md: its key vectors are what the pool holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import latzero

PAGE = Path(__file__).parents[2] / "docs" / "design" / "codec.md"
ROW = re.compile(r"^\| `(?P<key>.+)` \| (?P<type>\d) \| `(?P<hex>[0-9a-f]*)` \|$", re.MULTILINE)


def vectors() -> list[tuple[object, int, bytes]]:
    return [(ast.literal_eval(row["key"]), int(row["type"]), bytes.fromhex(row["hex"])) for row in ROW.finditer(PAGE.read_text())]


def element(kind: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([kind, len(data)]) + data


@pytest.mark.parametrize(("key", "kind", "data"), vectors())
def test_a_vector_of_the_page(pool: latzero.Pool, key: object, kind: int, data: bytes) -> None:
    pool[key] = "here"
    assert list(pool) == [key]
    # a tuple's bytes hold its elements', so each vector also fixes the size of a larger key
    limit = 65_535 - len(element(kind, data))
    pool[(key, b"x" * (limit - 4))] = "fits: type, three size bytes"
    with pytest.raises(ValueError, match="65535"):
        pool[(key, b"x" * (limit - 3))] = "one byte more"


def test_the_page_has_vectors() -> None:
    assert len(vectors()) >= 12
