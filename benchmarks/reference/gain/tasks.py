"""Tasks on frozen features, tuned on the validation part and reported on the test part."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from benchmarks.reference.data import TEST, TRAINING, VALIDATION
from benchmarks.reference.wbcatt import Cells

Array = NDArray[Any]

SHARES: Final = {"cell type, 1%": 0.01, "cell type, 2%": 0.02, "cell type, 10%": 0.1}
PRIMARY: Final = ("cell type, 2%", "cell type, all")
TASKS: Final = (*SHARES, "cell type, all", "subtype", "traits", "retrieval")
SUBSETS: Final = 20  # of the labels, for each share
NEIGHBORS: Final = 10
PENALTIES: Final = (1.0, 10.0, 100.0, 1000.0)


class Score(NamedTuple):
    """A task's score on two parts, in [0, 1]."""

    test: float
    validation: float


def scores(features: NDArray[np.float32], cells: Cells) -> dict[str, Score]:
    """Return the score of each task.

    - cell type: accuracy of a logistic regression that is given a share of the training labels, the
      mean over `SUBSETS` choices of them, which are the same for all runs.
    - subtype: AUC of a logistic regression between two kinds of neutrophils.
    - traits: mean AUC over the bits of the manifestation, by ridge regression.
    - retrieval: the share of a cell's own type among its 10 nearest by cosine, within its part.

    Args:
        features: (N, 128).
        cells: N cells.
    """
    training, validation, test = parts = [cells.rows(p) for p in (TRAINING, VALIDATION, TEST)]
    x = StandardScaler().fit(features[training]).transform(features)
    labeled = {task: subsets(training, share) for task, share in SHARES.items()}
    labeled["cell type, all"] = [training]
    found = {
        task: probe(logistic, accuracy, x, cells.cell_type, chosen, validation, test)
        for task, chosen in labeled.items()
    }
    known = [rows[cells.subtype[rows] >= 0] for rows in parts]
    found["subtype"] = probe(logistic, auc, x, cells.subtype, [known[0]], *known[1:])
    bits = cells.store.to_dense().astype(x.dtype)
    found["traits"] = probe(Ridge, mean_auc, x, bits, [training], validation, test)
    found["retrieval"] = Score(
        *(precision(features[rows], cells.cell_type[rows]) for rows in (test, validation))
    )
    return found


def subsets(rows: NDArray[np.intp], share: float) -> list[NDArray[np.intp]]:
    """Return the choices of labeled rows, which depend on the share alone."""
    n = round(share * len(rows))
    return [
        np.random.default_rng([n, number]).choice(rows, n, replace=False)
        for number in range(SUBSETS)
    ]


def probe(
    estimator: Callable[[float], Any],
    measure: Callable[[Any, Array, Array], float],
    x: Array,
    y: Array,
    labeled: Sequence[NDArray[np.intp]],
    validation: NDArray[np.intp],
    test: NDArray[np.intp],
) -> Score:
    """Return the mean score of an estimator over choices of labeled rows.

    The penalty is the one of `PENALTIES` whose mean on the validation part is best.
    """
    tried = []
    for penalty in PENALTIES:
        models = [estimator(penalty).fit(x[rows], y[rows]) for rows in labeled]
        tried.append(
            Score(
                *(
                    float(np.mean([measure(m, x[p], y[p]) for m in models]))
                    for p in (test, validation)
                )
            )
        )
    return max(tried, key=lambda score: score.validation)


def logistic(penalty: float) -> LogisticRegression:
    """Return a logistic regression."""
    return LogisticRegression(C=1 / penalty, max_iter=1000)


def accuracy(model: LogisticRegression, x: Array, y: Array) -> float:
    """Return the share of rows that are classified correctly."""
    return float(model.score(x, y))


def auc(model: LogisticRegression, x: Array, y: Array) -> float:
    """Return the AUC between two classes."""
    return float(roc_auc_score(y, model.decision_function(x)))


def mean_auc(model: Ridge, x: Array, y: Array) -> float:
    """Return the mean AUC over the columns of y; those that are constant are left out."""
    varying = y.min(0) < y.max(0)
    return float(roc_auc_score(y[:, varying], model.predict(x)[:, varying], average="macro"))


def precision(features: Array, labels: Array) -> float:
    """Return the share of the own label among the nearest by cosine, the row itself left out."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argpartition(-cosines, NEIGHBORS, axis=1)[:, :NEIGHBORS]
    return float((labels[nearest] == labels[:, None]).mean())
