"""Bits to distances: Hamming distances and the index of instances by distance."""
