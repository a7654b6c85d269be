"""Maps of where a trait is: the lesions that know it, the contrast, the pointing test.

tests/test_notebooks.py runs the training, and holds its maps to the places.
"""

import numpy as np
import pytest
import torch

pytest.importorskip("PIL", reason="pillow comes with the extra plot")

from benchmarks.examples.attribute_maps import draw_maps, pointing
from benchmarks.examples.attribution import CELL, TraitMaps, presence_contrast
from benchmarks.examples.traced_lesions import TRAITS, traced_lesions
from benchmarks.reference.rendering import Scanner, render
from maninegs_sampling import MVKL

SIZE = 64


@pytest.fixture(scope="module")
def lesions():
    return traced_lesions(60, SIZE, seed=5)


def test_tracing_changes_no_pixel(lesions):
    for i, row in enumerate(lesions.store.to_dense()[:5]):
        drawn = render(row, np.random.default_rng([5, 3, i]), SIZE, Scanner())
        assert np.array_equal(lesions.images[i], (drawn[0] / 255).astype(np.float32))


def test_marks_are_where_the_rendering_puts_traits(lesions):
    bits = lesions.store.to_dense()
    for t, trait in enumerate(TRAITS[2:], 2):
        assert np.array_equal(lesions.present[:, t], bits[:, MVKL.bit_names.index(trait)])
        assert np.array_equal(lesions.marks[:, t].any((1, 2)), lesions.present[:, t])
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for trait, inside in {
        "nipple retraction": columns < SIZE / 2,  # on the left
        "focal skin thickening/retraction": columns > SIZE / 2,
        "abnormal lymph node shadow": rows < SIZE / 2,  # in an upper corner
    }.items():
        marks = lesions.marks[:, TRAITS.index(trait)]
        assert marks.any()
        assert not (marks & ~inside).any()


def test_pointing_counts_the_highest_places_that_lie_on_a_trait():
    n, side = 4, 16
    marks = np.zeros((n, 2, side, side), np.bool_)
    marks[:3, 0, :CELL, :CELL] = True  # image 3 lacks trait 0
    marks[:2, 1, -1, -1] = True
    maps = torch.zeros(n, 2, side // CELL, side // CELL)
    maps[0, 0, 0, 0] = maps[1, 0, 0, 0] = 1  # two hits
    maps[2, 0, 3, 3] = 1  # a miss
    maps[0, 1, 3, 3] = 1  # a hit, and a miss of the other image
    first, second = pointing(maps, marks, ("first", "second"))
    assert (first.n, second.n) == (3, 2)
    assert first.hits == first.of_another == pytest.approx(2 / 3)
    assert second.hits == second.of_another == 0.5
    assert first.at_random == second.at_random == 1 / 16


def test_the_contrast_is_over_presence():
    scores = torch.tensor([[2.0, 1.0], [0.5, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    present = torch.tensor([[True, True], [False, True], [False, True]])
    s = scores[:, 0].exp()
    assert presence_contrast(scores, present) == pytest.approx(float(-(s[0] / s.sum()).log()))
    assert presence_contrast(scores, present.logical_not()) > presence_contrast(scores, present)
    assert presence_contrast(scores, torch.ones_like(present)) == 0


def test_a_score_lies_between_the_mean_and_the_maximum_of_its_map():
    features = torch.randn(8, 32, 4, 4, generator=torch.manual_seed(0))
    maps = TraitMaps(features, 3, sharpness=50.0)
    found, scores = maps(features).flatten(2), maps.scores(features)
    assert (scores <= found.amax(2) + 1e-6).all()
    assert (scores >= found.mean(2)).all()


def test_maps_are_drawn_beside_images(lesions):
    panels = [(lesions.images[i], torch.rand(16, 16), lesions.marks[i, 0]) for i in range(2)]
    figure = draw_maps([("mass", panels), ("without marks", [(*panels[0][:2], None)])])
    drawn = [len(axis.images) for axis in figure.axes]
    assert drawn == [1, 2, 1, 2, 1, 2, 0, 0]
