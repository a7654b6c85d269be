"""Settings of the paper and of its authors' code, with the source of each number.

The paper's Table III gives a batch size of 64, sigma 3, 9,000 steps, and mu from 11 to 0 by the
"150th training step". The authors' code calls its schedule once an epoch; 300 epochs of 30 batches
make 9,000 steps. So the 150th epoch, step 4,500, is what they ran:
`mu=LinearAnnealing(11, 0, steps=4500)`.

The only public commit of that code has other numbers: 100 for the length of its sampler, 3 for the
epoch of the smallest mu, and 18 for the largest distance. These are `batches_per_epoch=100`,
`mu=StepwiseAnnealing(LinearAnnealing(11, 0, steps=300), every=100)` and `high=18`. Here the largest
distance is that of the data.
"""

from typing import Any

from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.quoting import quoted
from maninegs_sampling.sampling.schedules import LinearAnnealing, StepwiseAnnealing

# Algorithm 1 and Table III to the letter.
PAPER: dict[str, Any] = {
    "batch_size": 64,
    "mu": LinearAnnealing(11, 0, steps=150),
    "sigma": 3.0,
    "duplicates": "drop_patterns",
    "batches_per_epoch": "anchors",
}

# The rules of the published code; the numbers of Table III, read as above.
AUTHORS: dict[str, Any] = {
    "batch_size": 64,
    "mu": StepwiseAnnealing(LinearAnnealing(11, 0, steps=4500), every=30),
    "sigma": 3.0,
    "empty": "nearest",
    "draw": "pattern",
    "duplicates": "drop_instances",
    "batches_per_epoch": 30,
}


def check_hamming(options: dict[str, Any]) -> dict[str, Any]:
    """Return options that replace some of these, or raise unless distances are Hamming's.

    Raises:
        InvalidValueError: If they name another metric: all numbers above are in bits.
    """
    if options.get("metric", "hamming") != "hamming":
        raise InvalidValueError(
            "the settings of the paper and of its authors' code are in bits, so metric must be "
            f'"hamming"; got {quoted(options["metric"])}'
        )
    return options
