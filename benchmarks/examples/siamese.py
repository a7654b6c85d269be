"""ManiNeg batches in a Siamese training on both breasts, with soft labels.

A pair is a patch with a lesion and a patch of the other breast. In a batch of similar lesions, a
network cannot tell pairs apart by what all lesions have in common.

python -m benchmarks.examples.siamese
"""

import torch
from torch.utils.data import DataLoader, TensorDataset

import maninegs_sampling as mn
from benchmarks.examples import lesions, small_encoder


def main(steps: int = 60) -> list[float]:
    """Train, and return the losses."""
    torch.manual_seed(0)
    images, store = lesions(512, size=32)
    # The other breast: the mirrored place, with the lesion in half of the cases.
    healthy = images[:, 1].flip(-1).mean((-2, -1), keepdim=True).expand_as(images[:, 1])
    has_twin = torch.arange(len(images)) % 2 == 0
    other = torch.where(has_twin[:, None, None, None], images[:, 1].flip(-1), healthy)
    sampler = mn.ManiNegBatchSampler(  # the only line that ManiNeg changes
        store, batch_size=32, mu=mn.LinearAnnealing(11, 0, steps // 2), batches_per_epoch=steps
    )
    loader = DataLoader(TensorDataset(images[:, 0], other), batch_sampler=sampler)
    encoder = small_encoder()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
    losses = []
    for lesion, contralateral in loader:
        z_first, z_second = encoder(lesion), encoder(contralateral)
        alike = mn.gaussian_mixture_soft_labels((z_first - z_second).norm(dim=1))
        loss = mn.soft_label_contrastive(z_first, z_second, alike)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    curve = main()
    print(f"soft_label_contrastive: {curve[0]:.3f} at first, {sum(curve[-5:]) / 5:.3f} at last")
