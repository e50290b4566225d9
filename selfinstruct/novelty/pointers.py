"""Reads and writes numbers at addresses, for compiled code that numba would otherwise slow down by counting references to arrays.

Nothing is checked: an address must be that of an array that outlives the call, and a place must be in it. All numbers are
int64 outside memory.
"""

from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

_INTEGER = ir.IntType(64)


def _reader(bits: int, *, signed: bool) -> Any:
    def read(typing: Any, address: Any, at: Any) -> Any:  # noqa: ARG001 - numba hands over its typing context
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            number = builder.load(builder.gep(pointer, [arguments[1]]))
            return (builder.sext if signed else builder.zext)(number, _INTEGER)

        return numba.int64(numba.int64, numba.int64), generate

    return intrinsic(read)


def _writer(bits: int) -> Any:
    def write(typing: Any, address: Any, at: Any, number: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            kind = ir.IntType(bits)
            pointer = builder.inttoptr(arguments[0], kind.as_pointer())
            number = builder.trunc(arguments[2], kind)
            builder.store(number, builder.gep(pointer, [arguments[1]]))
            return context.get_dummy_value()

        return numba.void(numba.int64, numba.int64, numba.int64), generate

    return intrinsic(write)


byte_at = _reader(8, signed=False)
"""`byte_at(address, place)`: the byte in this place of an array."""

word_at = _reader(16, signed=False)
short_at = _reader(16, signed=True)
int_at = _reader(32, signed=True)
set_byte = _writer(8)
"""`set_byte(address, place, number)`: write its lowest bits."""

set_int = _writer(32)
