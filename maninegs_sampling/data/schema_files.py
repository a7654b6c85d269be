"""Schemas as readable JSON, and reading them with errors that name the place."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from maninegs_sampling.data.traits import MOST_WEIGHT, Trait
from maninegs_sampling.errors import SchemaError
from maninegs_sampling.quoting import quoted

if TYPE_CHECKING:
    from maninegs_sampling.data.schema import Schema

SCHEMA_VERSION = 1

# The JSON type of each key; tuples are lists.
_TEXTS = ("a list of texts", lambda v: isinstance(v, list) and all(type(x) is str for x in v))
_TEXT = ("a text", lambda v: type(v) is str)
_OPTIONAL_TEXT = ("a text or null", lambda v: v is None or type(v) is str)
_YES_OR_NO = ("true or false", lambda v: type(v) is bool)
_JSON_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": _TEXT,
    "kind": _TEXT,
    "options": _TEXTS,
    "columns": _TEXTS,
    "separator": _TEXT,
    "edges": (
        "a list of finite numbers",
        lambda v: (
            isinstance(v, list) and all(type(x) in (int, float) and abs(x) < 1e300 for x in v)
        ),
    ),
    "synonyms": (
        "a list of pairs of texts",
        lambda v: isinstance(v, list) and all(_TEXTS[1](x) and len(x) == 2 for x in v),
    ),
    "optional": _YES_OR_NO,
    "ordered": _YES_OR_NO,
    "weight": (
        f"a whole number from 1 to {MOST_WEIGHT}",
        lambda v: type(v) is int and 1 <= v <= MOST_WEIGHT,
    ),
    "missing": _TEXT,
    "missing_values": _TEXTS,
    "label_column": _OPTIONAL_TEXT,
    "positive_labels": _TEXTS,
    "group_column": _OPTIONAL_TEXT,
    "notes": _TEXTS,
    "traits": ("", lambda v: True),
}


def _from_json(cls: Any, values: Any, where: str) -> Any:
    """Create a `Trait` or a `Schema` from decoded JSON; errors name the place."""
    if not isinstance(values, dict):
        raise SchemaError(f"{where}: expected an object; got {type(values).__name__}")
    known = {f.name for f in fields(cls)}
    for key, value in values.items():
        if key not in known:
            raise SchemaError(f"{where}: unknown key {quoted(key)}; the keys are {sorted(known)}")
        expected, fits = _JSON_TYPES[key]
        if not fits(value):
            raise SchemaError(f"{where}: {key!r} must be {expected}; got {quoted(value)}")
    for key in {"name", "kind"} & known - set(values):
        raise SchemaError(f"{where}: the key {key!r} is missing")
    try:
        return cls(**values)
    except SchemaError as error:
        raise SchemaError(f"{where}: {error}") from None


def schema_to_json(schema: "Schema") -> str:
    """Return a schema as JSON, without the defaults of its traits."""
    defaults = {f.name: f.default for f in fields(Trait)}
    traits = [
        {key: value for key, value in asdict(trait).items() if value != defaults[key]}
        for trait in schema.traits
    ]
    content = {"schema_version": SCHEMA_VERSION, **asdict(schema), "traits": traits}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def schema_from_json(cls: "type[Schema]", text: str, where: str) -> "Schema":
    """Return the schema that `schema_to_json` wrote.

    Args:
        cls: the class `Schema`.
        text: the JSON.
        where: source of the text, for messages.

    Raises:
        SchemaError: If the text is not JSON, has another version or is not a schema; the message
            names the key.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{where} is not JSON: {error}") from None
    if not isinstance(content, dict) or "traits" not in content:
        raise SchemaError(f"{where} is not a schema: it has no key 'traits'")
    version = content.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"{where} has version {quoted(version)}; this release reads {SCHEMA_VERSION}"
        )
    traits = content.pop("traits")
    if not isinstance(traits, list):
        raise SchemaError(f"{where}: 'traits' must be a list; got {type(traits).__name__}")
    made = tuple(_from_json(Trait, trait, f"{where}, trait {i}") for i, trait in enumerate(traits))
    schema: Schema = _from_json(cls, {**content, "traits": made}, where)
    return schema
