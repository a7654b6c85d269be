"""Distances to batches: the distance distribution, its annealing, and the batch sampler."""
