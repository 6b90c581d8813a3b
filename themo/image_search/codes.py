"""Vectors quantised to int8: a quarter of the memory traffic, with error bounds of their products.

A piece's vector v is split into the mean m of the piece, integers c of -127 to 127 with a scale s, and the
rounding error r: v = m + s c + r. A query is split alike: q = t a + u. Then

    v q = m q + s t (c a) + (s c u + r q)

where the last term is at most ``|s c| |u| + |r| |q|`` (Cauchy-Schwarz). Products of integers are exact.
Centring matters: CLIP's vectors share a few large dimensions, which would set every scale.

Shape suffixes: P pictures of a piece, E dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Vectors = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int8]

LARGEST = 127
"""Greatest absolute value of an integer."""
_ROUNDED_UP = 1 + 1e-6
"""Factor of lengths, so that float32 does not round a bound down."""


class Bounds(NamedTuple):
    """Estimated products of vectors with a query, each with its error bound."""

    estimates_P: Vectors
    errors_P: Vectors


@dataclass(frozen=True)
class Rounding:
    """Mean, scales and rounding errors that turn products of integers into bounds.

    Attributes:
        mean_E: float32 mean of the vectors.
        scales_P: float32 scale of each vector's integers.
        errors_P: float32 length of each vector's rounding error, rounded up.
        longest: Greatest length of a vector's scaled integers, rounded up.
    """

    mean_E: Vectors
    scales_P: Vectors
    errors_P: Vectors
    longest: float

    def bounds(self, integers_PE: Integers, query: RoundedQuery) -> Bounds:
        """Return the bounds of products of vectors with a query, from their integers."""
        sums_P = torch._int_mm(torch.from_numpy(integers_PE), query.integers_E[:, None])[:, 0].numpy()
        products_P = sums_P * (self.scales_P * np.float32(query.scale))
        # the sums of E products of float32 are rounded too, in the estimate and in the exact product
        rounding = 2 * len(self.mean_E) * float(np.finfo(np.float32).eps) * query.length
        constant = np.float32(self.longest * query.error + rounding)
        estimates_P: Vectors = products_P + self.mean_E @ query.vector_E
        return Bounds(estimates_P, self.errors_P * query.length + constant)


@dataclass(frozen=True)
class RoundedQuery:
    """A query as integers.

    Attributes:
        vector_E: The float32 query.
        integers_E: int8 tensor.
        scale: Scale of the integers.
        error: Length of the rounding error, rounded up.
        length: Length of the query, rounded up.
    """

    vector_E: Vectors
    integers_E: torch.Tensor
    scale: float
    error: float
    length: float

    @classmethod
    def of(cls, query_E: Vectors) -> RoundedQuery:
        """Round a float32 query."""
        exact_E = query_E.astype(np.float64)
        scale = float(np.abs(exact_E).max(initial=0.0)) / LARGEST or 1.0
        integers_E = np.rint(exact_E / scale)
        error = _ROUNDED_UP * float(np.linalg.norm(exact_E - scale * integers_E))
        length = _ROUNDED_UP * float(np.linalg.norm(exact_E))
        return cls(query_E, torch.from_numpy(integers_E.astype(np.int8)), scale, error, length)


def round_vectors(vectors_PE: Vectors) -> tuple[Integers, Rounding]:
    """Return the integers of float32 vectors, and their `Rounding`."""
    n, dimension = vectors_PE.shape
    mean_E: Vectors = vectors_PE.mean(axis=0) if n else np.zeros(dimension, np.float32)
    rest_PE = vectors_PE - mean_E
    scales_P: Vectors = np.abs(rest_PE).max(axis=1, initial=0.0) / np.float32(LARGEST)
    scales_P[scales_P == 0] = 1  # the mean itself
    integers_PE = np.rint(rest_PE / scales_P[:, None]).astype(np.int8)
    scaled_PE = integers_PE * scales_P[:, None]
    errors_P = np.linalg.norm(rest_PE - scaled_PE, axis=1) * np.float32(_ROUNDED_UP)
    longest = float(np.linalg.norm(scaled_PE, axis=1).max(initial=0.0)) * _ROUNDED_UP
    return integers_PE, Rounding(mean_E, scales_P, errors_P, longest)


def multiplies_bytes() -> bool:
    """Whether the CPU has instructions for int8 products; without them codes save no time.

    Without them oneDNN may also saturate sums of two products, so that they are not exact.
    """
    capabilities = torch.cpu.get_capabilities()
    return torch.backends.mkldnn.is_available() and bool(
        capabilities.get("avx512_vnni") or capabilities.get("avx_vnni")
    )
