"""The reference training: section V of the paper (arXiv 2409.15745), on any images."""
