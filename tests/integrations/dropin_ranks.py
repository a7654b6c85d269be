"""Runs benchmarks.dropin's script for torchrun, and tells which batches ManiNeg drew."""

import runpy
import sys

from maninegs_sampling import ManiNegBatchSampler
from tests.integrations.common import finish

drawn, one_pass = [], ManiNegBatchSampler._pass


def noted(self, *where):
    for batch in one_pass(self, *where):
        drawn.append(batch)
        yield batch


ManiNegBatchSampler._pass = noted
runpy.run_module(f"benchmarks.dropin.torchrun_{sys.argv[1]}")
finish(drawn)
