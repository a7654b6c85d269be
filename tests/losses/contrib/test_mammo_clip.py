"""The Mammo-CLIP loss."""

import torch

import maninegs_sampling as mn
from tests.losses.cases import random_pair


def test_mammo_clip_is_its_six_terms():
    image, image_view = random_pair(6, 4)
    text, text_view = random_pair(6, 4, seed=1)
    found = mn.mammo_clip_loss(
        image, image_view, text, text_view, temperature=0.3, label_smoothing=0.1
    )
    logits = [
        (torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T / 0.3, smoothing)
        for a, b, smoothing in [
            *((a, b, 0.1) for a in (image, image_view) for b in (text, text_view)),
            (image, image_view, 0.0),
            (text, text_view, 0.0),
        ]
    ]
    target = torch.arange(6)
    values = [
        sum(
            torch.nn.functional.cross_entropy(side, target, label_smoothing=smoothing)
            for side in (s, s.T)
        )
        / 2
        for s, smoothing in logits
    ]
    torch.testing.assert_close(found, sum(values[:4]) / 4 + values[4] + 0.5 * values[5])
