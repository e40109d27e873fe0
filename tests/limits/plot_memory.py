#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws what `curve FILE.csv` noted:  plot_memory.py FILE.csv FIGURE.svg

Lines of the file: a head, samples, and `# SECONDS PHASE` where a phase begins.
"""

import csv
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

MIB = 1 << 20
LABELS = {
    "grow": "two workers\nfill",
    "shrink": "one deletes 7 of 8\nkeys, scattered",
    "SIGKILL": "the other is\nSIGKILLed",
    "clean up": "survivor deletes\nwhat is left",
    "expire": "survivor sets\nauto_clean values",
    "expired": "all expire,\nuntouched",
}
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 8, "svg.fonttype": "path", "svg.hashsalt": "latzero",
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6,
}


def read(path):
    """(columns by name, [(second, phase)])"""
    phases, lines = [], []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("# "):
                second, name = line[2:].strip().split(" ", 1)
                phases.append((float(second), name))
            else:
                lines.append(line)
    rows = list(csv.DictReader(lines))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}, phases


def mark_phases(axes, phases, end, top):
    """A rule where each begins, its name above, every other one shaded."""
    edges = [second for second, _ in phases] + [end]
    for i, (second, name) in enumerate(phases):
        axes.axvline(second, color="0.55", linewidth=0.5, linestyle=(0, (2, 2)), zorder=0)
        if i % 2 == 0:
            axes.axvspan(second, edges[i + 1], color="0.96", linewidth=0, zorder=-1)
        axes.text((second + edges[i + 1]) / 2, top * 1.02, LABELS.get(name, name), ha="center", va="bottom",
                  fontsize=6.5, color="0.25", linespacing=1.15)


def draw(columns, phases, path):
    seconds = columns.pop("s")
    live, committed = ([value / MIB for value in columns.pop(name)] for name in ("live", "committed"))
    top = max(committed) * 1.05
    figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
    axes.fill_between(seconds, live, color="#9ecae1", linewidth=0, label="live: keys and values")
    axes.plot(seconds, committed, color="#08306b", linewidth=1.3, label="committed: the pool's memory file")
    for (name, values), (color, dash) in zip(columns.items(), (("#d94801", (4, 1.5)), ("#238b45", (1.2, 1.2))), strict=True):
        shown = [value / MIB if value else float("nan") for value in values]
        axes.plot(seconds, shown, color=color, linewidth=1, dashes=dash, label="resident: " + name.removeprefix("rss of "))
    axes.yaxis.grid(True, color="0.88", linewidth=0.5)
    axes.set_axisbelow(True)
    mark_phases(axes, phases, seconds[-1], top)
    axes.set(xlim=(0, seconds[-1]), ylim=(0, top), xlabel="time (s)", ylabel="memory (MiB)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False, fontsize=7, handlelength=2.4,
                columnspacing=2)
    figure.savefig(path, metadata={"Date": None, "Creator": "latzero", "Title": "Memory of a pool over time"})


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with plt.rc_context(STYLE):
        draw(*read(sys.argv[1]), sys.argv[2])


if __name__ == "__main__":
    main()
