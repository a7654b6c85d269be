"""Batches written down, for readers that choose their own order: files of orders, and shards."""
