"""Measure what a sampler does to a batch, and suggest settings, without training."""
