"""Supervised contrastive losses: positives share a label, or resemble each other in their bits."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from maninegs_sampling.errors import InvalidTypeError
from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.contrast import Contrast, Side
from maninegs_sampling.losses.contrastive_loss import ContrastiveLoss
from maninegs_sampling.losses.embeddings import check_embeddings, scaled
from maninegs_sampling.losses.instance_ids import Ids, check_ids
from maninegs_sampling.losses.negatives import log_sum_exp_between, log_sum_exp_within
from maninegs_sampling.losses.options import (
    Reduction,
    Result,
    Similarity,
    check_reduction,
    check_similarity,
)
from maninegs_sampling.losses.pairs import Diagonals, Pairs
from maninegs_sampling.losses.positives import SameLabel, SimilarPatterns
from maninegs_sampling.losses.products import products_between
from maninegs_sampling.losses.similarities import Bits, Similarities, check_bits


def sup_con(
    z: Tensor,
    labels: Ids,
    *,
    temperature: float | Tensor = 0.1,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the supervised contrastive loss: rows of equal label are each other's positives.

    With s_ab = z_a . z_b / temperature and P(a) the other rows with a's label, the loss of row a is
    log sum_{b != a} exp s_ab - mean_{p in P(a)} s_ap: L_out of Khosla et al., "Supervised
    Contrastive Learning" (NeurIPS 2020, arXiv 2004.11362), Eq. (2). Memory grows with N.

    Args:
        z: (N, D) floating-point embeddings. To use several views, concatenate them:
            `sup_con(torch.cat([z_i, z_j]), labels.repeat(2))`.
        labels: (N,) integers or booleans: a tensor, an array or a sequence.
        temperature: See `nt_xent`. Default: 0.1, as in the source.
        normalize: See `nt_xent`.
        reduction: "mean" over the rows that have positives, "sum", or "none": (N,). The loss of a
            row without positives is 0.
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError: If `nt_xent` would raise it, or if there is not one label for each row.
        InvalidTypeError: If `nt_xent` would raise it, or if labels are not integers.

    Example:
        >>> z = torch.nn.functional.normalize(torch.randn(8, 4, generator=torch.manual_seed(0)))
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
        >>> logits = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
        >>> positive = (labels[:, None] == labels).fill_diagonal_(False)
        >>> rows = [s.logsumexp(0) - s[p].mean() for s, p in zip(logits, positive)]
        >>> torch.testing.assert_close(sup_con(z, labels), sum(rows) / 8)
    """
    batch = Batch.of({"z": z}, ids=None, normalize=normalize, gather=gather)
    own = check_ids(labels, batch.n, z.device, "labels")
    if own is None:
        raise InvalidTypeError("labels must be integers, one for each instance; got None")
    positives = SameLabel(own, batch.gather(own), batch.offset, batch.embeddings[0].dtype)
    return _supervised(batch, positives, temperature, reduction)


# Longer than 60 lines because of its docstring.
def multi_label_sup_con(
    z: Tensor,
    bits: Bits,
    *,
    similarity: Similarity = "jaccard",
    temperature: float | Tensor = 0.1,
    normalize: bool = True,
    reduction: Reduction = "mean",
    gather: bool | dist.ProcessGroup = False,
) -> Tensor:
    """Return the supervised contrastive loss with positives weighted by the similarity of bits.

    With s_ab = z_a . z_b / temperature and w_ab the similarity of the bits of a and b, the loss of
    row a is log sum_{b != a} exp s_ab - sum_{p != a} w_ap s_ap / sum_{p != a} w_ap. If each row has
    one bit, it is `sup_con`. Multi-label forms of Khosla et al. (arXiv 2004.11362) weighted by the
    Jaccard index are in Lin et al., "An Effective Deployment of Contrastive Learning in Multi-label
    Text Classification" (Findings of ACL 2023), as JSCL. Memory grows with N.

    Args:
        z: (N, D) floating-point embeddings. To use several views, concatenate them and their bits.
        bits: (N, B) booleans, or numbers of 0 and 1: a tensor, an array or a sequence. Row k holds
            the labels or the manifestation of row k of `z`.
        similarity: "jaccard" (default): the share of the bits set in either row that are set in
            both, 1 between rows without bits. "hamming": the share of equal bits; where few bits
            are set, all rows are similar by it.
        temperature: See `nt_xent`. Default: 0.1, as in `sup_con`.
        normalize: See `nt_xent`.
        reduction: "mean" over the rows with a similar row, "sum", or "none": (N,). The loss of a
            row that has similarity 0 with all others is 0.
        gather: See `nt_xent`.

    Returns:
        float32, or float64 for float64 embeddings. inf or NaN if embeddings hold inf or NaN.

    Raises:
        InvalidValueError: If `nt_xent` would raise it, if `bits` does not have one row for each row
            of `z` or holds other numbers than 0 and 1, or if `similarity` is unknown.
        InvalidTypeError: If `nt_xent` would raise it, or if bits are not numbers.

    Example:
        >>> z = torch.nn.functional.normalize(torch.randn(4, 4, generator=torch.manual_seed(0)))
        >>> bits = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]])
        >>> both, either = bits[:, None] & bits, bits[:, None] | bits
        >>> w = (both.sum(2) / either.sum(2)).fill_diagonal_(0.0)
        >>> logits = z @ z.T / 0.1
        >>> lse = logits.masked_fill(torch.eye(4) == 1, -torch.inf).logsumexp(1)
        >>> expected = (lse - (w * logits).sum(1) / w.sum(1)).mean()
        >>> torch.testing.assert_close(multi_label_sup_con(z, bits), expected)
    """
    check_similarity("similarity", similarity)
    check_embeddings({"z": z})
    own = check_bits(bits, len(z), z.device)
    batch = Batch.of(
        {"z": z}, ids=None, normalize=normalize, gather=gather, agree={"bits": own.shape[1]}
    )
    dtype = batch.embeddings[0].dtype
    similarities = Similarities(own, batch.gather(own), similarity, dtype)
    return _supervised(batch, SimilarPatterns(similarities, batch.offset), temperature, reduction)


class SupConLoss(ContrastiveLoss):
    """`sup_con` with its own temperature.

    Args:
        temperature: Initial value. Default: 0.1, as in the source.
        learnable: If True, the temperature is a parameter. Default: False, as in the source.
        min_temperature: Lower bound of the temperature.
        normalize, reduction, gather: See `sup_con`.

    Example:
        >>> import torch
        >>> criterion = SupConLoss(temperature=0.1)
        >>> z = torch.randn(16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z, torch.arange(16) % 4)
    """

    _function = staticmethod(sup_con)

    def __init__(
        self,
        temperature: float = 0.1,
        *,
        learnable: bool = False,
        min_temperature: float = 0.01,
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())

    def forward(self, z: Tensor, labels: Ids, *, return_terms: bool = False) -> Result:
        """Return the loss. If `return_terms`, also return a dict of detached values to log."""
        return self._result(z, labels, return_terms=return_terms)


class MultiLabelSupConLoss(ContrastiveLoss):
    """`multi_label_sup_con` with its own temperature.

    Args:
        temperature: Initial value. Default: 0.1, as in `sup_con`.
        learnable: If True, the temperature is a parameter. Default: False, as in `SupConLoss`.
        min_temperature: Lower bound of the temperature.
        similarity, normalize, reduction, gather: See `multi_label_sup_con`.

    Example:
        >>> import torch
        >>> criterion = MultiLabelSupConLoss(similarity="hamming")
        >>> z = torch.randn(16, 8, generator=torch.manual_seed(0))
        >>> loss = criterion(z, z[:, :5] > 0)
    """

    _function = staticmethod(multi_label_sup_con)

    def __init__(
        self,
        temperature: float = 0.1,
        *,
        learnable: bool = False,
        min_temperature: float = 0.01,
        similarity: Similarity = "jaccard",
        normalize: bool = True,
        reduction: Reduction = "mean",
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        super().__init__(locals())

    def forward(self, z: Tensor, bits: Bits, *, return_terms: bool = False) -> Result:
        """Return the loss. If `return_terms`, also return a dict of detached values to log."""
        return self._result(z, bits, return_terms=return_terms)


def _supervised(
    batch: Batch,
    positives: SameLabel | SimilarPatterns,
    temperature: float | Tensor,
    reduction: Reduction,
) -> Tensor:
    check_reduction("reduction", reduction)
    contrast = SetContrast(batch, temperature, positives)
    direct = batch.n > 1 and contrast.may_be_direct()  # one row has no logits
    losses, weights = contrast.direct_losses() if direct else contrast.losses()
    if reduction != "mean":
        return batch.reduce(losses, reduction)
    n = (weights > 0.0).sum()
    if batch.ranks:
        n = batch.ranks.total(n) / len(batch.ranks.sizes)
    return losses.sum() / n.clamp(min=1.0)


class SetContrast(Contrast):
    """Each row of one set against all other rows, with any number of positives among them."""

    def __init__(
        self, batch: Batch, temperature: float | Tensor, positives: SameLabel | SimilarPatterns
    ):
        super().__init__(batch, temperature)
        self._positives = positives
        z = scaled(batch.embeddings[0], self.inverse, normalize=batch.normalize)
        self._sides = [Side(z, batch.gather(z), 1)]

    def losses(self) -> tuple[Tensor, Tensor]:
        """Return (n,) losses, 0 for rows without positives, and (n,) sums of positives' weights."""
        rows, columns, _ = self._sides[0]
        sums, weights = self._positives.weighted_sums(columns)
        positive, some = (rows * sums).sum(1), weights > 0.0
        found = self.log_sum_exp()[0] - positive / weights.masked_fill(~some, 1.0)
        # The sum of no positives is 0, or NaN beside an embedding of inf or NaN.
        return torch.where(some, found, positive * 0.0), weights

    def direct_losses(self) -> tuple[Tensor, Tensor]:
        """Return what `losses` does, from the whole matrix of logits. See `may_be_direct`."""
        rows, columns, _ = self._sides[0]
        logits, weights = products_between(rows, columns), self._positives.matrix()
        with torch.no_grad():  # probability 0 and no gradient; finite, because its weight is 0
            logits.fill_diagonal_(torch.finfo(logits.dtype).min)
        total = weights.sum(1, keepdim=True)
        share = weights / total.clamp(min=torch.finfo(total.dtype).tiny)
        return F.cross_entropy(logits, share, reduction="none"), total

    def _log_sum_exp(self, sides: list[Side], largest: float) -> tuple[Tensor, ...]:
        rows, columns, _ = sides[0]
        others = Pairs(Diagonals((self.batch.offset,)))
        if not self.batch.ranks:
            return (log_sum_exp_within(rows, others, largest),)
        return (log_sum_exp_between(rows, columns, others, largest)[0],)
