"""How the novelty search is compiled: numba with a cache where one can be written; it knows no search."""

import contextlib
from collections.abc import Callable
from typing import Any

import numba
from numba.extending import intrinsic


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call.

    The machine code is cached beside this package, else in the user's cache folder. Where neither can be
    written, in a read-only container say, every process compiles anew.
    """
    try:
        made = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "no locator available"
        return numba.njit(nogil=True)(function)
    _forget_unreadable(made)
    return made


def _forget_unreadable(made: Any) -> None:
    """Empty a cache that names types which are no more, left by another version of this package.

    numba reads the whole index before it sees that the source has changed, and fails there.
    """
    try:
        made._cache._cache_file._load_index()
    except Exception:  # noqa: BLE001 - a pickle that does not fit may raise anything
        with contextlib.suppress(Exception):
            made._cache.flush()


@intrinsic  # type: ignore[untyped-decorator]
def popcount(typing: Any, word: Any) -> Any:  # noqa: ARG001 - numba hands over its typing context
    """Bits set in a 64-bit word, as a byte, so that LLVM can use its vector instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count = builder.ctpop(arguments[0])
        return builder.trunc(count, context.get_value_type(signature.return_type))

    return numba.uint8(numba.uint64), generate
