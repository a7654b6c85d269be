"""The losses, one row and one pair at a time. Written from the papers; imports nothing from the package."""

import math
from contextlib import contextmanager

import torch

DTYPE = torch.float64


@contextmanager
def computing_in(dtype):
    """Compute in another type, to see what the plain formulas lose to rounding."""
    global DTYPE
    before, DTYPE = DTYPE, dtype
    try:
        yield
    finally:
        DTYPE = before


def unit_rows(z, normalize=True):
    rows = [row.to(DTYPE) for row in z]
    if not normalize:
        return rows
    return [row / row.norm() if row.norm() > 1e-12 else row * 0.0 for row in rows]


def rows_within(z_i, z_j, ids, normalize):
    """For each view: (product with its partner, products with its negatives)."""
    n = len(z_i)
    z = unit_rows(z_i, normalize) + unit_rows(z_j, normalize)
    ids = list(range(n)) if ids is None else ids
    for a in range(2 * n):
        negatives = [z[a] @ z[b] for b in range(2 * n) if ids[b % n] != ids[a % n]]
        yield z[a] @ z[(a + n) % (2 * n)], negatives


def rows_between(x, y, ids, normalize, symmetric=True):
    n = len(x)
    x, y = unit_rows(x, normalize), unit_rows(y, normalize)
    ids = list(range(n)) if ids is None else ids
    for own, other in ((x, y), (y, x))[: 2 if symmetric else 1]:
        for a in range(n):
            yield own[a] @ other[a], [own[a] @ other[b] for b in range(n) if ids[b] != ids[a]]


def cross_entropies(rows, temperature, label_smoothing=0.0):
    losses = []
    for positive, negatives in rows:
        logits = torch.stack([positive, *negatives]) / temperature
        log_p = logits - logits.logsumexp(0)
        even = log_p.mean()
        losses.append(-(1 - label_smoothing) * log_p[0] - label_smoothing * even)
    return torch.stack(losses)


def hard_negatives(rows, temperature, beta, tau_plus):
    losses = []
    for positive, negatives in rows:
        if not negatives:
            losses.append(positive * 0.0 / temperature)
            continue
        n = len(negatives)
        pos = torch.exp(positive / temperature)
        neg = torch.exp(torch.stack(negatives) / temperature)
        weights = neg**beta / (neg**beta).mean()
        spared = ((weights * neg).sum() - tau_plus * n * pos) / (1 - tau_plus)
        floor = n * torch.exp(torch.as_tensor(-1 / temperature, dtype=DTYPE))
        losses.append(-torch.log(pos / (pos + torch.maximum(spared, floor))))
    return torch.stack(losses)


def hardness_weighted(rows, temperature, alpha):
    losses = []
    for positive, negatives in rows:
        penalized = [s / temperature + alpha * s.detach() for s in negatives]
        logits = torch.stack([positive / temperature, *penalized])
        losses.append(logits.logsumexp(0) - logits[0])
    return torch.stack(losses)


def nt_xent(z_i, z_j, temperature, ids=None, label_smoothing=0.0, normalize=True):
    return cross_entropies(rows_within(z_i, z_j, ids, normalize), temperature, label_smoothing)


def nt_xent_of_views(views, temperature, ids=None, label_smoothing=0.0, normalize=True):
    """Each view's mean cross-entropy with the other views of its instance."""
    n, z = len(views[0]), [row for view in views for row in unit_rows(view, normalize)]
    ids, rows = list(range(n)) if ids is None else ids, range(len(views) * n)
    losses = []
    for a in rows:
        negatives = [z[a] @ z[b] for b in rows if ids[b % n] != ids[a % n]]
        positives = [z[a] @ z[b] for b in rows if b % n == a % n and b != a]
        each = [(positive, negatives) for positive in positives]
        losses.append(cross_entropies(each, temperature, label_smoothing).mean())
    return torch.stack(losses)


def of_pairs(views, temperature, ids=None, bits=None, weight=None, kind="jaccard", positive=None, ignore=None, between=False):  # fmt: skip
    """nt_xent, or inter_modal_nt_xent if `between`, with options about pairs of instances."""
    n, units = len(views[0]), [unit_rows(view) for view in views]
    ids = list(range(n)) if ids is None else ids
    z = [(k, b, units[k][b]) for k in range(len(views)) for b in range(n)]
    losses = []
    for k, a, own in z:
        positives, negatives = [], []
        for side, b, other in z:
            if (side == k) if between else (side == k and b == a):
                continue
            logit = own @ other / temperature
            if a == b or (positive is not None and positive[a][b]):
                positives.append(logit)
            elif ids[a] != ids[b] and not (ignore is not None and ignore[a][b]):
                weighted = weight(similarity(bits[a], bits[b], kind)) if weight else 1.0
                negatives.append(weighted * logit)
        each = [torch.stack([logit, *negatives]).logsumexp(0) - logit for logit in positives]
        losses.append(sum(each) / len(each))
    return torch.stack(losses)


def accuracies(rows):
    """The shares of rows whose positive has fewer than 1 and 5 negatives above it."""
    above = [sum(bool(s >= positive) for s in negatives) for positive, negatives in rows]
    return {f"top{k}": sum(many < k for many in above) / len(above) for k in (1, 5)}


def inter_modal_nt_xent(
    x, y, temperature, ids=None, label_smoothing=0.0, normalize=True, symmetric=True
):
    rows = rows_between(x, y, ids, normalize, symmetric)
    return cross_entropies(rows, temperature, label_smoothing)


def hard_negative_nt_xent(z_i, z_j, temperature, beta, tau_plus, ids=None, normalize=True):
    return hard_negatives(rows_within(z_i, z_j, ids, normalize), temperature, beta, tau_plus)


def hard_negative_inter_modal_nt_xent(
    x, y, temperature, beta, tau_plus, ids=None, normalize=True, symmetric=True
):
    rows = rows_between(x, y, ids, normalize, symmetric)
    return hard_negatives(rows, temperature, beta, tau_plus)


def siglip_loss(x, y, temperature, bias=-10.0, ids=None, normalize=True):
    losses = []
    for positive, negatives in rows_between(x, y, ids, normalize, symmetric=False):
        signed = [positive / temperature + bias, *(-(s / temperature + bias) for s in negatives)]
        losses.append(-sum(torch.nn.functional.logsigmoid(logit) for logit in signed))
    return torch.stack(losses)


def sup_con(z, labels, temperature, normalize=True):
    return multi_label_sup_con(
        z, [[a == b for b in labels] for a in labels], temperature, None, normalize
    )


def similarity(a, b, kind):
    if kind == "hamming":
        return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)
    either = sum(x or y for x, y in zip(a, b, strict=True))
    return sum(x and y for x, y in zip(a, b, strict=True)) / either if either else 1.0


def multi_label_sup_con(z, bits, temperature, kind="jaccard", normalize=True):
    """The losses of the rows. Without a kind, `bits` are the weights themselves."""
    z, losses = unit_rows(z, normalize), []
    for a in range(len(z)):
        others = [b for b in range(len(z)) if b != a]
        weights = [
            float(similarity(bits[a], bits[b], kind) if kind else bits[a][b]) for b in others
        ]
        if not sum(weights):
            losses.append(z[a].sum() * 0.0 / temperature)
            continue
        logits = torch.stack([z[a] @ z[b] for b in others]) / temperature
        log_p = logits - logits.logsumexp(0)
        losses.append(-sum(w * x for w, x in zip(weights, log_p, strict=True)) / sum(weights))
    return torch.stack(losses)


def instances(rows, n):
    """The mean of an instance's rows."""
    return rows.view(-1, n).mean(0)


def multimodal_nt_xent(
    cc, mlo, other, temperature, ids=None, label_smoothing=0.0, normalize=True, symmetric=True
):
    n, options = len(cc), (temperature, ids, label_smoothing, normalize)
    inter = [instances(inter_modal_nt_xent(z, other, *options, symmetric), n) for z in (cc, mlo)]
    return sum(inter) / 2 + instances(nt_xent(cc, mlo, *options), n)


def mammo_clip_loss(
    image, image_view, text, text_view, temperature, ids=None, label_smoothing=0.0, normalize=True
):
    def inter(a, b, smoothing):
        return instances(
            inter_modal_nt_xent(a, b, temperature, ids, smoothing, normalize), len(image)
        )

    pairs = [(a, b) for a in (image, image_view) for b in (text, text_view)]
    between = sum(inter(a, b, label_smoothing) for a, b in pairs) / 4
    return between + inter(image, image_view, 0.0) + 0.5 * inter(text, text_view, 0.0)


def soft_label_contrastive(first, second, labels, margin):
    losses = []
    for a, b, w in zip(first.tolist(), second.tolist(), labels.tolist(), strict=True):
        d = math.dist(a, b)
        losses.append(w * d * d + (1 - w) * max(0.0, margin - d) ** 2)
    return torch.tensor(losses, dtype=torch.float64)
