"""Runs benchmarks.dropin's script for torchrun, and tells which batches ManiNeg drew."""

import runpy
import sys

from tests.integrations.common import finish, note_batches

drawn = note_batches()
runpy.run_module(f"benchmarks.dropin.torchrun_{sys.argv[1]}")
finish(drawn)
