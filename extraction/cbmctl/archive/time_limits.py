"""Work that is not waited for any longer than it is worth."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Event, Thread

# What comes more slowly than so many bytes in so many seconds does not come: an image would take a week.
SLOW_BYTES, SLOW_S = 60_000, 60.0


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


def in_pace(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Return pieces as they come, as long as they come in some pace.

    Raises:
        TimeoutError: too little came in a minute; no single piece was late.
    """
    begun, come = time.monotonic(), 0
    for piece in pieces:
        yield piece
        come += len(piece)
        now = time.monotonic()
        if now - begun >= SLOW_S:
            if come < SLOW_BYTES:
                raise TimeoutError(f"only {come} bytes were received in {now - begun:.0f} s")
            begun, come = now, 0


class Hands:
    """Some threads that do what they are given; a process that ends does not wait for them."""

    def __init__(self, number: int, name: str) -> None:
        """Have at most so many, begun when they are needed."""
        self._number, self._name = number, name
        self._threads: list[Thread] = []
        self._closed = False
        self._given: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit[Answer](self, work: Callable[[], Answer]) -> Future[Answer]:
        """Have work done, in the order in which it is given, unless its future is cancelled before.

        Raises:
            RuntimeError: they were let go, or the system has no thread for the first of them.
        """
        if self._closed:
            raise RuntimeError("its threads have ended")
        done: Future[Answer] = Future()

        def run() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(work())
                except BaseException as error:  # noqa: BLE001 - it is the caller's
                    done.set_exception(error)

        if len(self._threads) < self._number:
            # a thread of a pool would be waited for when the process ends
            thread = Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # those that there are do it
                if not self._threads:
                    raise
            else:
                self._threads.append(thread)
        self._given.put(run)
        return done

    def close(self) -> None:
        """Let them go when they have done what they were given; whoever gave it may cancel it."""
        self._closed = True
        for _ in self._threads:
            self._given.put(None)

    def _serve(self) -> None:
        while run := self._given.get():
            run()
