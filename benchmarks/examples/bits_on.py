"""Do hard batches hold instances with as many bits on as their anchors?

By Hamming distance a set with few bits is near to all sets that are not large; by Jaccard distance
it is near to those that share most of its bits.
"""

from dataclasses import dataclass
from typing import Final

from maninegs_sampling import ManifestationStore, ManiNegBatchSampler
from maninegs_sampling.distances.metrics import MetricName

# So narrow that a batch is the anchor and the 63 patterns nearest to it.
NARROW: Final[dict[MetricName, float]] = {"hamming": 0.1, "jaccard": 0.001}


@dataclass(frozen=True)
class BitsOn:
    """Mean numbers of bits that are on.

    Attributes:
        anchors: of anchors.
        by_hamming: of the 63 patterns nearest to each by Hamming distance.
        by_jaccard: the same by Jaccard distance.
    """

    anchors: float
    by_hamming: float
    by_jaccard: float

    def __str__(self) -> str:
        return (
            f"anchors have {self.anchors:.1f} bits on, the 63 nearest by Hamming distance "
            f"{self.by_hamming:.1f} ({self.by_hamming / self.anchors - 1:+.0%}) and by Jaccard "
            f"distance {self.by_jaccard:.1f} ({self.by_jaccard / self.anchors - 1:+.0%})"
        )


def bits_on(store: ManifestationStore, n_anchors: int = 1000) -> BitsOn:
    """Return the bits of randomly drawn anchors, and of their nearest patterns."""
    ones = store.to_dense().sum(axis=1)
    found = {}
    for metric, sigma in NARROW.items():
        sampler = ManiNegBatchSampler(
            store, batch_size=64, metric=metric, mu=0.0, sigma=sigma, index="scan"
        )
        batches = [sampler.batch(0, epoch) for epoch in range(n_anchors)]
        found[metric] = ones[batches]
    return BitsOn(
        anchors=float(found["hamming"][:, 0].mean()),
        by_hamming=float(found["hamming"][:, 1:].mean()),
        by_jaccard=float(found["jaccard"][:, 1:].mean()),
    )
