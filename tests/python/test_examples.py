# SPDX-License-Identifier: MIT
"""The examples run as the README shows them and print what they promise."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"

EXPECTED = {
    "simple_pool.py": """\
number: 42
player: {'name': 'Ada', 'hp': 97.5, 'position': (3, 4)}
tuple key: [None, True, b'bytes']
missing: a default
set if absent: False
increment: 50
append: 1 ['started']
session lives for 60 seconds
keys: ['player'] of 4
here: True True
afterwards: False
""",
    "multi_client_demo.py": """\
announcement: closing soon
visits: 30000 of 30000
worker 0 saw rate 20
worker 1 saw rate 20
worker 2 saw rate 20
announcement: gone
pool left behind: False
""",
    "encrypted_pool.py": """\
with the password: (2031, 5)
with a guess: not let in
needs a password: True
encryption: True
""",
}

def run(command, directory):
    environment = {**os.environ, "LATZERO_DIR": str(directory)}
    return subprocess.run(command, env=environment, cwd=directory, text=True,
                          capture_output=True, timeout=60)


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "pools"
    path.mkdir(mode=0o700)
    return path


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example_prints_what_it_promises(name, directory):
    done = run([sys.executable, str(EXAMPLES / name)], directory)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == EXPECTED[name]


def test_every_python_example_is_run_here():
    there = {path.name for path in EXAMPLES.glob("*.py")}
    assert there == set(EXPECTED)


@pytest.fixture(scope="module")
def c_programs(tmp_path_factory):
    """The C examples, built by their Makefile against an installed copy of the C library."""
    work = tmp_path_factory.mktemp("c")
    source, build, prefix = EXAMPLES.parent, work / "build", work / "prefix"
    for tool in ("cmake", "make", "cc", "pkg-config"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    for command in (
        ["cmake", "-S", source, "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}",
         "-DCMAKE_INSTALL_LIBDIR=lib"],
        ["cmake", "--build", build, "--target", "latzero_shared", "latzero_static"],
        ["cmake", "--install", build, "--component", "c"],
        ["make", "-C", EXAMPLES / "c", f"OUT={work}",
         f"PKG_CONFIG_PATH={prefix / 'lib' / 'pkgconfig'}",
         f"LDFLAGS=-Wl,-rpath,{prefix / 'lib'}"],
    ):
        done = subprocess.run([str(part) for part in command], text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return work


@pytest.mark.parametrize("name, expected", [
    ("hello", "hello, other process\npool left behind: no\n"),
    ("counter", "visits: 400000 of 400000\n"),
])
def test_c_example_prints_what_it_promises(name, expected, c_programs, directory):
    done = run([str(c_programs / name)], directory)
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)
