"""ManiNeg batches in an image-text training like Mammo-CLIP's (Ghosh et al. 2024).

python -m benchmarks.examples.image_text
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import maninegs_sampling as mn
from benchmarks.examples import lesions, small_encoder


class TextEncoder(nn.Module):
    """A small transformer from a configuration. A report is the list of the traits seen."""

    def __init__(self, n_words: int, width: int = 64, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(n_words, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, present: torch.Tensor) -> torch.Tensor:
        """Return (n, width) of reports, (n, n_words) bool: which traits each one mentions."""
        words = self.words.weight.expand(len(present), -1, -1)
        heard = self.layers(words, src_key_padding_mask=~present)
        return (heard * present[..., None]).sum(1) / present.sum(1, keepdim=True)


def main(steps: int = 60) -> list[float]:
    """Train, and return the losses."""
    torch.manual_seed(0)
    images, store = lesions(512, size=32)
    reports = torch.from_numpy(store.to_dense())
    sampler = mn.ManiNegBatchSampler(  # the one thing that ManiNeg changes
        store, batch_size=32, mu=mn.LinearAnnealing(11, 0, steps // 2), batches_per_epoch=steps
    )
    loader = DataLoader(TensorDataset(images, reports), batch_sampler=sampler)
    image_encoder, text_encoder = small_encoder(), TextEncoder(store.n_bits)
    criterion = mn.MammoCLIPLoss()
    parts = nn.ModuleList([image_encoder, text_encoder, criterion])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=1e-3)
    losses = []
    for views, report in loader:
        # A second reading leaves some of the traits out, but never all.
        partial = report & (torch.rand(report.shape) < 0.8)
        partial |= report & ~partial.any(1, keepdim=True)
        z_image = [image_encoder(views[:, view]) for view in (0, 1)]
        loss = criterion(*z_image, text_encoder(report), text_encoder(partial))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    curve = main()
    print(f"mammo_clip_loss: {curve[0]:.3f} at first, {sum(curve[-5:]) / 5:.3f} at last")
