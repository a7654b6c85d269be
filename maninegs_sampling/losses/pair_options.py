"""Options of a loss about pairs of instances: which are negatives, and how much they weigh."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.losses.embeddings import check_embeddings
from maninegs_sampling.losses.memory import CrossBatchMemory
from maninegs_sampling.losses.negative_weights import WeightOf, check_weight_of
from maninegs_sampling.losses.options import Similarity, check_similarity
from maninegs_sampling.losses.similarities import Bits, check_bits
from maninegs_sampling.losses.transforms import needs_plain_operations
from maninegs_sampling.quoting import quoted

LogQ = Tensor | np.ndarray
Mask = Tensor | np.ndarray


@dataclass(frozen=True)
class PairOptions:
    """The checked options of a loss about pairs of instances. `nt_xent` describes them.

    Attributes:
        memory: Past embeddings, which are further negatives.
        log_q: (N,) floating-point numbers of this rank.
        bits: (N, B) booleans of this rank.
        similarity: The similarity of bits.
        weight_of: Function from similarities to the weights of negatives.
        positive: (N, N) booleans: the further positives.
        ignored: (N, N) booleans: the pairs that are no negatives.
    """

    memory: CrossBatchMemory | None = None
    log_q: Tensor | None = None
    bits: Tensor | None = None
    similarity: Similarity = "jaccard"
    weight_of: WeightOf | None = None
    positive: Tensor | None = None
    ignored: Tensor | None = None

    @staticmethod
    def of(
        embeddings: dict[str, Tensor],
        *,
        memory: CrossBatchMemory | None = None,
        log_q: LogQ | None = None,
        bits: Bits | None = None,
        negative_weights: WeightOf | None = None,
        similarity: Similarity = "jaccard",
        positive_mask: Mask | None = None,
        ignore: Mask | None = None,
    ) -> "PairOptions":
        """Check and convert the arguments of a loss.

        Raises:
            InvalidValueError: If a shape or a value does not match, or options exclude each other.
            InvalidTypeError: If an option has the wrong type.
        """
        check_similarity("similarity", similarity)
        given = {
            "log_q": log_q,
            "bits": bits,
            "negative_weights": negative_weights,
            "positive_mask": positive_mask,
            "ignore": ignore,
        }
        names = [name for name, value in given.items() if value is not None]
        if not names:
            return PairOptions(memory, similarity=similarity)
        if memory is not None:
            raise InvalidValueError(
                f"{names[0]} must be None with a memory, for whose embeddings it is not known"
            )
        if (bits is None) != (negative_weights is None):
            only = "bits" if negative_weights is None else "negative_weights"
            raise InvalidValueError(f"bits and negative_weights need each other; got only {only}")
        check_embeddings(embeddings)
        first = next(iter(embeddings.values()))
        positive = _checked_mask("positive_mask", positive_mask, first)
        ignored = _checked_mask("ignore", ignore, first)
        _check_disjoint(positive, ignored)
        return PairOptions(
            memory,
            None if log_q is None else check_log_q(log_q, first),
            None if bits is None else check_bits(bits, len(first), first.device),
            similarity,
            None if negative_weights is None else check_weight_of(negative_weights),
            positive,
            ignored,
        )

    @property
    def is_masked(self) -> bool:
        """Whether there is a mask of pairs."""
        return self.positive is not None or self.ignored is not None

    @property
    def names(self) -> list[str]:
        """The names of the options that change who is a negative, or its logit."""
        given = {
            "memory": self.memory,
            "log_q": self.log_q,
            "negative_weights": self.weight_of,
            "positive_mask": self.positive,
            "ignore": self.ignored,
        }
        return [name for name, value in given.items() if value is not None]

    def to_agree_on(self) -> dict[str, int]:
        """Return, by name, numbers that must be the same on all ranks."""
        return {
            "log_q": self.log_q is not None,
            "bits": 0 if self.bits is None else self.bits.shape[1],
        }


NO_OPTIONS = PairOptions()


def check_log_q(log_q: object, like: Tensor) -> Tensor:
    """Return `log_q` as (N,) on the device of `like`, (N, D), without gradient.

    Raises:
        InvalidTypeError: If it is no tensor or array of floating-point numbers.
        InvalidValueError: If there is not one number for each instance, or one is not finite. Under
            torch.func, where no value can be read, the loss is then not finite.
    """
    checked = torch.from_numpy(log_q) if isinstance(log_q, np.ndarray) else log_q
    if not isinstance(checked, Tensor) or not checked.is_floating_point():
        raise InvalidTypeError(
            f"log_q must be a tensor or an array of floating-point numbers; got {quoted(log_q)}"
        )
    if checked.shape != like.shape[:1]:
        raise InvalidValueError(
            f"log_q must have the shape ({len(like)},), one for each instance; got "
            f"{tuple(checked.shape)}"
        )
    if not needs_plain_operations(checked) and not bool(checked.isfinite().all()):
        raise InvalidValueError(
            f"log_q must be finite; got {checked[~checked.isfinite()][0].item()}"
        )
    return checked.detach().to(like.device)


def _checked_mask(name: str, mask: object, like: Tensor) -> Tensor | None:
    """Return a mask as (N, N) booleans on the device of `like`, (N, D)."""
    if mask is None:
        return None
    checked = torch.from_numpy(mask) if isinstance(mask, np.ndarray) else mask
    if not isinstance(checked, Tensor) or checked.dtype != torch.bool:
        raise InvalidTypeError(
            f"{name} must be a tensor or an array of booleans; got {quoted(mask)}"
        )
    n = len(like)
    if checked.shape != (n, n):
        raise InvalidValueError(
            f"{name} must have the shape ({n}, {n}), one row and one column for each instance; got "
            f"{tuple(checked.shape)}"
        )
    return checked.to(like.device)


def _check_disjoint(positive: Tensor | None, ignored: Tensor | None) -> None:
    if positive is None or ignored is None:
        return
    both = positive & ignored
    if needs_plain_operations(both):
        return
    pairs = both.fill_diagonal_(False).nonzero()
    if len(pairs):
        raise InvalidValueError(
            "a pair must not be True in both positive_mask and ignore; got the pair "
            f"{tuple(pairs[0].tolist())}"
        )
