"""SIGTERM, as a scheduler sends it: taken as Ctrl-C; where that does not end the process in time, it ends anyway."""

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType

from graph.commands import RESUMABLE

GRACE = 4.0
"""Seconds in which what is finished is put down; schedulers kill after 10 or more."""
CAUGHT: list[str] = []
"""The names of the signals that came."""


def heed() -> None:
    """Takes SIGTERM for Ctrl-C from now on."""
    signal.signal(signal.SIGTERM, caught)


def caught(number: int, frame: FrameType | None) -> None:
    CAUGHT.append(signal.Signals(number).name)
    threading.Thread(target=end, daemon=True).start()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def end() -> None:
    """Ends the process where it stands: a thread that still generates, or a server that is still starting, is waited
    for by Python. Nothing is lost by that; stages and servers see that it is gone, and end as well."""
    time.sleep(GRACE)
    logging.getLogger("breakfix").warning("stopped", extra={"told": {"by": CAUGHT[0], "after": GRACE}})
    print(
        f"\nstopped where it was, {GRACE:g} s after {CAUGHT[0]}; `breakfix resume` goes on", file=sys.stderr, flush=True
    )
    os._exit(RESUMABLE)


def leave() -> None:
    """Ends the process now, where a signal came and all is put down: Python takes long to let go of torch, on a busy
    machine most of a minute, and `end` has no say any more by then."""
    if CAUGHT:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(RESUMABLE)
