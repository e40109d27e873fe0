# SPDX-License-Identifier: MIT
"""Several unrelated processes share one pool.

The main process makes a pool. Three workers join it by its name, count on one
counter, read a configuration that changes while they run, and report. Nobody
polls a file, nobody holds a lock, and no update is lost.

Run it:  python examples/multi_client_demo.py
"""

import multiprocessing
import os
import time

import latzero

NAME = f"example-clients-{os.getpid()}"
WORKERS = 3
COUNTS = 10_000


def wait_for(condition):
    """Returns the condition's value once it is true."""
    for _ in range(3000):
        if value := condition():
            return value
        time.sleep(0.01)
    raise TimeoutError


def work(pool_name, worker):
    """One client: joins by name, as any other program could."""
    with latzero.connect(pool_name) as pool:
        for _ in range(COUNTS):
            pool.increment("visits")

        pool.append("joined", worker)
        # Live reads: the main process changes this value while we look at it.
        config = wait_for(lambda: pool["config"]["rate"] > 10 and pool["config"])
        pool.set(("report", worker), f"worker {worker} saw rate {config['rate']}")


def main():
    with latzero.create(NAME) as pool:
        pool["config"] = {"rate": 10}
        pool.set("announcement", "closing soon", auto_clean=1)
        print("announcement:", pool["announcement"])

        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=work, args=(NAME, n)) for n in range(WORKERS)]
        for process in processes:
            process.start()

        # All three have counted: change what they are waiting for.
        wait_for(lambda: len(pool.get("joined", [])) == WORKERS)
        pool.modify("config", lambda config: {**config, "rate": 20})
        for process in processes:
            process.join()

        print("visits:", pool["visits"], "of", WORKERS * COUNTS)
        for worker in range(WORKERS):
            print(pool["report", worker])
        # auto_clean: a second later it is gone by itself; nobody removes it.
        wait_for(lambda: "announcement" not in pool)
        print("announcement:", pool.get("announcement", "gone"))

    print("pool left behind:", latzero.exists(NAME))


if __name__ == "__main__":
    main()
