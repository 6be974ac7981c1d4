"""
`make bench`: Themis beside its peers, all in one run.

    python -m benchmarks [--size small] [--works looped burst] [--peers …] [--rounds 3]

Every round lets each peer do the work once, so that whatever the machine does
meanwhile, it does to all of them; compare ratios, not numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from benchmarks import results
from benchmarks.cores import allow_many_files, leave_the_server_its_core
from benchmarks.peers import COMPARED, PEERS
from benchmarks.peers.base import Peer
from benchmarks.rig import Rig
from benchmarks.runs import end_in_order, run, show
from benchmarks.sizes import SIZES
from benchmarks.works import WORKS

# Beside the connections themselves.
_FILES = 200


def chosen_peers(names: list[str]) -> list[type[Peer]]:
    """Return the peers that can run here, and say of the others why not."""
    peers = [PEERS[name] for name in names]
    for peer in peers:
        if lacking := peer.missing():
            print(f"{peer.title} is left out: {lacking} is not installed.")
    return [peer for peer in peers if not peer.missing()]


def main() -> int:
    """Do all works in all rounds, and write what was found; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=COMPARED)
    parser.add_argument("--rounds", type=int, help="if not those of the size")
    parser.add_argument("--out", type=Path, help="the file to write")
    asked = parser.parse_args()
    end_in_order()
    size = SIZES[asked.size]
    if asked.rounds:
        size = dataclasses.replace(size, rounds=asked.rounds)
    if allow_many_files() < size.users + _FILES:
        print(f"{size.users} sockets need a higher limit of open files (ulimit -n).")
        return 1
    leave_the_server_its_core()
    peers = chosen_peers(asked.peers)
    with Rig(size) as rig:
        all_found = results.describe(rig, asked.size, size) | {"runs": []}
        path = results.write(all_found, asked.out)
        for work in (WORKS[name] for name in asked.works):
            for number in range(1, 1 + size.rounds):
                for peer in filter(work.is_for, peers):
                    found = {"round": number} | run(work, peer, rig, size)
                    show(found)
                    all_found["runs"].append(found)
                    # Each time, so that an interrupted hour is not lost.
                    path = results.write(all_found, asked.out)
    print(f"Written to {path}")
    return int(any("error" in found for found in all_found["runs"]))


if __name__ == "__main__":
    sys.exit(main())
