# SPDX-License-Identifier: MIT
"""A pool behind a password, with every key and value encrypted.

Run it:  python examples/encrypted_pool.py
"""

import latzero

NAME = "example-encrypted"
PASSWORD = "correct horse battery staple"

with latzero.create(NAME, auth=True, auth_key=PASSWORD, encryption=True) as pool:
    pool["card"] = {"number": "4111 1111 1111 1111", "until": (2031, 5)}

    # Whoever knows the password joins (usually in another process) ...
    with latzero.connect(NAME, auth_key=PASSWORD) as other:
        print("with the password:", other["card"]["until"])

    # ... and nobody else.
    try:
        latzero.connect(NAME, auth_key="a guess")
    except latzero.AuthenticationError:
        print("with a guess: not let in")

    # That it is locked is no secret.
    for info in latzero.list_pools():
        if info.name == NAME:
            print("needs a password:", info.auth)
    print("encryption:", pool.stats()["encryption"])
