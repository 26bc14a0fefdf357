"""The decorator of every kernel: compiled machine code that is kept, and runs beside other threads.

Each kernel states its types, so it is compiled when its module is imported for the first time, never later.
The worker image is built with all of them compiled (`NUMBA_CACHE_LOCATOR_CLASSES` names `Shipped`), for any
processor of the architecture (`NUMBA_CPU_NAME=generic`): production compiles nothing and writes nowhere.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numba
from numba.core import types
from numba.core.caching import InTreeCacheLocator

_KERNELS: list[Any] = []


class Shipped(InTreeCacheLocator):
    """Finds kernels beside their source, also where nobody may write."""

    def ensure_cache_path(self) -> None:
        """Be content with a folder that is there; numba would try to write into it.

        Raises:
            OSError: it is not there.
        """
        path: str = self.get_cache_path()  # type: ignore[no-untyped-call]
        if not Path(path).is_dir():
            raise FileNotFoundError(path)


def compiled[F: Callable[..., Any]](*signatures: Any) -> Callable[[F], F]:
    """Compile a function for these signatures, without the interpreter's lock, and keep the result."""

    def compile_(function: F) -> F:
        kernel = numba.njit(list(signatures), nogil=True, cache=True, error_model="numpy")(function)
        _KERNELS.append(kernel)
        return cast(F, kernel)

    return compile_


def helper[F: Callable[..., Any]](function: F) -> F:
    """Compile a function that only kernels call, as part of them."""
    return cast(F, numba.njit(nogil=True, error_model="numpy", inline="never")(function))


def array(dtype: Any, dimensions: int = 1) -> Any:
    """Return the type of an array that the kernel writes."""
    return types.Array(dtype, dimensions, "C")


def readonly(dtype: Any) -> Any:
    """Return the type of an array that the kernel only reads, wherever its memory comes from."""
    return types.Array(dtype, 1, "C", readonly=True, aligned=False)


def fresh() -> list[str]:
    """Return the kernels that this process had to compile, because none was kept: none in a worker image."""
    return sorted(kernel.__name__ for kernel in _KERNELS if sum(kernel.stats.cache_misses.values()) > 0)
