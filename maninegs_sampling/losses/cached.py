"""Large batches on small memory: encoders see mini-batches, the loss sees the whole batch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.quoting import quoted


class CachedContrast(nn.Module):
    """A contrastive loss of a batch that is encoded in mini-batches, with the batch's gradient.

    Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (RepL4NLP
    2021, arXiv 2101.06983). Of each mini-batch only the embeddings are kept; the backward pass
    encodes it again with the same random numbers and under the same autocast. Memory is that of one
    mini-batch and all embeddings; the time, for a backward pass of twice the forward pass, is 4/3.

    The gradient is that of the whole batch if rows do not influence each other in the encoder:
    BatchNorm sees mini-batches instead. Dropout draws its masks by mini-batch.

    Wrap the module in DistributedDataParallel as a whole: its gradients are then reduced once in
    each step, whatever the number of mini-batches. It needs no manual optimization in Lightning and
    no `no_sync`.

    Args:
        encoders: A module for all inputs, or a sequence with one for each input. Each takes a
            mini-batch and returns its embeddings, (n, D).
        criterion: Loss of the embeddings of all inputs: a module, whose parameters are then
            parameters of this one, or a function.
        mini_batch_size: Largest number of rows that an encoder gets at a time.

    Raises:
        InvalidValueError: If `mini_batch_size` is less than 1 or there is no encoder.
        InvalidTypeError: If `mini_batch_size` is no whole number, an encoder is no module, or
            `criterion` cannot be called.

    Example:
        >>> from maninegs_sampling import NTXentLoss
        >>> contrast = CachedContrast(nn.Linear(6, 4), NTXentLoss(), mini_batch_size=16)
        >>> x_i, x_j = torch.randn(2, 64, 6, generator=torch.manual_seed(0))
        >>> contrast(x_i, x_j).backward()
    """

    def __init__(
        self,
        encoders: nn.Module | Sequence[nn.Module],
        criterion: Callable[..., Any],
        *,
        mini_batch_size: int,
    ) -> None:
        super().__init__()
        if isinstance(encoders, nn.Module) and not isinstance(encoders, nn.ModuleList):
            self.shared, modules = True, [encoders]
        else:
            self.shared, modules = False, list(encoders)
        for module in modules:
            if not isinstance(module, nn.Module):
                raise InvalidTypeError(f"encoders must be torch modules; got {quoted(module)}")
        if not modules:
            raise InvalidValueError("encoders must be a module, or one for each input; got none")
        if not callable(criterion):
            raise InvalidTypeError(f"criterion must be a module or a function; got {criterion!r}")
        self.mini_batch_size = check_count("mini_batch_size", mini_batch_size, at_least=1)
        self.encoders = nn.ModuleList(modules)
        self.criterion = criterion

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Return the criterion of the embeddings of all inputs.

        Args:
            inputs: One or more batches: each a tensor, or a dict, list or tuple of tensors, whose
                first dimension is split.
            options: Keyword arguments of the criterion, such as `ids`.

        Returns:
            What the criterion returns.

        Raises:
            InvalidValueError: If there is not one input for each encoder, or an encoder does not
                return one row for each of its inputs.
            InvalidTypeError: If an input holds something else than tensors.
        """
        encoders = list(self.encoders) * (len(inputs) if self.shared else 1)
        if len(encoders) != len(inputs) or not inputs:
            raise InvalidValueError(
                f"there must be one input for each of the {len(self.encoders)} encoders; got "
                f"{len(inputs)}"
            )
        embeddings = [self._encoded(*pair) for pair in zip(encoders, inputs, strict=True)]
        return self.criterion(*embeddings, **options)

    def _encoded(self, encoder: nn.Module, batch: Any) -> Tensor:
        parts = []
        for rows, part in mini_batches(batch, self.mini_batch_size):
            z = checkpoint(encoder, part, use_reentrant=False)
            if not isinstance(z, Tensor) or len(z) != rows:
                got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
                raise InvalidValueError(
                    f"an encoder must return a tensor of {rows} rows for {rows} inputs; got {got}"
                )
            parts.append(z)
        return torch.cat(parts)


def mini_batches(batch: Any, size: int) -> Iterator[tuple[int, Any]]:
    """Yield the number of rows of each mini-batch, and the mini-batch."""
    tensors = _tensors(batch)
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) != 1 or 0 in lengths:
        raise InvalidValueError(
            f"the tensors of an input must have equally many rows, at least 1; got {lengths}"
        )
    (n,) = lengths
    for start in range(0, n, size):
        rows = slice(start, start + size)
        yield min(size, n - start), _sliced(batch, rows)


def _tensors(batch: Any) -> list[Tensor]:
    if isinstance(batch, Tensor) and batch.ndim:
        return [batch]
    if isinstance(batch, dict):
        batch = list(batch.values())
    if not isinstance(batch, (list, tuple)) or not batch:
        raise InvalidTypeError(
            f"an input must be a tensor, or a dict, list or tuple of tensors; got {quoted(batch)}"
        )
    return [tensor for each in batch for tensor in _tensors(each)]


def _sliced(batch: Any, rows: slice) -> Any:
    if isinstance(batch, Tensor):
        return batch[rows]
    if isinstance(batch, dict):
        return {key: _sliced(value, rows) for key, value in batch.items()}
    return type(batch)(_sliced(value, rows) for value in batch)
