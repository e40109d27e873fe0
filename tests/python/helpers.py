# SPDX-License-Identifier: MIT
"""What several tests use."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

DEADLINE = 30.0  # seconds; for what takes milliseconds on an idle machine


@contextlib.contextmanager
def raises(kind: type[BaseException], match: str | None = None) -> Iterator[Any]:
    """pytest.raises, for exactly this class; the message is one line that says something."""
    with pytest.raises(kind, match=match) as info:
        yield info
    assert type(info.value) is kind
    text = str(info.value)
    assert text
    assert "\n" not in text


def label(value: object) -> str:
    """A short test id; long ints have no repr."""
    if type(value) is int and value.bit_length() > 100:
        return f"int of {value.bit_length()} bits"
    return type(value).__name__ if isinstance(value, tuple) else ascii(value)[:30]


def wait_until(condition: Callable[[], bool], deadline: float = DEADLINE) -> None:
    """Polls until condition() holds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.002)  # tidy-ok: polling


def run_python(code: str, *flags: str, **env: str) -> str:
    """Runs code in a fresh interpreter; its stdout. It must end with 0 and say nothing on stderr."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def thread_count() -> int:
    """Threads of this process as the kernel counts them."""
    return len(os.listdir("/proc/self/task"))


def fd_count() -> int:
    return len(os.listdir("/proc/self/fd"))


_PEER = """
import sys, latzero
pool = latzero.connect(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    try:
        answer = repr(eval(line))
    except Exception as error:
        answer = type(error).__name__
    print(answer, flush=True)
"""


class Peer:
    """A process joined to a pool that evaluates expressions: peer("pool['a']")."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PEER, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        timer = threading.Timer(DEADLINE, self.process.kill)
        timer.start()
        try:
            return self.process.stdout.readline().rstrip("\n")
        finally:
            timer.cancel()

    def __call__(self, expression: str) -> Any:
        """The value of the expression over there; an exception as its class name."""
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        answer = self._line()
        return answer if answer.endswith("Error") else eval(answer)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(DEADLINE)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
