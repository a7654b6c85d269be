"""How many batches an epoch has."""

from typing import Literal

from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.sampling.replicas import Replicas, Shard

BatchesPerEpoch = int | Literal["ceil", "anchors"] | None


def count_batches(
    option: BatchesPerEpoch,
    *,
    n_instances: int,
    batch_size: int,
    replicas: Replicas,
    shard: Shard,
) -> int:
    """Return the batches of an epoch, the same for every rank.

    Args:
        option: a number; None for n_instances // (ranks * batch_size); "ceil" for the same rounded
            up; "anchors" to make every instance an anchor once.
        n_instances: instances that may be drawn.
        batch_size: of each rank.
        replicas: the ranks.
        shard: whether each rank draws its own batches.

    Raises:
        InvalidTypeError, InvalidValueError: If `option` is none of these.
    """
    per_step = replicas.count * batch_size
    if option is None:
        return max(1, n_instances // per_step)
    if isinstance(option, str) and option == "ceil":
        return -(-n_instances // per_step)
    if isinstance(option, str) and option == "anchors":
        return -(-n_instances // (replicas.count if shard == "batches" else 1))
    if isinstance(option, str):
        raise InvalidValueError(
            f'batches_per_epoch must be a number, "ceil" or "anchors"; got {option!r}'
        )
    return check_count("batches_per_epoch", option, at_least=1, at_most=2**40)


def count_covering_batches(
    option: BatchesPerEpoch, *, n_instances: int, batch_size: int, n_replicas: int
) -> int:
    """Return the batches of an epoch in which each instance stands once, the same for every rank.

    Args:
        option: None for whole batches only; "ceil" for a last, smaller one with what is left, if
            there is at least one instance for each rank.
        n_instances: instances that may be drawn.
        batch_size: of each rank.
        n_replicas: the number of ranks.

    Raises:
        InvalidValueError: If `option` is another.
    """
    if option is not None and not (isinstance(option, str) and option == "ceil"):
        raise InvalidValueError(
            "an epoch in which each instance stands once has a length of its own: "
            f'batches_per_epoch must be None or "ceil"; got {option!r}'
        )
    whole, rest = divmod(n_instances, n_replicas * batch_size)
    return max(1, whole + (option == "ceil" and rest >= n_replicas))
