#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the libraries in BUILD and the installed extension export: exactly the public functions, and no name outside ltz_.

    symbols.py BUILD

Closes with `N passed, N failed`.
"""

import glob
import os
import subprocess
import sys
import sysconfig

import rules

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def defined(path, *flags):
    """The global symbols that a library defines."""
    lines = subprocess.run(["nm", "--defined-only", "-g", "--format=posix", *flags, path], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.splitlines()
    words = [line.split() for line in lines if len(line.split()) >= 2]
    return {name.split("@")[0] for name, kind, *_ in words if kind in "TDBRWVi"}


def differences(found, wanted):
    return [f"{name}: exported, but not public" for name in sorted(found - wanted)] + [
        f"{name}: public, but not exported" for name in sorted(wanted - found)]


def strangers(found):
    """Names that would clash with a program's own."""
    return [f"{name}: does not begin with ltz_" for name in sorted(found) if not name.startswith("ltz_")]


def main(build):
    with open(os.path.join(ROOT, "cmake", "latzero.map"), encoding="utf-8") as file:
        public = set(rules.mapped_functions(file.read()))
    tests = {
        "liblatzero.so exports the public functions": differences(
            defined(os.path.join(build, "liblatzero.so"), "-D") - {"LATZERO_0"}, public),
        "liblatzero.a keeps to its names": strangers(defined(os.path.join(build, "liblatzero.a"))),
        "a missing and a surplus name are seen": [] if len(differences({"a"}, {"b"})) == 2 else ["canary"],
        "a stranger is seen": [] if strangers({"ltz_a", "hash"}) == ["hash: does not begin with ltz_"] else ["canary"],
    }
    for path in glob.glob(os.path.join(sysconfig.get_path("platlib"), "latzero", "_core*.so")):
        tests[f"{os.path.basename(path)} exports its entry only"] = differences(defined(path, "-D"), {"PyInit__core"})
    for name, wrong in tests.items():
        for line in wrong:
            print(f"  FAILED {name}: {line}")
    failed = sum(1 for wrong in tests.values() if wrong)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
