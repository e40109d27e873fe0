#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts instructions of the hot operations and compares them with a record.

    count.py BUILD              compare with bench/count.json; 3 % more is a failure
    count.py BUILD --record     write bench/count.json
    count.py BUILD OTHER        two builds beside each other, nothing is judged

BUILD is a build tree with the static library. Instructions of one operation
in one thread, by callgrind: the same on a busy machine. Closes with
`N passed, N failed`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = os.path.join(HERE, "count.json")
OPERATIONS = ("get", "get_64", "miss", "set", "set_64", "set_ttl", "add", "set_and_delete")
TIMES = 20000
TOLERANCE = 1.03


def compile_program(build, folder):
    program = os.path.join(folder, "count_map")
    subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-g", f"-I{HERE}/../include", "-o", program,
                    f"{HERE}/c/count_map.c", f"{build}/liblatzero.a", "-pthread", "-ldl"], check=True)
    return program


def count(program, operation):
    """Instructions of one operation."""
    done = subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=measured",
                           "--callgrind-out-file=/dev/null", program, operation, str(TIMES)],
                          stderr=subprocess.PIPE, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"count.py: {operation}: status {done.returncode}\n{done.stderr}")
    return int(found[1]) / TIMES


def count_all(build):
    with tempfile.TemporaryDirectory() as folder:
        program = compile_program(build, folder)
        return {operation: round(count(program, operation), 1) for operation in OPERATIONS}


def judge(now, record):
    failed = 0
    print(f"{'operation':16} {'record':>8} {'now':>8} {'change':>8}")
    for operation in OPERATIONS:
        change = now[operation] / record[operation]
        bad = change > TOLERANCE
        failed += bad
        print(f"{operation:16} {record[operation]:8.1f} {now[operation]:8.1f} {100 * change - 100:+7.1f} %"
              + ("  FAILED: more than 3 % over the record" if bad else ""))
    print(f"{len(OPERATIONS) - failed} passed, {failed} failed")
    return failed


def main(arguments):
    builds = [argument for argument in arguments if not argument.startswith("-")]
    if not builds or len(builds) > 2:
        sys.exit(__doc__)
    if not shutil.which("valgrind"):
        sys.exit("count.py: valgrind is not installed (Debian's package has that name)")
    now = count_all(builds[0])
    if "--record" in arguments:
        with open(RECORD, "w", encoding="utf-8") as file:
            json.dump(now, file, indent=1)
            file.write("\n")
    if len(builds) == 2:
        judge(count_all(builds[1]), now)
        return 0
    with open(RECORD, encoding="utf-8") as file:
        return judge(now, json.load(file)) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
