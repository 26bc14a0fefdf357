"""Work that is not waited for any longer than it is worth."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Thread


def in_time[Answer](work: Callable[[Event], Answer], seconds: float) -> Answer:
    """Do work, and leave it to itself when it takes too long: its event is set then.

    Raises:
        TimeoutError: it takes too long.
    """
    done: Future[Answer] = Future()
    left = Event()

    def run() -> None:
        try:
            done.set_result(work(left))
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            done.set_exception(error)

    # a thread of a pool would be waited for when the process ends
    Thread(target=run, daemon=True).start()
    try:
        return done.result(timeout=seconds)
    finally:
        left.set()
