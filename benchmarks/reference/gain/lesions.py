"""Tasks on made-up lesions, and manifestations that hold a part of their traits."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from benchmarks.reference.data import TEST, TRAINING, VALIDATION, Cases
from benchmarks.reference.gain.tasks import Score, auc, logistic, mean_auc, probe, subsets
from benchmarks.reference.phantom import LOG_ODDS
from maninegs_sampling import MVKL, ManifestationStore
from maninegs_sampling.errors import check_choice

LESION_TASKS: Final = ("malignant, 10%", "malignant, all", "traits")
FEW: Final = 0.1  # of the labels

TRAITS: Final = ("all", "telling", "others")
TELLING: Final = 0.8  # least change, up or down, of the log-odds of malignancy


def lesion_scores(features: NDArray[np.float32], cases: Cases) -> dict[str, Score]:
    """Return the score of each of `LESION_TASKS`.

    - malignant: AUC of a logistic regression that is given a share of the training labels, the mean
      over the choices of `tasks.subsets`.
    - traits: mean AUC over the bits of the manifestation, by ridge regression.

    Args:
        features: (N, 128).
        cases: N lesions.
    """
    training, validation, test = (cases.rows(part) for part in (TRAINING, VALIDATION, TEST))
    x = StandardScaler().fit(features[training]).transform(features)
    bits = cases.store.to_dense().astype(x.dtype)
    found = [
        probe(logistic, auc, x, cases.labels, labeled, validation, test)
        for labeled in (subsets(training, FEW), [training])
    ]
    found.append(probe(Ridge, mean_auc, x, bits, [training], validation, test))
    return dict(zip(LESION_TASKS, found, strict=True))


def with_traits(cases: Cases, which: str) -> Cases:
    """Return the same lesions and labels, whose manifestations hold a part of the bits.

    Args:
        cases: lesions of a phantom.
        which: "all", "telling": the bits that change the log-odds of malignancy by `TELLING` or
            more, or "others".
    """
    if check_choice("which", which, TRAITS) == "all":
        return cases
    weight = np.array([abs(LOG_ODDS.get(name, 0.0)) for name in MVKL.bit_names])
    kept = (weight >= TELLING) == (which == "telling")
    bits = cases.store.to_dense()[:, kept]
    return replace(cases, name=f"{cases.name}-{which}", store=ManifestationStore.from_dense(bits))
