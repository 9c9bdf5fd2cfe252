"""How vectors travel: as numbers or base64, in one of five dtypes.

The provider's scale for int8 is not published. Here each vector is scaled by its own largest component, which
leaves cosines alone. uint8 is int8 plus 128. Bits are set for components above zero, most significant bit
first; `ubinary` is the packed byte and `binary` that byte minus 128 (offset binary, not two's complement).
"""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from voyage_jobs.simulator.vectors import Floats

Dtype = Literal["float", "int8", "uint8", "binary", "ubinary"]
DTYPES: tuple[Dtype, ...] = ("float", "int8", "uint8", "binary", "ubinary")


def quantised(vectors: Floats, dtype: Dtype) -> npt.NDArray[Any]:
    """Unit vectors in the dtype that goes over the wire."""
    if dtype == "float":
        return vectors
    if dtype in ("int8", "uint8"):
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        scaled: npt.NDArray[np.int16] = np.rint(vectors * (127.0 / largest)).astype(np.int16)
        return scaled.astype(np.int8) if dtype == "int8" else (scaled + 128).astype(np.uint8)
    packed: npt.NDArray[np.uint8] = np.packbits(vectors > 0, axis=1)
    return packed if dtype == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)


def encoded(vector: npt.NDArray[Any], *, as_base64: bool) -> npt.NDArray[Any] | str:
    """One vector as it stands in an answer; orjson writes the array as a list of numbers."""
    if as_base64:
        return base64.b64encode(vector.tobytes()).decode()
    return vector
