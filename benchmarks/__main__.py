"""
`make bench`: Themis beside its peers, all in one run.

    python -m benchmarks [--size small] [--works looped burst] [--peers …] [--rounds 3]

Every round lets each peer do the work once, so that whatever the machine does
meanwhile, it does to all of them; compare ratios, not numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.cores import allow_many_files, leave_the_server_its_core
from benchmarks.peers import PEERS
from benchmarks.peers.base import Peer
from benchmarks.rig import Rig
from benchmarks.sizes import SIZES, Size
from benchmarks.stage import staged
from benchmarks.works import WORKS
from benchmarks.works.work import Work

# Beside the connections themselves.
_FILES = 200


def run(work: Work, peer: type[Peer], rig: Rig, size: Size) -> dict[str, Any]:
    """Let *peer* do the work; return what was found, or what went wrong."""
    found: dict[str, Any] = {"work": work.key, "peer": peer.key}
    try:
        with staged(peer, rig, size) as stage:
            found["figures"] = work.measure(stage)
            found["expected"] = stage.expected
            found["lost"] = stage.lost
            found["extra"] = stage.extra
            found["failed"] = stage.failed
            found["shares"] = stage.shares
    except Exception as error:  # noqa: BLE001 -- the others go on
        # The notes, which may hold paths of this machine, are for who watches.
        print(*getattr(error, "__notes__", []), sep="\n", file=sys.stderr)
        found["error"] = repr(error)
    return found


def show(found: dict[str, Any]) -> None:
    """Print one run in a line."""
    if "error" in found:
        text = found["error"]
    else:
        figures = found["figures"].items()
        text = "  ".join(f"{name} {value:,.1f}" for name, value in figures)
        for kind in ("lost", "extra", "failed"):
            text += f"  {kind} {found[kind]}" if found[kind] else ""
    print(f"{found['round']} {found['work']:10} {found['peer']:16} {text}", flush=True)


def chosen_peers(names: list[str]) -> list[type[Peer]]:
    """Return the peers that can run here, and say of the others why not."""
    peers = [PEERS[name] for name in names]
    for peer in peers:
        if lacking := peer.missing():
            print(f"{peer.title} is left out: {lacking} is not installed.")
    return [peer for peer in peers if not peer.missing()]


def end(*_: object) -> None:
    """Leave by way of all blocks, so that no server is left behind."""
    sys.exit("Ended.")


def main() -> int:
    """Do all works in all rounds, and write what was found; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, help="if not those of the size")
    parser.add_argument("--out", type=Path, help="the file to write")
    asked = parser.parse_args()
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, end)
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
