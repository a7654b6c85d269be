"""A minimal training for each framework, with uniform batches and with ManiNeg batches.

    python -m benchmarks.dropin.lightning_after
    torchrun --nproc-per-node 2 -m benchmarks.dropin.torchrun_after

`diff lightning_before.py lightning_after.py` shows what a user changes: at most three lines.
"""
