"""Raw pointers to array elements inside compiled code.

Passing an array from one compiled function to another counts references, which costs more than a scanner's helpers do.
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
    """The address of a C-contiguous array's first element; indexing it checks no bounds."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _make_array(signature.args[0])(context, builder, arguments[0]).data

    return _CPointer(array.dtype)(array), generate


#: In compiled code: `pointer_to(array)`. Numba supplies the first argument above.
pointer_to: Any = _pointer_to


@intrinsic
def _eight_bytes(_typing: Any, text: Any, at: Any) -> tuple[Any, Any]:
    """The eight bytes at `at`, aligned or not, as one little-endian number."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.gep(arguments[0], [arguments[1]])
        wide = builder.bitcast(pointer, context.get_value_type(_CPointer(types.uint64)))
        return builder.load(wide, align=1)

    return types.uint64(text, at), generate


#: In compiled code: `eight_bytes(pointer, position)`. Numba supplies the first argument above.
eight_bytes: Any = _eight_bytes
