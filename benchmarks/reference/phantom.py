"""Made-up lesions whose images, labels and manifestations are consistent. They are not real data.

Manifestations come from `synthetic_mvkl`, images from `rendering`, and the label is drawn from a
logistic model of the traits. The numbers here and in `rendering` were fixed before any two
samplers were compared on them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from benchmarks.reference import rendering
from benchmarks.reference.data import Cases, cached, digest, split_by_patient
from benchmarks.reference.rendering import Scanner, render
from maninegs_sampling import MVKL
from maninegs_sampling.data.datasets import synthetic_mvkl

# What a trait adds to the log-odds of malignancy, in the direction that radiology textbooks give.
LOG_ODDS: Final = {
    "mass shape=irregular": 1.2, "mass shape=lobulated": 0.2,
    "mass shape=ovoid": -0.8, "mass shape=round": -0.8,
    "mass edge=microlobulated": 0.8, "mass edge=obscured": 0.0,
    "mass edge=spiculated": 1.8, "mass edge=well-circumscribed": -1.2,
    "mass density=low": -0.5, "mass density=high": 0.5,
    "mass size=≤2cm": -0.4, "mass size=2-5cm": 0.2, "mass size=>5cm": 0.8,
    "calcification shape=branching": 1.2,
    "calcification shape=crescentic/annular/gritty/thread-like": 0.4,
    "calcification shape=granular/popcorn-like/large rod-like/eggshell-like": -1.0,
    "calcification size=coarse": -0.5, "calcification size=tiny": 0.4,
    "calcification density=uneven": 0.3,
    "calcification distribution=scattered": -0.5, "calcification distribution=clustered": 0.4,
    "calcification distribution=linear/segmental": 1.0,
    "architectural distortion": 1.0, "focal asymmetrical density": 0.2, "duct sign": 0.8,
    "comet tail sign": 1.0, "halo sign": -1.0, "focal skin thickening/retraction": 1.0,
    "nipple retraction": 1.0, "abnormal blood vessel shadow": 0.6,
    "abnormal lymph node shadow": 0.8,
}  # fmt: skip
LOG_ODDS_NOISE: Final = 0.5  # standard deviation of what the traits do not tell
LESIONS_PER_PATIENT: Final = 2764 / 2671  # section III: lumps and examinations


@dataclass(frozen=True)
class Phantom:
    """A made-up dataset.

    Attributes:
        name: for file names.
        n: lesions.
        malignant: share of malignant lesions.
        scanner: how the images look.
        seed: of everything drawn.
    """

    name: str
    n: int
    malignant: float
    scanner: Scanner
    seed: int

    def load(self, cache: Path, size: int) -> Cases:
        """Return the cases, whose images are rendered into the folder `cache` on first use."""
        store, _ = synthetic_mvkl(self.n, seed=self.seed)
        bits = store.to_dense()
        rng = np.random.default_rng([self.seed, 0])
        labels = (rng.random(self.n) < malignancy(bits, self.malignant, rng)).astype(np.int64)
        is_new_patient = rng.random(self.n) < 1 / LESIONS_PER_PATIENT
        patients = np.cumsum(is_new_patient)
        made_by = digest(Path(rendering.__file__).read_text(encoding="utf-8"), self, size)
        images = cached(
            cache / f"{self.name}-{made_by}.npy",
            (
                render(row, np.random.default_rng([self.seed, 1, i]), size, self.scanner)
                for i, row in enumerate(bits)
            ),
            (self.n, 2, size, size),
        )
        part = split_by_patient(patients, seed=self.seed)
        return Cases(self.name, images, store, labels, patients, part)


def malignancy(
    bits: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return each lesion's probability of being malignant, `share` on average."""
    log_odds = bits @ np.array([LOG_ODDS.get(name, 0.0) for name in MVKL.bit_names])
    log_odds += LOG_ODDS_NOISE * rng.standard_normal(len(bits))
    intercept = brentq(lambda b: expit(log_odds + b).mean() - share, -20, 20)
    probabilities: NDArray[np.float64] = expit(log_odds + intercept)
    return probabilities


# Table II's two datasets: their numbers of lesions and shares of malignant ones. CBIS-DDSM, films
# that were scanned, has 3,568 rows of one view each.
PHANTOM = Phantom("phantom", 2764, 1883 / 2764, Scanner(), seed=0)
PHANTOM_FILM = Phantom(
    "phantom-film", 1784, 1457 / 3568, Scanner(exponent=2.6, noise=0.03, gamma=1.4), seed=1
)
# PHANTOM's lesions with fainter traits. The three steps, 1, 1/2 and 1/4, were chosen by looking at
# contact sheets: all traits are plain to see; some masses and signs are hard to see; most are lost
# in the parenchyma, and of calcifications traces are left.
PHANTOM_DIM = replace(PHANTOM, name="phantom-dim", scanner=Scanner(visibility=0.5))
PHANTOM_FAINT = replace(PHANTOM, name="phantom-faint", scanner=Scanner(visibility=0.25))
PHANTOMS: Final = {p.name: p for p in (PHANTOM, PHANTOM_FILM, PHANTOM_DIM, PHANTOM_FAINT)}
