"""Weights of negatives, from the similarity of bits."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.losses.similarities import Similarities
from maninegs_sampling.losses.transforms import needs_plain_operations
from maninegs_sampling.quoting import quoted

WeightOf = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NegativeWeights:
    """Weights of all pairs of a row and a column, one block at a time.

    Attributes:
        similarities: Those of all rows and columns.
        weight_of: Function from similarities to weights, elementwise.
    """

    similarities: Similarities
    weight_of: WeightOf

    def block(self, row: slice, column: slice) -> Tensor:
        """Return the weights of some rows and some columns, without gradient.

        Raises:
            InvalidValueError: If a weight is negative or not finite. Not under torch.func, where no
                value can be read.
        """
        with torch.no_grad():
            similarities = self.similarities.block(row, column)
            weights = self.weight_of(similarities).to(similarities.dtype)
        if not needs_plain_operations(weights):
            smallest, largest = (float(bound) for bound in weights.aminmax())
            if not 0.0 <= smallest <= largest < math.inf:
                raise InvalidValueError(
                    "negative_weights must return finite numbers of at least 0; got "
                    f"{smallest if smallest < 0.0 else largest}"
                )
        return weights


def check_weight_of(weight_of: object) -> WeightOf:
    """Return the function, or raise unless it maps tensors of similarities to weights elementwise.

    Raises:
        InvalidTypeError: If it cannot be called, or returns no floating-point tensor.
        InvalidValueError: If it is not elementwise, is random, or its result requires a gradient,
            which would be lost.
    """
    if not callable(weight_of):
        raise InvalidTypeError(
            "negative_weights must be a function from similarities to weights, both tensors; got "
            f"{quoted(weight_of)}"
        )
    probe = torch.tensor([[0.0, 0.25, 1.0]])
    weights, alone = weight_of(probe.clone()), weight_of(probe[:, 1:2].clone())
    for found in (weights, alone):
        if not isinstance(found, Tensor) or not found.is_floating_point():
            got = found.dtype if isinstance(found, Tensor) else type(found).__name__
            raise InvalidTypeError(
                f"negative_weights must return a tensor of floating-point numbers; got {got}"
            )
    readable = not needs_plain_operations(weights)
    if weights.shape != probe.shape or (readable and not torch.equal(weights[:, 1:2], alone)):
        raise InvalidValueError(
            "negative_weights must be elementwise: the weight of a pair may depend on its "
            f"similarity only; for [[0, 0.25, 1]] it returned {weights.tolist()}, for [[0.25]] "
            f"{alone.tolist()}"
        )
    if weights.requires_grad:
        raise InvalidValueError(
            "negative_weights must not return tensors that require a gradient, which would be lost"
        )
    return weight_of
