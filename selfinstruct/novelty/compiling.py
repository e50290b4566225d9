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
    """Bits set in a 64-bit word, as a byte, so that LLVM can use its vector instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count = builder.ctpop(arguments[0])
        return builder.trunc(count, context.get_value_type(signature.return_type))

    return numba.uint8(numba.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def near_eight(typing: Any, words: Any, at: Any, offset: Any, first: Any, second: Any, bound: Any) -> Any:  # noqa: ARG001
    """Which of eight sketches, side by side."""
    eight = ir.VectorType(ir.IntType(64), 8)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, at, offset, first, second, bound = arguments
        data = context.make_array(signature.args[0])(context, builder, words).data

        def spread(word: Any) -> Any:
            one = builder.insert_element(ir.Constant(eight, ir.Undefined), word, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, ir.Constant(eight, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), 8), None))

        count = builder.module.declare_intrinsic("llvm.ctpop.v8i64", (), ir.FunctionType(eight, [eight]))

        def differing(at: Any, word: Any) -> Any:
            pointer = builder.bitcast(builder.gep(data, [at]), eight.as_pointer())
            return builder.call(count, [builder.xor(builder.load(pointer, align=8), spread(word))])

        bits = builder.add(differing(at, first), differing(builder.add(at, offset), second))
        near = builder.icmp_unsigned("<=", bits, spread(bound))
        return builder.zext(builder.bitcast(near, ir.IntType(8)), ir.IntType(64))

    u = numba.uint64
    return u(words, numba.int64, numba.int64, u, u, u), generate


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing: Any, word: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))
    return numba.int64(numba.uint64), generate
