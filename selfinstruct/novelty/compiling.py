"""How the novelty search is compiled: numba with a cache where one can be written; it knows no search."""

import contextlib
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

_OPTIONS = {"nogil": True, "error_model": "numpy"}


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into each that calls it, so that numba counts no references to the arrays it is handed."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call.

    The machine code is cached beside this package, else in the user's cache folder. Where neither can be
    written, in a read-only container say, every process compiles anew.
    """
    try:
        made = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba: "no locator available"
        return numba.njit(**_OPTIONS)(function)
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
    """Bits set in a 64-bit word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.ctpop(arguments[0])

    return numba.int64(numba.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing: Any, word: Any) -> Any:  # noqa: ARG001
    """Number of the lowest bit set in a 64-bit word, which is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return numba.int64(numba.uint64), generate


_EIGHT = ir.VectorType(ir.IntType(64), 8)


@intrinsic  # type: ignore[untyped-decorator]
def near_eight(typing: Any, words: Any, at: Any, offset: Any, sketch: Any, bound: Any) -> Any:  # noqa: ARG001
    """Compare eight sketches at once: a bit for each that differs from `sketch`, two words, in at most `bound` bits.

    Their first words are `words[at : at + 8]`, their second ones lie `offset` further on; nothing looks whether all of
    these are in the array. Written as vectors, of which LLVM makes what the processor has: three to four times as fast as
    the loop over single words that it makes vectors of itself, since it widens these (measured on AMD EPYC, 2026-11).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, at, offset, sketch, bound = arguments
        data = context.make_array(signature.args[0])(context, builder, words).data
        popcount = builder.module.declare_intrinsic(
            "llvm.ctpop.v8i64", (), ir.FunctionType(_EIGHT, [_EIGHT])
        )

        def differing(start: Any, word: Any) -> Any:
            pointer = builder.bitcast(builder.gep(data, [start]), _EIGHT.as_pointer())
            eight = builder.load(pointer, align=8)
            return builder.call(popcount, [builder.xor(eight, _eight_times(builder, word))])

        first = differing(at, builder.extract_value(sketch, 0))
        second = differing(builder.add(at, offset), builder.extract_value(sketch, 1))
        near = builder.icmp_unsigned("<=", builder.add(first, second), _eight_times(builder, bound))
        return builder.zext(builder.bitcast(near, ir.IntType(8)), ir.IntType(64))

    integer, word = numba.int64, numba.uint64
    pair = numba.types.UniTuple(word, 2)
    return word(words, integer, integer, pair, word), generate


def _eight_times(builder: Any, word: Any) -> Any:
    """A vector of eight times the same word."""
    none, first = ir.Constant(_EIGHT, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(none, word, first)
    return builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(ir.IntType(32), 8), None))
