# SPDX-License-Identifier: MIT
"""The demo: exact counts although a worker is killed, and a checker that can say no."""

import collections
import importlib.util
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys

import pytest

import latzero

DEMO = pathlib.Path(__file__).resolve().parents[2] / "demo" / "wordcount.py"
LIMIT = "200"


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    path = tmp_path / "pools"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("LATZERO_DIR", str(path))
    return path


@pytest.fixture
def wordcount():
    specification = importlib.util.spec_from_file_location("wordcount", DEMO)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_counts_agree_although_a_worker_is_killed_in_mid_file():
    done = subprocess.run([sys.executable, str(DEMO), "--limit", LIMIT],
                          text=True, capture_output=True, timeout=110)
    assert (done.stderr, done.returncode) == ("", 0), done.stdout
    assert re.search(r"w2 killed [\d,]+ words into \S+\.py", done.stdout)
    assert "w5 joins and finishes what w2 left" in done.stdout
    assert re.search(r"attempt \d+ of w5 counts; 0 keys left over", done.stdout)
    assert re.search(r"agreement   yes: all [\d,]+ counts are the same", done.stdout)
    assert re.search(r"[\d,]+ operations a second", done.stdout)
    assert "pool        gone" in done.stdout
    assert "\x1b" not in done.stdout


def read_terminal(descriptor):
    """Everything until the program has left its terminal."""
    output = b""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            return output.decode()
        if not part:
            return output.decode()
        output += part


def start_on_terminal():
    parent, child = pty.openpty()
    process = subprocess.Popen([sys.executable, str(DEMO), "--limit", LIMIT], stdin=child,
                               stdout=child, stderr=child, start_new_session=True)
    os.close(child)
    return process, parent


def test_a_terminal_gets_a_table_of_80_by_24():
    process, terminal = start_on_terminal()
    output = read_terminal(terminal)
    os.close(terminal)
    assert process.wait() == 0, output
    frames = output.split("\x1b[H")[1:]
    assert frames
    for frame in frames[:-1]:
        lines = re.sub(r"\x1b\[[?\d]*[a-zA-Z]", "", frame).replace("\r", "").split("\n")
        assert len(lines) <= 24
        assert max(map(len, lines)) < 80
    assert "agreement   yes" in frames[-1]


def test_ctrl_c_leaves_cleanly_and_takes_the_workers_along():
    process, terminal = start_on_terminal()
    output = b""
    while b"workers have joined" not in output:
        output += os.read(terminal, 65536)
    process.send_signal(signal.SIGINT)
    output = read_terminal(terminal)
    os.close(terminal)
    assert process.wait() == 130
    assert "Traceback" not in output
    assert "\x1b[?25h" in output  # the cursor is back
    assert latzero.list_pools() == []


# ---- canaries: the checker says no when it should ------------------------------------


@pytest.fixture
def counted(wordcount, capsys):
    """Two files counted by a worker in this process."""
    paths = wordcount.list_files(2)
    with latzero.create("wordcount-test") as pool:
        pool["files"] = paths
        wordcount.Worker(pool, "w1").run()
        yield pool, paths, wordcount.Crew(pool)


def totals(wordcount, pool, paths):
    tally = wordcount.Tally(pool, len(paths))
    tally.add(files=tally.look())
    return tally


def test_report_agrees_with_a_right_count(wordcount, counted):
    pool, paths, crew = counted
    assert wordcount.report(pool, paths, totals(wordcount, pool, paths), crew, 1.0)


def test_report_disagrees_when_one_count_is_one_too_high(wordcount, counted, capsys):
    pool, paths, crew = counted
    pool.increment(next(iter(pool.keys(prefix="1:"))))
    assert not wordcount.report(pool, paths, totals(wordcount, pool, paths), crew, 1.0)
    assert "agreement   NO: 1 counts differ" in capsys.readouterr().out


def test_report_disagrees_when_a_file_is_missing(wordcount, counted):
    pool, paths, crew = counted
    del pool["done:0"]
    assert not wordcount.report(pool, paths, totals(wordcount, pool, paths), crew, 1.0)


def test_an_attempt_that_was_not_committed_does_not_count(wordcount, counted):
    pool, paths, _ = counted
    before = totals(wordcount, pool, paths).totals
    worker = wordcount.Worker(pool, "late")  # thought dead, wakes up, finishes a file again
    worker.count(0, paths[0], pool.increment("attempts"))
    assert totals(wordcount, pool, paths).totals == before
    assert before == collections.Counter(
        word for path in paths for word in wordcount.identifiers(path))


def test_an_heir_takes_over_and_discards_what_the_dead_worker_left(wordcount, counted):
    pool, paths, _ = counted
    before = totals(wordcount, pool, paths).totals
    claim = pool["claim:1"]
    del pool["done:1"]  # as if w1 had died just before it
    wordcount.Worker(pool, "w2").take_over(paths, "w1")
    assert list(pool.keys(prefix=f"{claim[1]}:")) == []
    assert totals(wordcount, pool, paths).totals == before
