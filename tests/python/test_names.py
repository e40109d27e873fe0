# SPDX-License-Identifier: MIT
"""The package itself: its names, its errors, what importing it costs."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import MutableMapping

import latzero
import pytest
from helpers import run_python
from latzero import _core, _errors, _manager, _pool


def test_all_names_exist_and_nothing_else_is_public() -> None:
    for name in latzero.__all__:
        assert hasattr(latzero, name)
    modules = type(sys)
    public = {
        name
        for name, value in vars(latzero).items()
        if not name.startswith("_") and not isinstance(value, modules)
    }
    assert public - {"annotations"} == {n for n in latzero.__all__ if not n.startswith("__")}
    assert latzero.__all__ == sorted(latzero.__all__, key=lambda n: (n != n.upper(), n.lower() == n, n))


@pytest.mark.parametrize("module", [_errors, _manager, _pool])
def test_private_modules_export_what_they_name(module: object) -> None:
    for name in module.__all__:  # type: ignore[attr-defined]
        assert hasattr(module, name)


def test_version_is_the_library_s() -> None:
    assert latzero.__version__ == _core.__version__
    assert latzero.__version__[0].isdigit()


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (latzero.PoolNotFoundError, FileNotFoundError),
        (latzero.PoolExistsError, FileExistsError),
        (latzero.AuthenticationError, PermissionError),
        (latzero.ReadOnlyError, PermissionError),
        (latzero.PoolFullError, MemoryError),
        (latzero.PoolClosedError, ValueError),
        (latzero.PoolTimeoutError, TimeoutError),
        (latzero.IntegrityError, Exception),
        (latzero.CorruptionError, Exception),
        (latzero.SerializationError, TypeError),
        (latzero.UnsafePickleError, Exception),
    ],
)
def test_errors_are_what_generic_handlers_expect(
    error: type[latzero.LatzeroError], builtin: type[Exception]
) -> None:
    assert issubclass(error, latzero.LatzeroError)
    assert issubclass(error, builtin)
    again = pickle.loads(pickle.dumps(error("a line")))
    assert type(again) is error
    assert str(again) == "a line"


def test_authentication_error_carries_retry_after() -> None:
    assert latzero.AuthenticationError("no").retry_after is None
    error = latzero.AuthenticationError("later", retry_after=0.5)
    assert error.retry_after == 0.5
    assert pickle.loads(pickle.dumps(error)).retry_after == 0.5


def test_every_error_has_a_place_in_the_drawn_tree() -> None:
    for name in _errors.__all__:
        assert name in (_errors.__doc__ or "")


def test_import_loads_no_heavy_module() -> None:
    code = "import sys; before = set(sys.modules); import latzero; print(*(set(sys.modules) - before))"
    loaded = set(run_python(code).split())
    own = {name for name in loaded if name.split(".")[0] == "latzero"}
    assert loaded - own <= {"__future__"}


def test_import_time_can_be_read() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import latzero"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "latzero._core" in done.stderr


def test_import_costs_no_thread_file_or_socket() -> None:
    code = (
        "import os\n"
        "def count(): return len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd'))\n"
        "before = count()\n"
        "import latzero\n"
        "assert count() == before, (before, count())\n"
        "assert os.listdir(os.environ['LATZERO_DIR']) == []"
    )
    run_python(code)


def test_plain_pools_load_no_cryptography() -> None:
    code = (
        "import latzero\n"
        "def loaded(): return [line for line in open('/proc/self/maps') if 'libcrypto' in line or 'argon2' in line]\n"
        "with latzero.create('plain') as pool:\n"
        "    pool['k'] = latzero.list_pools()\n"
        "    assert loaded() == [], loaded()\n"
        "import ctypes\n"
        "ctypes.CDLL('libcrypto.so.3')\n"
        "assert loaded() != []"  # else nothing was seen
    )
    run_python(code)


def test_pool_is_a_mutable_mapping() -> None:
    assert issubclass(latzero.Pool, MutableMapping)
    assert issubclass(latzero.Pool, _core.Pool)
    missing = [name for name in dir(MutableMapping) if not hasattr(latzero.Pool, name)]
    assert missing == []


@pytest.mark.parametrize("name", ["get", "set", "pop", "increment", "mget", "exists", "delete"])
def test_hot_methods_belong_to_the_public_class(name: str) -> None:
    # CPython takes its fast path only where the object's type is exactly the method's
    assert vars(latzero.Pool)[name].__objclass__ is latzero.Pool


def test_default_manager_functions_are_one_manager_s(manager: latzero.SharedMemoryPool) -> None:
    for name in ("create", "connect", "exists", "list_pools", "destroy"):
        function = getattr(latzero, name)
        assert type(function.__self__) is latzero.SharedMemoryPool
    pool = latzero.create("default-manager")
    assert latzero.exists("default-manager")
    assert [info.name for info in latzero.list_pools()] == ["default-manager"]
    other = latzero.connect("default-manager")
    other["a"] = 1
    assert pool["a"] == 1
    latzero.destroy("default-manager")
    assert not manager.exists("default-manager")
    other.close()
    pool.close()


def test_everything_public_is_documented() -> None:
    for name in latzero.__all__:
        if name in ("__version__", "MISSING"):
            continue
        assert getattr(latzero, name).__doc__, name
    for cls in (latzero.Pool, latzero.SharedMemoryPool):
        for name in dir(cls):
            if not name.startswith("_"):
                assert getattr(cls, name).__doc__, name


def test_missing_is_itself_after_pickling() -> None:
    assert pickle.loads(pickle.dumps(latzero.MISSING)) is latzero.MISSING
    assert repr(latzero.MISSING) == "latzero.MISSING"


def test_core_loads_in_a_subinterpreter() -> None:
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    interpreters = pytest.importorskip(name)
    inner = interpreters.create()
    try:
        code = (
            "import latzero\n"
            "pool = latzero.create('inner')\n"
            "pool['a'] = [1]\n"
            "assert pool['a'] == [1]\n"
            "pool.close()\n"
        )
        run = getattr(interpreters, "exec", None) or interpreters.run_string
        assert run(inner, code) is None
    finally:
        interpreters.destroy(inner)
