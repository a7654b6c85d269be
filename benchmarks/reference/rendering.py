"""Rendered breast-lump patches that look like their manifestations, Table I of the paper.

A patch shows a lesion and 1.5 cm around it, in two views. Shapes are placed in space, in cm around
the lesion's center, and projected: CC sees (x, y), MLO (x, the mean of y and z turned by 45
degrees). Behind them lies parenchyma with a power-law spectrum of 1/f^3, the usual model of a
mammogram's background (Burgess et al. 2001), of which the views share half. All sizes, contrasts
and positions are assumptions: the point is that each trait is to be seen, with much else varying.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling import MVKL

Floats = NDArray[np.float64]
Span = tuple[float, float]

# Ranges to draw from: lengths in cm, contrasts in units of the image's full scale.
RADIUS = {"≤2cm": (0.5, 0.95), "2-5cm": (1.1, 2.4), ">5cm": (2.6, 3.2)}
MASS_CONTRAST = {"low": (0.10, 0.15), "median": (0.20, 0.26), "high": (0.32, 0.40)}
CALCIFICATION_RADIUS = {"coarse": (0.09, 0.13), "tiny": (0.035, 0.05), "uneven": (0.035, 0.13)}
CALCIFICATION_CONTRAST = {"low": (0.18, 0.25), "high": (0.5, 0.6), "uneven": (0.18, 0.6)}
MARGIN = 1.5  # seen around the lesion, cm
SHARED_BACKGROUND = 0.5  # share of the background's variance that both views see


@dataclass(frozen=True)
class Scanner:
    """How lesions and the tissue around them are imaged.

    Attributes:
        exponent: of the power spectrum of the parenchyma, 1/f^exponent.
        noise: standard deviation of each pixel's own noise, of full scale.
        gamma: of the film: the pixel value is exposure to this power.
        visibility: factor on the contrast of all traits against the parenchyma.
    """

    exponent: float = 3.0
    noise: float = 0.015
    gamma: float = 1.0
    visibility: float = 1.0


class Canvas:
    """One view of a lesion: an image of `size` by `size` pixels to which shapes are added."""

    def __init__(self, size: int, side: float, angle: float, shift: Floats, *, mlo: bool) -> None:
        self.image: Floats = np.zeros((size, size))
        self.side, self.pixel = side, side / size
        self.axis: Floats = (np.arange(size, dtype=np.float64) + 0.5) * self.pixel - side / 2
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        half = np.sqrt(0.5)
        view = np.array([[1, 0, 0], [0, half, half]] if mlo else [[1, 0, 0], [0, 1, 0]])
        self.projection = turn @ view
        self.shift = shift

    def project(self, points: Floats) -> Floats:
        """Return where points in space, (..., 3) in cm, are seen: (..., 2) in cm."""
        seen: Floats = points @ self.projection.T + self.shift
        return seen

    def _window(self, low: Floats, high: Floats) -> tuple[slice, slice, Floats, Floats]:
        """Return the pixels between two corners, and their coordinates."""
        (x0, y0), (x1, y1) = (
            np.clip(np.floor((c + self.side / 2) / self.pixel).astype(int), 0, len(self.axis))
            for c in (low, high + self.pixel)
        )
        rows, columns = slice(y0, y1), slice(x0, x1)
        return rows, columns, self.axis[None, columns], self.axis[rows, None]

    def line(self, start: Floats, end: Floats, widths: Span, contrast: float) -> None:
        """Add a line between two places on the image; its width changes along the line.

        One thinner than a pixel is drawn a pixel wide and as much fainter.
        """
        reach = 3 * max(*widths, self.pixel)
        rows, columns, x, y = self._window(
            np.minimum(start, end) - reach, np.maximum(start, end) + reach
        )
        along = end - start
        place = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / max(along @ along, 1e-9)
        place = np.clip(place, 0, 1)
        squared = (x - start[0] - place * along[0]) ** 2 + (y - start[1] - place * along[1]) ** 2
        wanted = widths[0] + place * (widths[1] - widths[0])
        drawn = np.maximum(wanted, 0.7 * self.pixel)
        self.image[rows, columns] += contrast * wanted / drawn * np.exp(-squared / drawn**2)

    def dot(self, center: Floats, radius: float, contrast: float) -> None:
        """Add a filled disc with a soft rim."""
        drawn = max(radius, 0.7 * self.pixel)
        rows, columns, x, y = self._window(center - 2 * drawn, center + 2 * drawn)
        squared = (x - center[0]) ** 2 + (y - center[1]) ** 2
        self.image[rows, columns] += (
            contrast * (radius / drawn) ** 2 * np.exp(-((squared / drawn**2) ** 2))
        )

    def blob(self, center: Floats, radii: Span, contrast: float) -> None:
        """Add a Gaussian cloud."""
        x, y = self.axis[None, :] - center[0], self.axis[:, None] - center[1]
        self.image += contrast * np.exp(-0.5 * ((x / radii[0]) ** 2 + (y / radii[1]) ** 2))

    def outline(
        self, center: Floats, radius: float, waves: Floats, soft: tuple[float, float, float]
    ) -> tuple[Floats, Floats]:
        """Return the signed distance to a closed outline, negative inside, and its softness.

        Args:
            center: (x, y) in cm.
            radius: mean radius in cm.
            waves: (k, 3), each a frequency, a relative height and a phase.
            soft: the rim's width in cm on the sharp side, on the other side, and the direction of
                the latter.
        """
        x, y = self.axis[None, :] - center[0], self.axis[:, None] - center[1]
        angle = np.arctan2(y, x)
        rim = radius * (1 + sum(h * np.cos(f * angle + p) for f, h, p in waves))
        side = 1 / (1 + np.exp(-4 * np.cos(angle - soft[2])))
        return np.hypot(x, y) - rim, soft[0] + side * (soft[1] - soft[0])


def power_law(rng: np.random.Generator, size: int, exponent: float) -> Floats:
    """Return a random field (size, size) of mean 0 and variance 1 with power 1/f^exponent."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * frequency ** (-exponent / 2)
    field = np.fft.irfft2(spectrum, s=(size, size))
    scaled: Floats = field / field.std()
    return scaled


class Lesion:
    """A lesion's shapes in space, all that both views share.

    Args:
        bits: (35,), in the order of `MVKL.bit_names`.
        rng: draws what the manifestation leaves open.
    """

    def __init__(self, bits: NDArray[np.bool_], rng: np.random.Generator) -> None:
        present = {name for name, bit in zip(MVKL.bit_names, bits, strict=True) if bit}
        self.traits = {name.partition("=")[0]: name.partition("=")[2] for name in present}
        self.rng = rng
        size = RADIUS[self.traits.get("mass size", "≤2cm")]
        self.radius = rng.uniform(*size)

    def has(self, trait: str) -> bool:
        """Whether a sign, or any option of a trait, is present."""
        return trait in self.traits

    def draw(self, size: int, scanner: Scanner) -> NDArray[np.uint8]:
        """Return both views, (2, size, size)."""
        rng = self.rng
        side = 2 * (self.radius + MARGIN)
        canvases = [
            Canvas(size, side, rng.normal(0, 0.3), rng.normal(0, 0.15, 2), mlo=mlo)
            for mlo in (False, True)
        ]
        for add in (self.mass, self.calcifications, self.signs):
            add(canvases)
        # Random numbers that depend on the size in pixels are drawn last.
        level, contrast = rng.uniform(0.25, 0.4), rng.uniform(0.05, 0.08)
        shared = power_law(rng, size, scanner.exponent)
        views = []
        for canvas in canvases:
            own = power_law(rng, size, scanner.exponent)
            field = np.sqrt(SHARED_BACKGROUND) * shared + np.sqrt(1 - SHARED_BACKGROUND) * own
            noise = scanner.noise * rng.standard_normal((size, size))
            exposure = level + contrast * field + scanner.visibility * canvas.image
            views.append(np.clip(exposure, 0, 1) ** scanner.gamma + noise)
        return np.round(255 * np.clip(np.stack(views), 0, 1)).astype(np.uint8)

    def mass(self, canvases: list[Canvas]) -> None:
        """The four mass traits: outline, rim, contrast and radius; and the halo around it."""
        if not self.has("mass shape"):
            return
        rng, edge = self.rng, self.traits["mass edge"]
        contrast = rng.uniform(*MASS_CONTRAST[self.traits["mass density"]])
        hidden_side = rng.uniform(0, 2 * np.pi)
        spicules = self._spicules() if edge == "spiculated" else []
        for canvas in canvases:
            center = canvas.project(np.zeros(3))
            waves = list(self._waves(self.traits["mass shape"]))
            if edge == "microlobulated":
                waves.append((float(rng.integers(13, 18)), 0.07, rng.uniform(0, 2 * np.pi)))
            sharp = {"spiculated": 0.10, "obscured": 0.08}.get(edge, 0.03)
            hidden = 0.4 * self.radius if edge == "obscured" else sharp
            distance, rim = canvas.outline(
                center, self.radius, np.array(waves), (sharp, hidden, hidden_side)
            )
            canvas.image += contrast / (
                1 + np.exp(np.clip(distance / np.maximum(rim, 0.5 * canvas.pixel), -50, 50))
            )
            for start, end in spicules:
                canvas.line(
                    canvas.project(start), canvas.project(end), (0.07, 0.02), 0.8 * contrast
                )
            if self.has("halo sign"):
                canvas.image -= 0.16 * np.exp(-(((distance - 0.16) / 0.10) ** 2))

    def _waves(self, shape: str) -> Iterator[tuple[float, float, float]]:
        """Yield the outline's waves for a mass shape, other phases in each view."""
        rng = self.rng
        phase = rng.uniform(0, 2 * np.pi)
        if shape == "round":
            yield 2, 0.02, phase
        elif shape == "ovoid":
            yield 2, rng.uniform(0.25, 0.32), phase
        elif shape == "lobulated":
            yield float(rng.integers(3, 5)), rng.uniform(0.15, 0.2), phase
        else:
            for frequency in range(2, 8):
                yield frequency, rng.uniform(0.05, 0.12), rng.uniform(0, 2 * np.pi)

    def _spicules(self) -> list[tuple[Floats, Floats]]:
        directions = self.rng.standard_normal((self.rng.integers(14, 20), 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        ends = self.radius * self.rng.uniform(0.3, 0.6, len(directions)) + 0.9
        return [
            (0.8 * self.radius * d, (self.radius + length) * d)
            for d, length in zip(directions, ends, strict=True)
        ]

    def calcifications(self, canvases: list[Canvas]) -> None:
        """The four calcification traits: shape, size, density and distribution."""
        if not self.has("calcification shape"):
            return
        rng = self.rng
        shape = self.traits["calcification shape"].split("/")[0]
        spread = self.traits["calcification distribution"]
        count = rng.integers(12, 20)
        width = self.radius + 0.7 * MARGIN
        if spread == "scattered":
            places = rng.uniform(-width, width, (count, 3))
        elif spread == "clustered":
            places = rng.normal(0, 0.28, (count, 3)) + rng.uniform(-0.4, 0.4, 3)
        else:
            end = np.array([np.cos(angle := rng.uniform(0, np.pi)), np.sin(angle), 0.3])
            places = np.linspace(-width, width, count)[:, None] * end
            places = places + rng.normal(0, 0.06, (count, 3))
        for place in places:
            radius = rng.uniform(*CALCIFICATION_RADIUS[self.traits["calcification size"]])
            contrast = rng.uniform(*CALCIFICATION_CONTRAST[self.traits["calcification density"]])
            strokes, thickness = self._strokes(shape, radius)
            for canvas in canvases:
                center = canvas.project(place)
                for start, end in strokes:
                    canvas.line(center + start, center + end, (thickness, thickness), contrast)
                if not strokes:
                    canvas.dot(center, radius, contrast)

    def _strokes(self, shape: str, radius: float) -> tuple[list[tuple[Floats, Floats]], float]:
        """Return the lines of one calcification, around its center, and how thick they are."""
        angle = self.rng.uniform(0, 2 * np.pi)

        def at(turn: float, distance: float) -> Floats:
            return distance * np.array([np.cos(angle + turn), np.sin(angle + turn)])

        if shape == "branching":
            tips = [at(0, 3.5 * radius), at(2.4, 3 * radius), at(-2.4, 3 * radius)]
            return [(np.zeros(2), tip) for tip in tips], 0.5 * radius
        if shape == "crescentic":
            turns = np.linspace(0, self.rng.uniform(3.5, 2 * np.pi), 8)
            ring = [at(turn, 1.8 * radius) for turn in turns]
            return list(pairwise(ring)), 0.4 * radius
        return [], radius

    def signs(self, canvases: list[Canvas]) -> None:
        """The eight signs other than the halo, each drawn by the method of its name."""
        for sign, add in {
            "architectural distortion": self._distortion,
            "focal asymmetrical density": self._asymmetry,
            "duct sign": self._duct,
            "comet tail sign": self._comet_tail,
            "focal skin thickening/retraction": self._skin,
            "nipple retraction": self._nipple,
            "abnormal blood vessel shadow": self._vessel,
            "abnormal lymph node shadow": self._lymph_node,
        }.items():
            if self.has(sign):
                add(canvases)

    def _distortion(self, canvases: list[Canvas]) -> None:
        """Long thin lines that cross at a point beside the lesion."""
        focus = self.rng.uniform(-0.3, 0.3, 3) * self.radius
        for angle in np.linspace(0, np.pi, 9, endpoint=False) + self.rng.uniform(0, 0.3):
            end = 1.5 * (self.radius + MARGIN) * np.array([np.cos(angle), np.sin(angle), 0.0])
            for canvas in canvases:
                middle, reach = canvas.project(focus), canvas.project(end) - canvas.shift
                canvas.line(middle - reach, middle + reach, (0.035, 0.035), 0.16)

    def _asymmetry(self, canvases: list[Canvas]) -> None:
        """A wide cloud off the center."""
        for canvas in canvases:
            center = canvas.side * np.array([0.22, 0.25 * self.rng.choice([-1, 1])])
            canvas.blob(center, (0.16 * canvas.side, 0.12 * canvas.side), 0.2)

    def _duct(self, canvases: list[Canvas]) -> None:
        """Two or three wide bands from the lesion towards the nipple, on the left."""
        for offset in self.rng.uniform(-0.6, 0.6, self.rng.integers(2, 4)):
            for canvas in canvases:
                start = canvas.shift + np.array([-0.5 * self.radius, 0.6 * offset])
                end = np.array([-0.5 * canvas.side, 1.6 * offset])
                canvas.line(start, end, (0.12, 0.16), 0.2)

    def _comet_tail(self, canvases: list[Canvas]) -> None:
        """One thick tail that tapers away from the lesion."""
        angle = self.rng.uniform(-0.7, 0.7)
        direction = np.array([np.cos(angle), np.sin(angle), 0.0])
        for canvas in canvases:
            start, end = (
                canvas.project(r * direction) for r in (0.8 * self.radius, self.radius + MARGIN)
            )
            canvas.line(start, end, (0.45 * self.radius + 0.1, 0.03), 0.25)

    def _skin(self, canvases: list[Canvas]) -> None:
        """A thick bright band along the right border, with a dent."""
        dent = self.rng.uniform(-0.25, 0.25)
        for canvas in canvases:
            y = canvas.axis[:, None] / canvas.side
            border = 0.44 - 0.10 * np.exp(-(((y - dent) / 0.10) ** 2))
            depth = canvas.axis[None, :] / canvas.side - border
            canvas.image += 0.35 * np.exp(-((depth / 0.035) ** 2))
            canvas.image -= 0.5 * (depth > 0.05)

    def _nipple(self, canvases: list[Canvas]) -> None:
        """A dark notch from the left border inwards, its rim bright."""
        place = self.rng.uniform(-0.2, 0.2)
        for canvas in canvases:
            y = np.abs(canvas.axis[:, None] / canvas.side - place)
            depth = canvas.axis[None, :] / canvas.side + 0.5 - np.maximum(0.24 - 1.6 * y, 0.0)
            canvas.image += 0.3 * np.exp(-((depth / 0.025) ** 2)) * (y < 0.18)
            canvas.image -= 0.5 * (depth < -0.02)

    def _vessel(self, canvases: list[Canvas]) -> None:
        """A winding band across the patch."""
        rng = self.rng
        height, swing, phase = rng.uniform(-0.35, 0.35), rng.uniform(0.05, 0.09), rng.uniform(0, 6)
        for canvas in canvases:
            x, y = canvas.axis[None, :] / canvas.side, canvas.axis[:, None]
            path = canvas.side * (height + rng.normal(0, 0.02) + swing * np.sin(11 * x + phase))
            width = max(0.09, 0.7 * canvas.pixel)
            canvas.image += 0.15 * 0.09 / width * np.exp(-(((y - path) / width) ** 2))

    def _lymph_node(self, canvases: list[Canvas]) -> None:
        """A dense oval in an upper corner, without the pale hilum of a healthy one."""
        corner = np.array([self.rng.choice([-1, 1]) * 0.36, -0.36])
        for canvas in canvases:
            center = canvas.side * (corner + self.rng.normal(0, 0.015, 2))
            waves = np.array([[2, 0.2, self.rng.uniform(0, 6)]])
            distance, _ = canvas.outline(center, 0.085 * canvas.side, waves, (0.04, 0.04, 0.0))
            canvas.image += 0.4 / (1 + np.exp(np.clip(distance / 0.04, -50, 50)))


def render(
    bits: NDArray[np.bool_], rng: np.random.Generator, size: int, scanner: Scanner
) -> NDArray[np.uint8]:
    """Return the two views of a lesion with a manifestation, (2, size, size)."""
    return Lesion(bits, rng).draw(size, scanner)


def contact_sheet(size: int, scanner: Scanner, seed: int) -> Any:
    """Return a matplotlib Figure of one lesion with each trait in turn, both views."""
    from matplotlib.figure import Figure

    base = {
        "mass shape=round", "mass edge=well-circumscribed", "mass density=median",
        "mass size=2-5cm",
    }  # fmt: skip
    specks = {
        "calcification shape=granular/popcorn-like/large rod-like/eggshell-like",
        "calcification size=coarse", "calcification density=high",
        "calcification distribution=scattered",
    }  # fmt: skip
    panels: list[tuple[str, set[str]]] = [("nothing", set()), ("a mass", base)]
    for name in MVKL.bit_names:
        trait, _, option = name.partition("=")
        start = base | specks if trait.startswith("calcification") else base
        kept = {other for other in start if other.partition("=")[0] != trait}
        panels.append((f"{trait}\n{option[:28]}" if option else f"{trait}\n ", kept | {name}))
    columns = 8
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(columns * 2.6, rows * 1.75), layout="constrained")
    axes = figure.subplots(rows, columns).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, (title, names) in zip(axes, panels, strict=False):
        bits = np.array([name in names for name in MVKL.bit_names])
        views = render(bits, np.random.default_rng(seed), size, scanner)
        axis.imshow(np.concatenate(list(views), axis=1), cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, fontsize=7)
    return figure
