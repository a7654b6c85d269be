"""Made-up manifestations with the traits of MVKL, whose own table is available on request only."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling import randomness
from maninegs_sampling.data.built_in_schemas import MVKL
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.errors import check_count

# Table II, all partitions: 881 benign and 1,883 malignant lumps.
MALIGNANT_SHARE: Final = 1883 / 2764

# Rows of CBIS-DDSM's public tables with one shape and one margin, (benign, malignant) x shape
# (irregular, lobulated, ovoid, round) x edge (microlobulated, obscured, spiculated,
# well-circumscribed). Its "ill defined" is counted as obscured.
SHAPE_AND_EDGE: Final = np.array(
    [
        [[1, 62, 21, 0], [20, 93, 0, 127], [19, 141, 1, 128], [10, 41, 1, 61]],
        [[14, 121, 206, 0], [34, 42, 8, 24], [28, 39, 25, 10], [2, 18, 20, 9]],
    ]
)
# The same tables, (benign, malignant) x (branching, crescentic..., granular...). Our mapping: fine
# linear branching; pleomorphic, amorphous and punctate; all other types.
CALCIFICATION_SHAPE: Final = np.array([[23, 603, 324], [79, 523, 3]])
# The same, x (scattered, clustered, linear/segmental); regional is counted as scattered.
CALCIFICATION_DISTRIBUTION: Final = np.array([[93, 534, 119], [49, 401, 195]])
# UCI Mammographic Mass, (benign, malignant) x (low or fat-containing, iso, high).
MASS_DENSITY: Final = np.array([[412, 41, 9], [398, 18, 7]])

# The following numbers are assumptions, in the direction that radiology textbooks describe.
HAS_MASS: Final = 0.85  # a lump without a mass has calcifications
HAS_CALCIFICATION: Final = np.array([0.3, 0.5])  # benign, malignant
MASS_SIZE: Final = np.array([[6, 3, 1], [3, 5, 2]])  # (benign, malignant) x (<= 2, 2-5, > 5 cm)
# By calcification shape: x (coarse, tiny, uneven) and x (low, high, uneven).
CALCIFICATION_SIZE: Final = np.array([[1, 5, 4], [1, 6, 3], [7, 1, 2]])
CALCIFICATION_DENSITY: Final = np.array([[2, 3, 5], [3, 3, 4], [1, 8, 1]])
# Sign: share among benign and malignant lumps, and a trait that multiplies its odds.
SIGNS: Final = {
    "architectural distortion": (0.03, 0.15, "mass edge=spiculated", 4.0),
    "focal asymmetrical density": (0.12, 0.10, "mass edge=obscured", 2.0),
    "duct sign": (0.02, 0.08, "calcification distribution=linear/segmental", 3.0),
    "comet tail sign": (0.01, 0.10, "mass edge=spiculated", 4.0),
    "halo sign": (0.12, 0.02, "mass edge=well-circumscribed", 4.0),
    "focal skin thickening/retraction": (0.02, 0.12, "mass size=>5cm", 3.0),
    "nipple retraction": (0.01, 0.10, "focal skin thickening/retraction", 4.0),
    "abnormal blood vessel shadow": (0.05, 0.25, "mass size=>5cm", 2.0),
    "abnormal lymph node shadow": (0.02, 0.15, "mass size=>5cm", 2.0),
}


# Longer than 60 lines because of its docstring.
def synthetic_mvkl(n: int = 2764, *, seed: int = 0) -> tuple[ManifestationStore, NDArray[np.int64]]:
    """Return made-up manifestations with MVKL's traits, and made-up labels.

    From the paper: the number of lumps, Table I's 17 traits with their options and exclusivity
    (35 bits, `MVKL`), and Table II's ratio of benign to malignant. From other public tables: how
    often mass shapes, edges and calcifications of each kind go with each diagnosis and with each
    other (CBIS-DDSM), and mass densities (UCI Mammographic Mass). Assumed: sizes, how often there
    are masses and calcifications, and the nine signs with the trait that makes each likelier. The
    source of each number is stated in this module.

    Args:
        n: number of lumps.
        seed: random seed; equal seeds give equal lumps.

    Returns:
        The store, in the order of `MVKL.bit_names`, and (n,) labels, 1 for malignant.

    Raises:
        InvalidValueError: If n is below 1.

    Example:
        >>> store, labels = synthetic_mvkl()
        >>> store.n_instances, store.n_bits, int(labels.sum())
        (2764, 35, 1883)
    """
    n = check_count("n", n, at_least=1)
    stream = randomness.generator_at(randomness.check_seed(seed), randomness.SYNTHETIC_DATA)
    labels = stream.permutation(np.arange(n) < round(MALIGNANT_SHARE * n)).astype(np.int64)
    bits = np.zeros((n, len(MVKL.bit_names)), np.bool_)
    column = {name: bits[:, b] for b, name in enumerate(MVKL.bit_names)}

    def choose(weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Draw one option for each row of weights (n, k)."""
        cumulative = np.cumsum(weights, axis=1)
        drawn = stream.random(n) * cumulative[:, -1]
        chosen: NDArray[np.int64] = (drawn[:, None] >= cumulative).sum(axis=1)
        return chosen

    def mark(trait: str, option: NDArray[np.int64], where: NDArray[np.bool_]) -> None:
        options = next(t.options for t in MVKL.traits if t.name == trait)
        for k, text in enumerate(options):
            column[f"{trait}={text}"][:] = where & (option == k)

    has_mass = stream.random(n) < HAS_MASS
    has_calcification = (stream.random(n) < HAS_CALCIFICATION[labels]) | ~has_mass
    shape = choose(SHAPE_AND_EDGE.sum(axis=2)[labels])
    mark("mass shape", shape, has_mass)
    mark("mass edge", choose(SHAPE_AND_EDGE[labels, shape]), has_mass)
    mark("mass density", choose(MASS_DENSITY[labels]), has_mass)
    mark("mass size", choose(MASS_SIZE[labels]), has_mass)
    kind = choose(CALCIFICATION_SHAPE[labels])
    mark("calcification shape", kind, has_calcification)
    mark("calcification size", choose(CALCIFICATION_SIZE[kind]), has_calcification)
    mark("calcification density", choose(CALCIFICATION_DENSITY[kind]), has_calcification)
    spread = choose(CALCIFICATION_DISTRIBUTION[labels])
    mark("calcification distribution", spread, has_calcification)
    for sign, (benign, malignant, cause, factor) in SIGNS.items():
        share = np.array([benign, malignant])[labels]
        odds = share / (1 - share) * np.where(column[cause], factor, 1.0)
        column[sign][:] = stream.random(n) < odds / (1 + odds)
    return ManifestationStore.from_dense(bits), labels
