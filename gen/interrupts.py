"""When a signal that ends a program has its effect: not before what must be whole is whole."""

import contextlib
import signal
import threading
from collections.abc import Iterator

__all__ = ["MOMENT", "put_off"]

#: Seconds that a wait may last. A signal that comes when Python is just about to wait does not wake
#: it, and so has its effect only when the wait ends.
MOMENT = 0.2

#: Ctrl-C, and what ends the processes of a pool.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Let a short piece of work end before a signal that ends the program has its effect.

    Python would run the signal's handler between any two steps of the work: when a tool has begun
    and nobody knows of it yet, or when a lock is taken that nobody would release. A process that
    begins meanwhile inherits the patience.
    """
    if threading.current_thread() is not threading.main_thread():
        # Handlers run in the main thread only.
        yield
        return
    came: list[int] = []
    # What is ignored, or ends the program without Python, stays as it is.
    before = {int(number): now for number in _SIGNALS if callable(now := signal.getsignal(number))}
    try:
        for number in before:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            before[came[0]](came[0], None)
