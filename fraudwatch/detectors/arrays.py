"""State as flat arrays: declared once and checked on every load, before a kernel touches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fraudwatch.errors import BundleError

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int32]
Flags = NDArray[np.bool_]

# One field: its type and the names of its dimensions. A name means the same length in all fields.
Layout = Mapping[str, tuple[type[np.generic], tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Flat:
    """A frozen dataclass of arrays; `layout` names type and dimensions of each."""

    layout: ClassVar[Layout] = {}

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for name, (dtype, dimensions) in self.layout.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != len(dimensions):
                raise BundleError(
                    f"{type(self).__name__}.{name} has type {array.dtype} and shape {array.shape}, "
                    f"expected {np.dtype(dtype)} ({', '.join(dimensions)}): train the model again"
                )
            for dimension, size in zip(dimensions, array.shape, strict=True):
                if sizes.setdefault(dimension, size) != size:
                    raise BundleError(
                        f"{type(self).__name__}.{name} has {size} {dimension}, other arrays have "
                        f"{sizes[dimension]}: train the model again"
                    )
        self.require_sound()
        self.derive()

    def require_sound(self) -> None:
        """Raise `BundleError` unless indices lie in range and sorted arrays are sorted."""

    def derive(self) -> None:
        """Set what is computed from the arrays, which are sound, once for all calls."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name: what a bundle stores."""
        return {name: getattr(self, name) for name in self.layout}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The object that `arrays()` described. Raises `BundleError` on anything else."""
        names = set(cls.layout)
        if set(arrays) != names:
            odd = sorted(names.symmetric_difference(arrays))
            raise BundleError(
                f"{cls.__name__}: arrays missing or unknown: {odd}; train the model again"
            )
        return cls(
            **{
                name: np.ascontiguousarray(arrays[name]) if arrays[name].ndim else arrays[name]
                for name in names
            }
        )


def require_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    """Indices outside low..high-1 would let a compiled kernel read foreign memory."""
    if values.size and (values.min() < low or values.max() >= high):
        raise BundleError(f"{name} holds indices outside {low}..{high - 1}: train the model again")


def require_sorted(name: str, values: NDArray[Any]) -> None:
    """Values must be finite and ascending along the last axis, for binary search."""
    if not np.isfinite(values).all() or (np.diff(values, axis=-1) < 0).any():
        raise BundleError(f"{name} must be finite and ascending: train the model again")


def scalar(value: float) -> Floats:
    """A number as an array without dimensions."""
    return np.array(value, dtype=np.float64)


def whole(value: int) -> Integers:
    """A whole number as an array without dimensions."""
    return np.array(value, dtype=np.int32)
