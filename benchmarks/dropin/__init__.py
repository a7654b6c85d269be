"""For each framework the smallest training with uniform batches, and with ManiNeg's.

    python -m benchmarks.dropin.lightning_after
    torchrun --nproc-per-node 2 -m benchmarks.dropin.torchrun_after

`diff lightning_before.py lightning_after.py` is what a user changes: three lines at most.
"""
