# SPDX-License-Identifier: MIT
"""The annotations hold, and the stub of the extension says what the extension has."""

from __future__ import annotations

import os
import subprocess
import sys

import latzero
import pytest


def mypy(*arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mypy")
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=os.environ["LATZERO_DIR"],  # mypy leaves a cache where it runs
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_package_is_strictly_typed() -> None:
    done = mypy("mypy", "--strict", "-p", "latzero")
    assert done.returncode == 0, done.stdout + done.stderr


def test_stubs_match_the_extension() -> None:
    done = mypy("mypy.stubtest", "latzero")
    assert done.returncode == 0, done.stdout + done.stderr


def test_package_says_that_it_is_typed() -> None:
    assert os.path.exists(os.path.join(os.path.dirname(latzero.__file__), "py.typed"))
