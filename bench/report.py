# SPDX-License-Identifier: MIT
"""Statistics, the bars, the table and the JSON file."""

import json
import os
import platform
import statistics
import sys
import time

COLUMNS = ["latzero", "dict", "lmdb pickled", "lmdb raw", "Manager", "diskcache", "floor"]


def median(samples):
    return statistics.median(samples)


def percentile(samples, percent):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


def spread(samples):
    """Half the distance between the quartiles."""
    if len(samples) < 2:
        return 0.0
    return (percentile(samples, 75) - percentile(samples, 25)) / 2


class Results:
    """Rows in the order in which they were measured."""

    def __init__(self):
        self.rows = {}

    def add(self, row, title, unit, samples):
        self.rows[row] = {"title": title, "unit": unit, "samples": samples}
        print(f"  measured: {title}", file=sys.stderr, flush=True)

    def median(self, row, peer="latzero"):
        samples = self.rows.get(row, {}).get("samples", {}).get(peer)
        return median(samples) if samples else None

    def percentile(self, row, percent, peer="latzero"):
        samples = self.rows.get(row, {}).get("samples", {}).get(peer)
        return percentile(samples, percent) if samples else None


# ---- the bars -----------------------------------------------------------------------------
#
# A bar is (text, row, rule); the rule returns None where something was not
# measured, else (latzero's figure, the reference or None, ratio, limit, sense).


def times(row, peer, limit, text):
    """latzero takes at most `limit` times as long as the peer."""
    def judge(results):
        ours, theirs = results.median(row), results.median(row, peer)
        return None if None in (ours, theirs) else (ours, theirs, ours / theirs, limit, "<=")
    return text, row, judge


def faster(row, peer, limit, text):
    """The peer takes at least `limit` times as long as latzero."""
    def judge(results):
        ours, theirs = results.median(row), results.median(row, peer)
        return None if None in (ours, theirs) else (ours, theirs, theirs / ours, limit, ">=")
    return text, row, judge


def relative(row, other, limit, text):
    """One of latzero's operations takes at most `limit` times as long as another."""
    def judge(results):
        ours, theirs = results.median(row), results.median(other)
        return None if None in (ours, theirs) else (ours, theirs, ours / theirs, limit, "<=")
    return text, row, judge


def absolute(row, limit, text, percent=50):
    """latzero needs at most `limit` in the row's unit."""
    def judge(results):
        ours = results.percentile(row, percent)
        return None if ours is None else (ours, None, ours, limit, "<=")
    return text, row, judge


BARS = [
    times("get-int", "dict", 3.0, "get int <= 3 x dict.get"),
    times("get-100", "dict", 3.0, "get 100 B <= 3 x dict.get"),
    faster("get-int", "lmdb pickled", 5.0, "get int >= 5 x faster than py-lmdb pickled"),
    faster("get-100", "lmdb pickled", 5.0, "get 100 B >= 5 x faster than py-lmdb pickled"),
    faster("set-int", "lmdb pickled", 5.0, "set int >= 5 x faster than py-lmdb pickled"),
    faster("set-100", "lmdb pickled", 5.0, "set 100 B >= 5 x faster than py-lmdb pickled"),
    absolute("c-get-small", 80, "C get 64 B, 10,000 keys <= 80 ns"),
    absolute("memory", 56, "<= 56 bytes beyond key and value"),
    absolute("c-grow-max", 5000, "no operation > 5 ms while growing", percent=100),
    absolute("import", 5, "import latzero <= 5 ms"),
    absolute("join", 1000, "join, median <= 1 ms"),
    absolute("join", 1000, "join, p99 <= 1 ms", percent=99),
    absolute("join-fresh", 1000, "join of a new process, median <= 1 ms"),
    absolute("join-fresh", 1000, "join of a new process, p99 <= 1 ms", percent=99),
]

# Where this is going (docs/design/performance.md): shown, not required yet.
GOALS = [
    times("get-int", "dict", 1.6, "get int <= 1.6 x dict.get"),
    times("get-int-many", "dict", 1.0, "get int, 1,000,000 keys <= dict.get"),
    faster("get-int-many", "lmdb pickled", 3.5, "the same >= 3.5 x faster than py-lmdb"),
    faster("get-int", "lmdb pickled", 10.0, "get int >= 10 x faster than py-lmdb"),
    times("set-int", "dict", 1.2, "set int <= 1.2 x dict.__setitem__"),
    faster("set-int", "lmdb pickled", 10.0, "set int >= 10 x faster than py-lmdb"),
    relative("new-int", "set-int", 2.0, "set of a new key <= 2 x set"),
    relative("delete-int", "set-int", 2.0, "delete <= 2 x set"),
    relative("increment-int", "set-int", 1.3, "increment <= 1.3 x set"),
    relative("mget-int", "get-int", 0.6, "mget of 1,000 <= 0.6 x single gets"),
    relative("mset-int", "set-int", 0.6, "mset of 1,000 <= 0.6 x single sets"),
    absolute("c-get-small", 40, "C get 64 B, 10,000 keys <= 40 ns"),
    relative("c-put-small", "c-get-small", 2.0, "C put, replace <= 2 x C get"),
    absolute("c-grow-p9999", 50, "p99.99 while growing <= 50 us"),
    absolute("memory", 44, "<= 44 bytes beyond key and value"),
    absolute("join", 400, "join, median <= 0.4 ms"),
]


def judge(results, bars):
    verdicts = []
    for text, row, rule in bars:
        outcome = rule(results)
        if outcome is None:
            verdicts.append({"bar": text, "met": None})
            continue
        ours, theirs, ratio, limit, sense = outcome
        met = ratio <= limit if sense == "<=" else ratio >= limit
        verdicts.append({"bar": text, "unit": results.rows[row]["unit"], "latzero": ours,
                         "reference": theirs, "ratio": None if theirs is None else ratio,
                         "limit": limit, "met": met})
    return verdicts


# ---- output ---------------------------------------------------------------------------------


def number(value):
    if value is None:
        return "-"
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else (
        f"{value:.2f}")


def cell(samples):
    if not samples:
        return "-"
    return f"{number(median(samples))} ±{number(spread(samples))}"


def print_table(results, missing, out=sys.stdout):
    columns = [name for name in COLUMNS
               if name in missing or any(name in row["samples"] for row in results.rows.values())]
    width = 15
    print(f"\n{'median ± half the quartile distance':<37}" + "".join(
        f"{name:>{width}}" for name in columns), file=out)
    for row in results.rows.values():
        cells = ["missing" if name in missing else cell(row["samples"].get(name))
                 for name in columns]
        title = f"{row['title']}, {row['unit']}"
        print(f"{title:<37}" + "".join(f"{text:>{width}}" for text in cells), file=out)
    for name, reason in missing.items():
        print(f"missing: {name}: {reason}", file=out)


def print_verdicts(title, verdicts, out=sys.stdout):
    print(f"\n{title:<47}{'latzero':>10} {'':<3}{'against':>10}{'ratio':>8}  met", file=out)
    for verdict in verdicts:
        if verdict["met"] is None:
            print(f"{verdict['bar']:<47}{'-':>10} {'':<3}{'-':>10}{'-':>8}  not measured", file=out)
            continue
        ratio = "-" if verdict["ratio"] is None else f"{verdict['ratio']:.2f}"
        print(f"{verdict['bar']:<47}{number(verdict['latzero']):>10} {verdict['unit']:<3}"
              f"{number(verdict['reference']):>10}{ratio:>8}  {'yes' if verdict['met'] else 'NO'}",
              file=out)


def markdown(results):
    """The rows that README.md shows."""
    peers = COLUMNS[:-1]
    lines = ["| median | " + " | ".join(peers) + " |", "|---|" + "---:|" * len(peers)]
    for name, row in results.rows.items():
        if name.startswith(("floor", "c-")) or set(row["samples"]) <= {"latzero"}:
            continue
        cells = [number(median(row["samples"][peer])) if row["samples"].get(peer) else "–"
                 for peer in peers]
        lines.append(f"| {row['title']}, {row['unit'].replace('us', 'µs')} | "
                     + " | ".join(cells) + " |")
    machine = describe_machine()
    lines += ["", f"One run on a virtual machine: {machine['cores']} cores of {machine['cpu']}, "
              f"Linux {machine['kernel'].split('-')[0]}, Python {machine['python']}. "
              "`dict` is one process without sharing: the floor, not an alternative."]
    return "\n".join(lines)


def fill(path, results):
    """Puts the rows between the markers of a Markdown file."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, rest = text.split("<!-- bench:begin -->")
    after = rest.split("<!-- bench:end -->")[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}<!-- bench:begin -->\n{markdown(results)}\n<!-- bench:end -->{after}")


def describe_machine():
    model = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file
                          if line.startswith("model name")), "")
    except OSError:
        pass
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "python": platform.python_version(), "arch": platform.machine()}


def write_json(path, results, verdicts, goals, missing, seed):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    document = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": describe_machine(), "seed": seed, "missing": missing,
        "rows": {name: {**row, "median": {peer: median(samples)
                                          for peer, samples in row["samples"].items() if samples}}
                 for name, row in results.rows.items()},
        "bars": verdicts, "goals": goals,
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
