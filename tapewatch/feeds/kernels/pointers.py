"""A raw pointer to an array's elements inside compiled code.

Handing an array from one compiled function to another counts references, which costs more than the helpers of a scanner do;
a pointer is just an address.
"""

from typing import Any

from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

# Numba's own functions carry no types.
_make_array: Any = make_array
_CPointer: Any = types.CPointer

#: A raw pointer inside compiled code.
Pointer = Any
#: An int64 inside compiled code.
Whole = Any


@intrinsic
def _pointer_to(_typing: Any, array: Any) -> tuple[Any, Any]:
    """The address of a C-contiguous array's first element, indexable; no bounds are checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _make_array(signature.args[0])(context, builder, arguments[0]).data

    return _CPointer(array.dtype)(array), generate


#: Called with an array in compiled code, gives the address of its first element; Numba supplies the first argument above.
pointer_to: Any = _pointer_to


@intrinsic
def _eight_bytes(_typing: Any, text: Any, at: Any) -> tuple[Any, Any]:
    """The eight bytes at `at` as one number, the first lowest, as little-endian processors have it; wherever they lie."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.gep(arguments[0], [arguments[1]])
        wide = builder.bitcast(pointer, context.get_value_type(_CPointer(types.uint64)))
        return builder.load(wide, align=1)

    return types.uint64(text, at), generate


#: Called with a pointer to bytes and a position in compiled code; Numba supplies the first argument above.
eight_bytes: Any = _eight_bytes
