#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs sections of the tests and adds up their counts.

    run_tests.py SECTION...     unit proc oom stress limits python tidy symbols count asan tsan limits-full

Each section is built first (by make), then run. A section that cannot be
built, or a program that ends without its counts, is one failure. The last
line is `N passed, N failed`; the exit status is 0 if none failed.
"""

import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = sys.executable if sys.prefix != sys.base_prefix else os.path.join(ROOT, ".venv", "bin", "python")
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)
SKIPPED = re.compile(r"^(\d+) skipped$", re.MULTILINE)
PYTEST_LIMIT_S = 1800

SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Counts:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def say(text):
    print(text, flush=True)


def make(target):
    return subprocess.run(["make", "-s", target], cwd=ROOT).returncode == 0


def run_counted(command, environment=None):
    """Runs a program that closes with its counts; shows what it says."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **(environment or {})})
    output = done.stdout.decode(errors="replace")
    say(output.rstrip("\n"))
    found = COUNTS.findall(output)
    if not found or (done.returncode != 0) != (found[-1][1] != "0"):
        say(f"  FAILED {' '.join(command)}: status {done.returncode} without fitting counts")
        return Counts(failed=1)
    skipped = SKIPPED.findall(output)
    return Counts(int(found[-1][0]), int(found[-1][1]), int(skipped[-1]) if skipped else 0)


def run_programs(build, kind):
    """The test programs of tests/<kind>, each by its source's name."""
    counts = Counts()
    for source in sorted(glob.glob(os.path.join(ROOT, "tests", kind, "test_*.c"))):
        command = [os.path.join("build", build, "tests", os.path.basename(source)[:-2])]
        if kind == "oom":
            command.append("-v")  # how many failures each function has met
        counts.add(run_counted(command, SANITIZERS))
    return counts


def run_limits(build, *options, at_once=1):
    """The programs of tests/limits; with -q they are small and judge nothing that depends on the machine's speed."""
    if not make(f"build-{build}"):
        say(f"  FAILED: build/{build} does not build")
        return Counts(failed=1)
    names = sorted(os.path.basename(source)[:-2] for source in glob.glob(os.path.join(ROOT, "tests", "limits", "*.c")))
    commands = [[os.path.join("build", build, "tests", "limits", name), *options] for name in names if name != "prove"]
    counts = Counts()
    with concurrent.futures.ThreadPoolExecutor(at_once) as runners:
        for one in runners.map(run_counted, commands):
            counts.add(one)
    return counts


def run_built(build, *kinds):
    if not make(f"build-{build}"):
        say(f"  FAILED: build/{build} does not build")
        return Counts(failed=1)
    counts = Counts()
    for kind in kinds:
        counts.add(run_programs(build, kind))
    return counts


def run_python():
    if not make("build-python"):
        say("  FAILED: the Python package does not build")
        return Counts(failed=1)
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.xml")
        try:
            status = subprocess.run([PYTHON, "-m", "pytest", "-q", f"--junitxml={report}", "tests/python"],
                                    cwd=ROOT, timeout=PYTEST_LIMIT_S).returncode
            suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
        except (subprocess.TimeoutExpired, OSError, xml.etree.ElementTree.ParseError) as error:
            say(f"  FAILED: pytest gave no report: {error}")
            return Counts(failed=1)
    total, failures, errors, skipped = (int(suite.get(k)) for k in ("tests", "failures", "errors", "skipped"))
    failed = failures + errors
    if status != 0 and failed == 0:
        say(f"  FAILED: pytest ended with status {status}")
        failed = 1
    return Counts(max(total - failures - errors - skipped, 0), failed, skipped)


def run_symbols():
    if not (make("build-release") and make("build-python")):
        return Counts(failed=1)
    return run_counted([PYTHON, "tests/tidy/symbols.py", "build/release"])


def run_count():
    if not make("build-release"):
        return Counts(failed=1)
    return run_counted([sys.executable, "bench/count.py", "build/release"])


SECTIONS = {
    "unit": lambda: run_built("test", "unit"),
    "proc": lambda: run_built("test", "proc"),
    "oom": lambda: run_built("test", "oom"),
    "stress": lambda: run_built("test", "model", "stress", "crash"),
    "limits": lambda: run_limits("test", "-q", at_once=3),
    "limits-full": lambda: run_limits("limits"),
    "python": run_python,
    "tidy": lambda: run_counted([sys.executable, "tests/tidy/tidy.py"]),
    "symbols": run_symbols,
    "count": run_count,
    "asan": lambda: run_built("asan", "unit", "proc", "oom", "model", "stress"),
    "tsan": lambda: run_built("tsan", "unit", "proc", "model", "stress"),
}


def main(names):
    unknown = [name for name in names if name not in SECTIONS]
    if unknown or not names:
        sys.exit(__doc__)
    total, lines = Counts(), []
    for name in names:
        say(f"== {name}")
        counts = SECTIONS[name]()
        total.add(counts)
        lines.append(f"{name:11} {counts.passed:5} passed {counts.failed:4} failed {counts.skipped:4} skipped")
    say("== sum")
    say("\n".join(lines))
    say(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
