# SPDX-License-Identifier: MIT
"""The benchmark driver.

    python bench/run.py                  everything, about five minutes
    python bench/run.py --quick          a smoke run, under half a minute
    python bench/run.py --rows get,join  only rows whose name begins so
    python bench/run.py --peers latzero,dict

Everything is a ratio within one run: the peers take turns, round by round, and
the floors (dict, an empty call, pickle) are measured beside them. The exit
status is 0 when the run was sound, whether or not the bars are met; --strict
makes an unmet bar an error.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

import maps
import native
import peers
import processes
import report

HERE = os.path.dirname(os.path.abspath(__file__))


class Plan:
    """What this run measures."""

    def __init__(self, arguments):
        self.quick = arguments.quick
        self.seed = arguments.seed
        self.rows = [row for row in (arguments.rows or "").split(",") if row]

    def wants(self, row):
        return not self.rows or any(row.startswith(wanted) or wanted.startswith(row + "-")
                                    for wanted in self.rows)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, 100,000 keys at most")
    parser.add_argument("--rows", help="comma-separated beginnings of row names: get, set, new, "
                        "increment, mget, mset, memory, c, import, join, floor")
    parser.add_argument("--peers", help="comma-separated names")
    parser.add_argument("--c-bench", help="the compiled bench_map")
    parser.add_argument("--json", help="where to write the figures (default bench/out/TIME.json)")
    parser.add_argument("--fill", metavar="README.md", help="put the figures into its table")
    parser.add_argument("--strict", action="store_true", help="status 1 if a bar is not met")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31)
    return parser.parse_args()


def measure(plan, arguments, directory):
    results = report.Results()
    only = arguments.peers.split(",") if arguments.peers else None
    found, missing = peers.find(directory, only)
    maps.run(found, plan, results.add)
    if not only or "latzero" in only:
        if "latzero" not in missing:
            processes.run(directory, plan, results.add)
        program = native.find(arguments.c_bench) if plan.wants("c") else None
        if program:
            native.run(program, plan, results.add)
        elif plan.wants("c"):
            missing["C benchmark"] = "no build/release/liblatzero.a: make build"
    return results, missing


def main():
    arguments = parse()
    plan = Plan(arguments)
    print(f"seed {plan.seed}", file=sys.stderr)
    directory = tempfile.mkdtemp(prefix="latzero-bench-", dir="/dev/shm")
    try:
        results, missing = measure(plan, arguments, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)

    machine = report.describe_machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    report.print_table(results, missing)
    verdicts = report.judge(results, report.BARS)
    goals = report.judge(results, report.GOALS)
    if plan.quick:
        print("\na quick run: it shows that everything works, not how fast it is")
    report.print_verdicts("bar", verdicts)
    report.print_verdicts("goal (docs/design/performance.md)", goals)
    path = arguments.json or os.path.join(HERE, "out", time.strftime("%Y%m%d-%H%M%S.json"))
    report.write_json(path, results, verdicts, goals, missing, plan.seed)
    if arguments.fill:
        report.fill(arguments.fill, results)
    print(f"\nfigures: {os.path.relpath(path)}")
    return 1 if arguments.strict and any(verdict["met"] is False for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
