"""`python -m server`: see server.launch."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130


def leave(*_: object) -> None:
    """End without a traceback, also while modules are being imported."""
    sys.exit(INTERRUPTED)


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)

    from server.launch import main

    sys.exit(main(sys.argv[1:]))
