"""Work that is not waited for any longer than it is worth."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Thread


def in_time[Answer](work: Callable[[Event, Callable[[], None]], Answer], seconds: float) -> Answer:
    """Do work, and leave it to itself when it takes too long: its event is set then.

    Args:
        work: given that event, and what it calls when its time begins; what comes before is waited for.
        seconds: how long it may take from then on.

    Raises:
        TimeoutError: it takes too long.
    """
    done: Future[Answer] = Future()
    left, begun = Event(), Event()

    def run() -> None:
        try:
            done.set_result(work(left, begun.set))
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            done.set_exception(error)
        finally:
            begun.set()

    # a thread of a pool would be waited for when the process ends
    Thread(target=run, daemon=True).start()
    try:
        begun.wait()
        return done.result(timeout=seconds)
    finally:
        left.set()
