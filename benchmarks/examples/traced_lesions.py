"""Rendered lesions that tell where each trait is to be seen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.reference.rendering import Canvas, Floats, Lesion, Scanner
from maninegs_sampling import MVKL, ManifestationStore
from maninegs_sampling.data.datasets import synthetic_mvkl

SIGN_SHARE: Final = 0.3  # of the lesions that show a sign, so that a few hundred have it
SEEN: Final = 0.25  # of the largest change of brightness: what counts as part of a trait

# The first bits are exclusive options, which stay as synthetic_mvkl draws them.
SIGNS: Final = tuple(name for name in MVKL.bit_names if "=" not in name)
TRAITS: Final = ("mass", "calcifications", *(name for name in SIGNS if name != "halo sign"))


@dataclass(frozen=True)
class TracedLesions:
    """Made-up lesions, and where their traits are.

    Attributes:
        images: (N, size, size) float32 in [0, 1], one view of each.
        store: the N manifestations.
        present: (N, T) bool, which of `TRAITS` each lesion has.
        marks: (N, T, size, size) bool, the pixels that a trait changes visibly; none without it.
    """

    images: NDArray[np.float32]
    store: ManifestationStore
    present: NDArray[np.bool_]
    marks: NDArray[np.bool_]


class TracedLesion(Lesion):
    """A lesion that notes in `marks`, as it is drawn, what each trait adds to its views."""

    def __init__(self, bits: NDArray[np.bool_], rng: np.random.Generator) -> None:
        super().__init__(bits, rng)
        self.marks: dict[str, Floats] = {}

    def _noted(
        self, trait: str, add: Callable[[list[Canvas]], None], canvases: list[Canvas]
    ) -> None:
        before = [canvas.image.copy() for canvas in canvases]
        add(canvases)
        after = [canvas.image for canvas in canvases]
        self.marks[trait] = np.abs(np.stack(after) - np.stack(before))

    def mass(self, canvases: list[Canvas]) -> None:
        """Note the mass with its halo."""
        self._noted("mass", super().mass, canvases)

    def calcifications(self, canvases: list[Canvas]) -> None:
        """Note all calcifications as one trait."""
        self._noted("calcifications", super().calcifications, canvases)

    def _distortion(self, canvases: list[Canvas]) -> None:
        self._noted("architectural distortion", super()._distortion, canvases)

    def _asymmetry(self, canvases: list[Canvas]) -> None:
        self._noted("focal asymmetrical density", super()._asymmetry, canvases)

    def _duct(self, canvases: list[Canvas]) -> None:
        self._noted("duct sign", super()._duct, canvases)

    def _comet_tail(self, canvases: list[Canvas]) -> None:
        self._noted("comet tail sign", super()._comet_tail, canvases)

    def _skin(self, canvases: list[Canvas]) -> None:
        self._noted("focal skin thickening/retraction", super()._skin, canvases)

    def _nipple(self, canvases: list[Canvas]) -> None:
        self._noted("nipple retraction", super()._nipple, canvases)

    def _vessel(self, canvases: list[Canvas]) -> None:
        self._noted("abnormal blood vessel shadow", super()._vessel, canvases)

    def _lymph_node(self, canvases: list[Canvas]) -> None:
        self._noted("abnormal lymph node shadow", super()._lymph_node, canvases)


def traced_lesions(n: int, size: int, seed: int = 0) -> TracedLesions:
    """Return made-up lesions with synthetic_mvkl's masses and calcifications, and more signs.

    Args:
        n: lesions.
        size: pixels a side.
        seed: of everything drawn.
    """
    store, _ = synthetic_mvkl(n, seed=seed)
    bits = store.to_dense().copy()
    rng = np.random.default_rng([seed, 2])
    for sign in SIGNS:
        bits[:, MVKL.bit_names.index(sign)] = rng.random(n) < SIGN_SHARE
    images = np.empty((n, size, size), np.float32)
    marks = np.zeros((n, len(TRAITS), size, size), np.bool_)
    for i, row in enumerate(bits):
        lesion = TracedLesion(row, np.random.default_rng([seed, 3, i]))
        images[i] = lesion.draw(size, Scanner())[0] / 255
        for t, trait in enumerate(TRAITS):
            change = lesion.marks.get(trait, np.zeros((1, 1, 1)))[0]
            marks[i, t] = (change >= SEEN * change.max()) & (change > 0)
    store = ManifestationStore.from_dense(bits, MVKL.bit_names)
    present: NDArray[np.bool_] = np.asarray(marks.any((2, 3)))
    return TracedLesions(images, store, present, marks)
