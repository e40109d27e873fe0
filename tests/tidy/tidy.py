#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the rules of rules.py against this repository, and the rules against canaries.

One test for each rule and each canary. Closes with `N passed, N failed`.
"""

import os
import sys

import canaries
import rules

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = {".git", ".venv", "build", "dist", "__pycache__", "node_modules"}


def read_tree():
    """Every text file of the repository by its path."""
    tree = {}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in SKIPPED and (not f.startswith(".") or f == ".ci"))
        for name in files:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                continue
            try:
                with open(path, encoding="utf-8") as file:
                    tree[os.path.relpath(path, ROOT)] = file.read()
            except (UnicodeDecodeError, FileNotFoundError):
                pass  # data, or another program's temporary file
    return tree


def main():
    failed = passed = 0
    tree = read_tree()
    for rule in rules.RULES:
        breaches = list(rule(tree))
        for breach in breaches:
            print(f"  {rule.__name__}: {breach}")
        passed, failed = passed + (not breaches), failed + bool(breaches)
    for rule, bad in canaries.BAD:
        caught = any(True for _ in rule(bad))
        if not caught:
            print(f"  {rule.__name__} does not catch {bad}")
        passed, failed = passed + caught, failed + (not caught)
    for good in canaries.GOOD:
        wrong = [line for rule in rules.RULES for line in rule(good)]
        for line in wrong:
            print(f"  a good tree is refused: {line}")
        passed, failed = passed + (not wrong), failed + bool(wrong)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
