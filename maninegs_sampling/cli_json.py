"""What the commands print with --json: the numbers of their text, not rounded."""

import json
import math
from typing import Any

from maninegs_sampling.analysis.batch_hardness import N_NEAREST, Hardness
from maninegs_sampling.analysis.settings import Settings
from maninegs_sampling.analysis.suitability import Suitability
from maninegs_sampling.cli_tables import Rows
from maninegs_sampling.sampling.schedules import LinearAnnealing


def json_text(record: dict[str, Any]) -> str:
    """Return the record as JSON. Numbers that are not finite become null, as JSON has none.

    Args:
        record: Dictionaries, lists, texts and numbers.

    Example:
        >>> json_text({"mean": float("nan"), "mus": (6.0, 0.0)})
        '{"mean": null, "mus": [6.0, 0.0]}'
    """
    return json.dumps(_finite(record), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_record(table: Rows) -> dict[str, Any]:
    """Return the size of a table and how its schema was inferred.

    Args:
        table: The rows that a command read.
    """
    return {
        "rows": table.store.n_instances,
        "bits": table.store.n_bits,
        "patterns": table.store.n_patterns,
        "schema_notes": list(table.schema.notes),
    }


def suitability_record(found: Suitability) -> dict[str, Any]:
    """Return the verdict with its reasons and measurements.

    Args:
        found: What `suitability` returned.
    """
    uniform = found.uniform_distinct
    return {
        "verdict": found.verdict,
        "reasons": list(map(str, found.reasons)),
        "uniform_mean": found.uniform_mean,
        "uniform_distinct": None if uniform is None else _hardness_record(uniform),
        "mus": [
            {"mu": mu, **_hardness_record(measured)}
            for mu, measured in zip(found.mus, found.measured, strict=True)
        ],
    }


def _hardness_record(measured: Hardness) -> dict[str, float]:
    return {
        "anchor_mean": measured.anchor_mean,
        "pair_mean": measured.pair_mean,
        f"nearest_{N_NEAREST}_mean": measured.nearest_mean,
    }


def settings_record(settings: Settings | None, *, groups_source: str) -> dict[str, Any] | None:
    """Return the settings with their reasons, and the call that they are arguments of.

    Args:
        settings: What was suggested, or None.
        groups_source: Source code for the groups, which are too many to print.
    """
    if settings is None:
        return None
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, LinearAnnealing):
            values[name] = {"start": value.start, "end": value.end, "steps": value.steps}
        else:
            values[name] = groups_source if name == "groups" else value
    return {
        "values": values,
        "reasons": {name: str(reason) for name, reason in settings.reasons.items()},
        "call": settings.call(groups=groups_source),
    }
