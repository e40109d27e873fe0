# SPDX-License-Identifier: MIT
"""Four processes count every identifier of Python's standard library in one pool.

Run it:  python demo/wordcount.py            (Ctrl-C leaves at any time)

This process makes the pool, shows a live table and, half way, kills a worker
with SIGKILL in the middle of a file. Another worker joins and finishes. At the
end the counts must be those of a single process that counts alone.

Counting exactly once although workers die
------------------------------------------
`increment` never loses an update, but no single operation can say "count these
5,000 words, all or nothing": a worker that is killed in the middle of a file
leaves half of it counted, and counting the file again would count that half
twice. What to do about it is the same as with any shared store:

1. Every attempt at a file counts under keys of its own. An attempt has a number
   (`increment("attempts")`), and its words are the keys "<attempt>:<word>".
2. One write says that an attempt counts: `set("done:<file>", ..., nx=True)`.
   It happens or it does not, and for each file it happens once: also when a
   worker that was thought dead wakes up and finishes its file a second time.
3. The result is the sum over the attempts that are named there. It is only
   ever read from the pool, so whoever sums may die too and simply start again.

What a killed attempt left is never summed; its successor deletes it.

Who does which file is decided the same way: `set("claim:<file>", ..., nx=True)`
succeeds for one worker. A claim whose worker died is taken over with
`compare_and_set`, which also succeeds for one only.
"""

import argparse
import collections
import os
import pathlib
import re
import signal
import subprocess
import sys
import sysconfig
import time

import latzero

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
WORKERS = 4
VICTIM = "w2"
BEAT_EVERY = 4096  # identifiers between two signs of life within a file
BEAT_LIVES_S = 1.0  # a worker's sign of life, and its note of a finished file


# ---- the input ------------------------------------------------------------------


def list_files(limit):
    """The standard library's readable source files, in a fixed order; limit 0: all."""
    root = pathlib.Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "dist-packages"}
    paths = sorted(str(path) for path in root.rglob("*.py")
                   if not skipped.intersection(path.parts) and os.access(path, os.R_OK))
    step = max(1, len(paths) // limit) if limit else 1  # spread over the whole library
    return paths[::step][:limit or None]


def identifiers(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return IDENTIFIER.findall(file.read())


def count_alone(paths):
    """The answer: what one process counts by itself."""
    return collections.Counter(word for path in paths for word in identifiers(path))


# ---- a worker: one process ------------------------------------------------------


class Worker:
    def __init__(self, pool, name):
        self.pool, self.name, self.operations = pool, name, 0
        self.beat()

    def run(self, heir_of=None):
        for _ in range(15_000):  # the files come when all have joined
            if paths := self.pool.get("files"):
                break
            time.sleep(0.002)
        if heir_of:
            self.take_over(paths, heir_of)
        for number, path in enumerate(paths):
            attempt = self.claim(number)
            if attempt:
                self.count(number, path, attempt)

    def claim(self, number):
        """A new attempt's number, or nothing if the file is somebody's."""
        if f"claim:{number}" in self.pool:
            return None
        attempt = self.pool.increment("attempts")
        return self.pool.set(f"claim:{number}", (self.name, attempt), nx=True) and attempt

    def count(self, number, path, attempt):
        """Counts one file under the attempt's own keys, then says that it counts."""
        words = []
        seen = identifiers(path)
        increment = self.pool.increment
        for start in range(0, len(seen), BEAT_EVERY):
            for word in seen[start:start + BEAT_EVERY]:
                if increment(f"{attempt}:{word}") == 1:
                    words.append(word)
            self.operations += len(seen[start:start + BEAT_EVERY])
            self.beat()
        self.pool[f"words:{attempt}"] = words
        self.pool.set(f"done:{number}", (self.name, attempt), nx=True)
        self.pool.set(f"recent:{number}", path, auto_clean=BEAT_LIVES_S)
        self.operations += 6

    def take_over(self, paths, dead):
        """Counts again what the dead worker claimed and did not finish."""
        for number, path in enumerate(paths):
            claim = self.pool.get(f"claim:{number}")
            if claim is None or claim[0] != dead or f"done:{number}" in self.pool:
                continue
            attempt = self.pool.increment("attempts")
            if self.pool.compare_and_set(f"claim:{number}", claim, (self.name, attempt)):
                self.pool.delete_many(list(self.pool.keys(prefix=f"{claim[1]}:")))
                self.count(number, path, attempt)

    def beat(self):
        self.pool.set(f"alive:{self.name}", os.getpid(), auto_clean=BEAT_LIVES_S)
        self.pool.set(f"operations:{self.name}", self.operations)
        self.operations += 2


# ---- the result: the sum over the attempts that count ------------------------------


class Tally:
    """Totals so far. Only reads the pool: a new one would come to the same sums."""

    def __init__(self, pool, files):
        self.pool, self.files = pool, files
        self.pending = dict.fromkeys(range(files))
        self.attempts = {}  # file -> (worker, attempt) that counts
        self.unsummed = []
        self.totals, self.by_worker = collections.Counter(), collections.Counter()

    def look(self):
        """Sees which files were finished since the last look; returns how many there are."""
        found = self.pool.mget([f"done:{number}" for number in self.pending])
        for key, (worker, attempt) in found.items():
            number = int(key.removeprefix("done:"))
            del self.pending[number]
            self.attempts[number] = worker, attempt
            self.by_worker[worker] += 1
            self.unsummed.append(attempt)
        return len(self.attempts)

    def add(self, files):
        """Adds the counts of at most so many finished files to the totals."""
        now, self.unsummed = self.unsummed[:files], self.unsummed[files:]
        for attempt in now:
            prefix = f"{attempt}:"
            counts = self.pool.mget([prefix + word for word in self.pool[f"words:{attempt}"]])
            for key, count in counts.items():
                self.totals[key.removeprefix(prefix)] += count


# ---- the crew: starting, killing, replacing workers ---------------------------------


class Crew:
    def __init__(self, pool):
        self.pool = pool
        self.processes = {}
        self.killed = None  # (file, attempt, identifiers it had counted)

    def start(self, heir_of=None):
        name = f"w{len(self.processes) + 1}"
        command = [sys.executable, __file__, "--join", self.pool.name, "--as", name]
        if heir_of:
            command += ["--heir-of", heir_of]
        # A session of its own: Ctrl-C reaches this process only, which then stops the rest.
        self.processes[name] = subprocess.Popen(command, start_new_session=True)
        return name

    def running(self):
        return any(process.poll() is None for process in self.processes.values())

    def failed(self):
        return [name for name, process in self.processes.items()
                if process.poll() and not (self.killed and name == VICTIM)]

    def kill_in_mid_file(self, tally):
        """Kills the victim if it is in the middle of a file; True when done."""
        process = self.processes[VICTIM]
        if process.poll() is not None:
            return False
        # Stopped, it holds still while we look; nobody else waits for it meanwhile.
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        claims = self.pool.mget([f"claim:{number}" for number in tally.pending])
        for key, (worker, attempt) in claims.items():
            number = int(key.removeprefix("claim:"))
            if worker != VICTIM or f"done:{number}" in self.pool:
                continue
            if counted := sum(self.pool.values(prefix=f"{attempt}:")):
                process.kill()
                process.wait()
                self.killed = (number, attempt, counted)
                return True
        process.send_signal(signal.SIGCONT)
        return False

    def stop(self):
        for process in self.processes.values():
            process.kill()  # does nothing to one that has ended
            process.wait()


# ---- the live view ----------------------------------------------------------------------


class View:
    """A table of 80 x 24 on a terminal, a line a second elsewhere."""

    def __init__(self, pool, out=sys.stdout):
        self.pool, self.out, self.live = pool, out, out.isatty()
        self.every_s = 0.15 if self.live else 1.0
        self.started = self.last = time.monotonic()
        self.last_operations = 0
        self.events = collections.deque(maxlen=4)
        if self.live:
            out.write("\x1b[?25l\x1b[2J")

    def say(self, text):
        self.events.append(f"{time.monotonic() - self.started:5.1f} s  {text}")
        if not self.live:
            print(self.events[-1], file=self.out, flush=True)

    def show(self, tally, crew, force=False):
        now = time.monotonic()
        if now - self.last < self.every_s and not force:
            return
        names = list(crew.processes)
        operations = self.pool.mget([f"operations:{name}" for name in names])
        total = sum(operations.values())
        rate = max(0, total - self.last_operations) / max(now - self.last, 1e-3)
        self.last, self.last_operations = now, total
        stats = self.pool.stats()
        used, committed = mib(stats["used_bytes"]), mib(stats["committed_bytes"])
        recent = self.pool.mget([f"recent:{number}" for number in tally.attempts])
        alive = self.pool.mget([f"alive:{name}" for name in names])
        if self.live:
            self.draw(tally, crew, stats, rate, operations, alive, len(recent))
            return
        top = " ".join(f"{word}={count}" for word, count in tally.totals.most_common(3))
        print(f"{now - self.started:5.1f} s  {len(tally.attempts)}/{tally.files} files  {rate:,.0f} ops/s  "
              f"{stats['keys']:,} keys  {used}/{committed} MiB  {stats['members']} members  "
              f"{len(alive) + len(recent)} short-lived keys, "
              f"{stats['expired']} expired  {top}", file=self.out, flush=True)

    def draw(self, tally, crew, stats, rate, operations, alive, recent):
        used, committed = mib(stats["used_bytes"]), mib(stats["committed_bytes"])
        bar = "#" * (40 * len(tally.attempts) // tally.files)
        lines = [
            f"latzero  pool {self.pool.name}",
            f"files    [{bar:<40}] {len(tally.attempts)} of {tally.files}",
            f"speed    {rate:>12,.0f} operations/s",
            f"keys     {stats['keys']:>12,}",
            f"memory   {used:>12} of {committed} MiB committed is in use",
            f"members  {stats['members']:>12}",
            f"expiring {len(alive):>12} heartbeats, {recent} notes; {stats['expired']} expired",
            "",
            "worker  state     files    operations     most frequent identifiers",
        ]
        top = tally.totals.most_common(7)
        for row, name in enumerate(list(crew.processes)[:7] + [""] * (7 - len(crew.processes))):
            state = "" if not name else "killed" if crew.killed and name == VICTIM else (
                "working" if f"alive:{name}" in alive else "left")
            files = tally.by_worker[name] if name else ""
            count = f"{operations.get(f'operations:{name}', 0):,}" if name else ""
            word = f"{top[row][1]:>9,}  {top[row][0]}" if row < len(top) else ""
            lines.append(f"{name:<7} {state:<9} {files:>5} {count:>13}  {word}")
        lines += ["", *self.events]
        frame = "".join(f"{line[:79]}\x1b[K\n" for line in lines[:23])
        print("\x1b[H" + frame, end="\x1b[J", file=self.out, flush=True)

    def close(self):
        if self.live:
            print("\x1b[?25h", file=self.out, flush=True)


def mib(size_bytes):
    return f"{size_bytes / 2**20:.1f}"


def count_together(pool, paths, view, crew):
    """Runs the crew to the end; returns the tally and the seconds it took."""
    tally = Tally(pool, len(paths))
    for _ in range(WORKERS):
        crew.start()
    while len(pool.mget([f"alive:{name}" for name in crew.processes])) < WORKERS:
        if crew.failed():
            raise RuntimeError(f"workers failed to start: {crew.failed()}")
        time.sleep(0.001)
    view.say(f"{WORKERS} workers have joined")
    started = time.monotonic()
    pool["files"] = paths  # what they are waiting for
    while crew.running():
        half = tally.look() * 2 >= len(paths)
        if half and crew.killed is None and crew.kill_in_mid_file(tally):
            number, _, counted = crew.killed
            view.say(f"{VICTIM} killed {counted:,} words into {os.path.basename(paths[number])}")
            view.say(f"{crew.start(heir_of=VICTIM)} joins and finishes what {VICTIM} left")
        tally.add(files=10)
        view.show(tally, crew)
        time.sleep(0.002)
    elapsed_s = time.monotonic() - started
    tally.add(files=tally.look())
    view.show(tally, crew, force=True)
    return tally, elapsed_s


def report(pool, paths, tally, crew, elapsed_s):
    """Prints the result; True when everything agrees."""
    operations = sum(pool.mget([f"operations:{name}" for name in crew.processes]).values())
    counted = sum(tally.totals.values())
    print(f"counted     {counted:,} identifiers ({len(tally.totals):,} different) "
          f"in {len(tally.attempts)} of {len(paths)} files")
    print(f"speed       {operations:,} operations in {elapsed_s:.1f} s: "
          f"{operations / elapsed_s:,.0f} operations a second by {WORKERS} processes")
    if crew.killed:
        number, attempt, partial = crew.killed
        worker, counts = tally.attempts.get(number, ("nobody", None))
        left = len(list(pool.keys(prefix=f"{attempt}:")))
        print(f"kill        file {number}: attempt {attempt} of {VICTIM} was discarded "
              f"({partial:,} increments), attempt {counts} of {worker} counts; "
              f"{left} keys left over")
    else:
        left = 0
        print("kill        the input was too small: all files were done before the kill")

    alone_from = time.monotonic()
    expected = count_alone(paths)
    alone_s = time.monotonic() - alone_from
    print(f"alone       one process with a collections.Counter, nothing shared: {alone_s:.1f} s")
    if tally.totals == expected:
        print(f"agreement   yes: all {len(expected):,} counts are the same")
    else:
        wrong = [word for word in tally.totals | expected if tally.totals[word] != expected[word]]
        print(f"agreement   NO: {len(wrong):,} counts differ, for instance " + ", ".join(
            f"{word}: {tally.totals[word]} instead of {expected[word]}" for word in wrong[:5]))
    for name in crew.failed():
        print(f"failed      worker {name}: status {crew.processes[name].returncode}")
    return tally.totals == expected and not crew.failed() and not left


def is_gone(name):
    gone = not latzero.exists(name) and name not in {info.name for info in latzero.list_pools()}
    print(f"pool        {'gone: nobody holds it, so nothing is left' if gone else 'STILL THERE'}")
    return gone


def run(limit):
    paths = list_files(limit)
    name = f"wordcount-{os.getpid()}"
    with latzero.create(name) as pool:
        view, crew = View(pool), Crew(pool)
        try:
            tally, elapsed_s = count_together(pool, paths, view, crew)
        finally:
            crew.stop()
            view.close()
        agree = report(pool, paths, tally, crew, elapsed_s)
    return 0 if is_gone(name) and agree else 1


def main():
    parser = argparse.ArgumentParser(description="Count identifiers in a shared pool.")
    parser.add_argument("--limit", type=int, default=0, metavar="FILES",
                        help="only that many files of the standard library (default: all)")
    parser.add_argument("--join", help=argparse.SUPPRESS)
    parser.add_argument("--as", dest="name", help=argparse.SUPPRESS)
    parser.add_argument("--heir-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if not arguments.join:
            return run(arguments.limit)
        with latzero.connect(arguments.join) as pool:
            Worker(pool, arguments.name).run(arguments.heir_of)
        return 0
    except KeyboardInterrupt:
        if not arguments.join:
            print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
