# SPDX-License-Identifier: MIT
"""A pool behind a password, with every key and value encrypted.

Run it:  python examples/encrypted_pool.py
"""

import sys

from latzero import AuthenticationError, SharedMemoryPool

NAME = "example-encrypted"
PASSWORD = "correct horse battery staple"


def main():
    manager = SharedMemoryPool()
    try:
        pool = manager.create(NAME, auth=True, auth_key=PASSWORD, encryption=True)
    except NotImplementedError:
        print("this build of latzero has no encryption yet")
        return 0

    with pool:
        pool["card"] = {"number": "4111 1111 1111 1111", "until": (2031, 5)}

        # Whoever knows the password joins (usually in another process) ...
        with SharedMemoryPool().connect(NAME, auth_key=PASSWORD) as other:
            print("with the password:", other["card"]["until"])

        # ... and nobody else.
        try:
            SharedMemoryPool().connect(NAME, auth_key="a guess")
        except AuthenticationError:
            print("with a guess: not let in")

        print("encryption:", pool.stats()["encryption"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
