"""Jobs in several processes, or with several tools at once, that an interrupt ends at once."""

import contextlib
import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TypeVar

from nibblegrad.gen.flow import tools
from nibblegrad.gen.interrupts import MOMENT, put_off

__all__ = ["Item", "Result", "at_once", "ended", "processes"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def processes(count: int) -> Iterator[Executor]:
    """Give a pool of processes that leave others the precedence.

    An interrupt of the block ends them, and the tools that they run. After another exception,
    what is running is finished, so that it is kept, and nothing else is begun. Work is submitted
    within :func:`nibblegrad.gen.interrupts.put_off`, and waited for by :func:`ended`.

    Parameters
    ----------
    count : int
        How many.
    """
    pool = ProcessPoolExecutor(count, initializer=_begin)
    try:
        yield pool
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            for process in multiprocessing.active_children():
                process.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def ended(futures: Collection[Future[Result]]) -> Iterator[Future[Result]]:
    """Give futures as they end, and notice every interrupt, unlike ``as_completed``.

    Parameters
    ----------
    futures : collection of Future
        What to wait for.
    """
    over: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(over.put)
    for _ in futures:
        found = None
        while found is None:
            with put_off(), contextlib.suppress(queue.Empty):
                found = over.get(timeout=MOMENT)
        yield found


def at_once(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do work that waits for tools, in as many threads as there are processors.

    An interrupt ends the tools.

    Parameters
    ----------
    work : function
        Called with each of the items.
    items : iterable
        What to call it with.

    Returns
    -------
    list
        The results, in the order of the items.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with put_off():
            futures = [pool.submit(work, item) for item in items]
        for future in ended(futures):
            # What fails ends the wait for the others.
            future.result()
        return [future.result() for future in futures]
    except KeyboardInterrupt:
        with tools.stopped():
            pool.shutdown(cancel_futures=True)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Prepare a process of the pool."""
    os.nice(5)
    # The interrupt of a terminal comes to all processes; the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)


def _end(*_) -> None:
    # The pool may send another one when it sees that a process has ended.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with tools.stopped():
        os._exit(130)
