"""One run: a work, done by a peer; and how a row of them ends early."""

from __future__ import annotations

import signal
import sys
from typing import Any

from benchmarks.peers.base import Peer
from benchmarks.rig import Rig
from benchmarks.sizes import Size
from benchmarks.stage import staged
from benchmarks.works.work import Work


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


def end_in_order() -> None:
    """Let a signal leave by way of all blocks, so that no server is left behind."""
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, _end)


def _end(*_: object) -> None:
    sys.exit("Ended.")
