# SPDX-License-Identifier: MIT
"""The stores that are measured, one file each, latzero first."""

import importlib

MODULES = ["latzero_peer", "dict_peer", "lmdb_peer", "manager_peer", "diskcache_peer"]


def find(directory, only=None):
    """Returns (peers, missing): adapters ready to be opened, and name -> reason."""
    peers, missing = [], {}
    for module_name in MODULES:
        module = importlib.import_module(f"{__name__}.{module_name}")
        for peer_class in module.PEERS:
            if only and peer_class.name not in only:
                continue
            try:
                peers.append(peer_class(directory))
            except ImportError as error:
                missing[peer_class.name] = str(error)
    return peers, missing
