"""Schemas: how a row of a table becomes the bits of a manifestation."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.errors import InvalidTypeError, SchemaError, TableError, check_choice
from maninegs_sampling.inference import infer_traits
from maninegs_sampling.storage import write_atomically
from maninegs_sampling.tables import Table, cell_text, read_tables
from maninegs_sampling.traits import Trait, normal_form

MISSING = ("absent", "option", "error")
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Schema:
    """Traits in the order of their bits, and what the other columns of interest are called.

    Parameters:
        name: for messages and reports.
        traits: in order.
        missing: what a missing cell becomes. "absent": no bit is set. "option": a bit of its own,
            after the trait's others. "error": encoding stops.
        missing_values: texts that count as missing, besides empty cells and NaN.
        label: the column of the task's outcome, if any; it never becomes bits.
        positive: values of the label that count as 1 in `labels`.
        groups: the column, such as a patient id, for `ManiNegBatchSampler(groups=...)`.
        notes: what `infer` decided about each column.

    Example:
        >>> schema = Schema("lumps", (
        ...     Trait("shape", "one_of", options=("round", "irregular")),
        ...     Trait("halo", "flag"),
        ... ))
        >>> schema.bit_names
        ('shape=round', 'shape=irregular', 'halo')
        >>> import polars
        >>> schema.encode(polars.DataFrame({"shape": ["Round", None], "halo": [0, 1]})).tolist()
        [[True, False, False], [False, False, True]]
    """

    name: str
    traits: tuple[Trait, ...]
    missing: str = "absent"
    missing_values: tuple[str, ...] = ("NA", "N/A", "NaN", "null", "?")
    label: str | None = None
    positive: tuple[str, ...] = ()
    groups: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_choice("missing", self.missing, MISSING)
        for name in ("traits", "missing_values", "positive", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.traits:
            raise SchemaError(f"schema {self.name!r} has no traits")
        names = [trait.name for trait in self.traits]
        if len(set(names)) < len(names):
            raise SchemaError(f"schema {self.name!r} has two traits of one name: {names}")

    def _trait_bits(self, trait: Trait) -> tuple[str, ...]:
        return trait.bit_names + ((f"{trait.name}=missing",) if self.missing == "option" else ())

    @property
    def bit_names(self) -> tuple[str, ...]:
        """A name for each bit, in order."""
        return tuple(name for trait in self.traits for name in self._trait_bits(trait))

    def is_missing(self, text: str) -> bool:
        """Whether a cell's text counts as missing."""
        return not text or normal_form(text) in {
            normal_form(value) for value in self.missing_values
        }

    def encode(self, table: Any) -> NDArray[np.bool_]:
        """Return (rows, bits) bool.

        Parameters:
            table: a pandas, polars or pyarrow table, a path to a CSV or Parquet file, or a list of
                any of these, read one after the other.

        Raises:
            TableError: a column is not there, or a cell is not allowed; the message names them.
        """
        return np.concatenate(
            [
                np.concatenate([self._encode_trait(trait, part) for trait in self.traits], axis=1)
                for part in read_tables(table)
            ]
        )

    def _encode_trait(self, trait: Trait, table: Table) -> NDArray[np.bool_]:
        column = next((c for c in trait.columns or (trait.name,) if c in table.columns), None)
        n_bits = len(self._trait_bits(trait))
        if column is None:
            if trait.kind != "flag" and any(name in table.columns for name in trait.bit_names):
                return self._encode_spread(trait, table)
            if not trait.optional:
                wanted = " or ".join(repr(c) for c in trait.columns or (trait.name,))
                raise TableError(
                    f"{table.source} has no column {wanted} for trait {trait.name!r}; "
                    f"it has {list(table.columns)}"
                )
            missing = np.zeros((1, n_bits), np.bool_)
            missing[0, -1] = self.missing == "option"
            return missing.repeat(table.n_rows, axis=0)

        patterns: dict[str, int] = {}
        encoded: list[NDArray[np.bool_]] = []
        codes = np.empty(table.n_rows, np.int64)
        for row, value in enumerate(table.columns[column]):
            text = cell_text(value)
            code = patterns.get(text)
            if code is None:
                code = patterns[text] = len(encoded)
                bits = np.zeros(n_bits, np.bool_)
                try:
                    if not self.is_missing(text):
                        bits[trait.encode_text(text)] = True
                    elif self.missing == "option":
                        bits[-1] = True
                    elif self.missing == "error":
                        raise ValueError('is missing, and missing="error" forbids that')
                except ValueError as error:
                    raise TableError(
                        f"{table.source}, row {row} (the first is 0), column {column!r}: {error}"
                    ) from None
                encoded.append(bits)
            codes[row] = code
        return np.stack(encoded)[codes]

    def _encode_spread(self, trait: Trait, table: Table) -> NDArray[np.bool_]:
        """Encode a trait that is spread over 0/1 columns, one for each of its bits."""
        flags = Schema(
            self.name,
            tuple(Trait(name, "flag", optional=True) for name in trait.bit_names),
            missing="error" if self.missing == "error" else "absent",
            missing_values=self.missing_values,
        )
        bits = np.concatenate([flags._encode_trait(flag, table) for flag in flags.traits], axis=1)
        several = np.flatnonzero(bits.sum(axis=1) > 1)
        if trait.kind != "any_of" and len(several) > 0:
            row = int(several[0])
            columns = [trait.bit_names[i] for i in np.flatnonzero(bits[row])]
            raise TableError(
                f"{table.source}, row {row} (the first is 0): columns {columns} are set together, "
                f"but {trait.name!r} has mutually exclusive options"
            )
        if self.missing == "option":
            bits = np.concatenate([bits, ~bits.any(axis=1, keepdims=True)], axis=1)
        return bits

    def count_missing(self, table: Any) -> dict[str, int]:
        """Return how many cells of each trait are missing."""
        counts = {trait.name: 0 for trait in self.traits}
        for part in read_tables(table):
            for trait in self.traits:
                columns = [c for c in trait.columns or (trait.name,) if c in part.columns]
                if columns:
                    cells = part.columns[columns[0]]
                    counts[trait.name] += sum(self.is_missing(cell_text(cell)) for cell in cells)
                elif not any(name in part.columns for name in trait.bit_names):
                    counts[trait.name] += part.n_rows
        return counts

    def _read_column(self, table: Any, name: str | None, what: str) -> list[str]:
        if name is None:
            raise SchemaError(f"schema {self.name!r} names no {what} column")
        texts: list[str] = []
        for part in read_tables(table):
            if name not in part.columns:
                raise TableError(f"{part.source} has no column {name!r} for the {what}")
            texts += [cell_text(value) for value in part.columns[name]]
        return texts

    def labels(self, table: Any) -> NDArray[Any]:
        """Return one label a row: 0 or 1 if the schema says which values are positive, else text.

        Raises:
            SchemaError: the schema has no label column.
            TableError: the table has not that column, or a label is missing.
        """
        texts = self._read_column(table, self.label, "label")
        for row, text in enumerate(texts):
            if self.is_missing(text):
                raise TableError(f"row {row} (the first is 0) has no label in {self.label!r}")
        if not self.positive:
            return np.array(texts)
        return np.isin(np.array(texts), self.positive).astype(np.int64)

    def group_ids(self, table: Any) -> NDArray[np.str_]:
        """Return one group a row, such as a patient id, for the sampler's `groups`.

        A row without one is a group of its own.

        Raises:
            SchemaError: the schema has no groups column.
            TableError: the table has not that column.
        """
        texts = self._read_column(table, self.groups, "groups")
        return np.array(
            [f"row {row}" if self.is_missing(text) else text for row, text in enumerate(texts)]
        )

    @classmethod
    def infer(
        cls,
        table: Any,
        *,
        label: str | None = None,
        groups: str | None = None,
        missing: str = "absent",
        max_options: int = 12,
        n_bins: int = 3,
        name: str = "inferred",
    ) -> "Schema":
        """Return a schema for any table; its `notes` say what was decided on each column, and why.

        Two values that mean yes and no become a flag, few distinct values become options, sets of
        few distinct words become words, other numbers are cut at quantiles. Constant columns,
        identifiers and free text are left out, and so are the label and the groups.

        Parameters:
            table: a pandas, polars or pyarrow table, a path, or a list of these.
            label, groups: columns with the outcome and, say, the patient; they never become bits.
            missing: see `Schema`.
            max_options: most distinct values of a column, or words of a set, that become options.
            n_bins: intervals for numbers, with about equally many rows in each.

        Raises:
            TableError: no such label or groups column, or no column that can become a trait.
        """
        columns: dict[str, list[str]] = {}
        n_rows = 0
        for part in read_tables(table):
            for column, values in part.columns.items():
                columns.setdefault(column, [""] * n_rows).extend(map(cell_text, values))
            n_rows += part.n_rows
            for texts in columns.values():
                texts += [""] * (n_rows - len(texts))
        for what, named in (("label", label), ("groups", groups)):
            if named is not None and named not in columns:
                raise TableError(f"there is no column {named!r} for the {what}: {list(columns)}")
        # What counts as missing does not depend on the traits.
        blank = cls(name, (Trait("", "flag"),), missing=missing)
        columns = {
            column: ["" if blank.is_missing(text) else text for text in texts]
            for column, texts in columns.items()
        }
        traits, notes = infer_traits(
            {c: texts for c, texts in columns.items() if c not in (label, groups)},
            max_options=max_options,
            n_bins=n_bins,
        )
        if label is not None:
            notes.append(f"{label}: left out, it is the label")
        if groups is not None:
            notes.append(f"{groups}: left out, it names the groups")
        if not traits:
            raise TableError("no column can become a trait:\n  " + "\n  ".join(notes))
        return cls(name, tuple(traits), missing, label=label, groups=groups, notes=tuple(notes))

    def save(self, path: str | Path) -> None:
        """Write the schema to `path` as readable JSON, atomically."""
        traits = []
        for trait in self.traits:
            values = asdict(trait)
            defaults = {f.name: f.default for f in fields(Trait)}
            traits.append({k: v for k, v in values.items() if v != defaults[k]})
        content = {"schema_version": SCHEMA_VERSION, **asdict(self), "traits": traits}
        text = json.dumps(content, indent=2, ensure_ascii=False)
        write_atomically(Path(path), [text.encode() + b"\n"])

    @classmethod
    def load(cls, path: str | Path) -> "Schema":
        """Return the schema saved at `path`.

        Raises:
            SchemaError: not JSON, another version, or not a schema; the message names the key.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise SchemaError(f"{path} is not JSON: {error}") from None
        if not isinstance(content, dict) or "traits" not in content:
            raise SchemaError(f"{path} is not a schema: it has no key 'traits'")
        version = content.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise SchemaError(
                f"{path} has version {version!r}; this release reads {SCHEMA_VERSION}"
            )
        traits = content.pop("traits")
        if not isinstance(traits, list):
            raise SchemaError(f"{path}: 'traits' must be a list; got {type(traits).__name__}")
        made = tuple(
            _from_json(Trait, trait, f"{path}, trait {i}") for i, trait in enumerate(traits)
        )
        schema: Schema = _from_json(cls, {**content, "traits": made}, str(path))
        return schema


# The JSON types of each key; a list stands for a tuple.
_TEXTS = ("a list of texts", lambda v: isinstance(v, list) and all(type(x) is str for x in v))
_TEXT = ("a text", lambda v: type(v) is str)
_OPTIONAL_TEXT = ("a text or null", lambda v: v is None or type(v) is str)
_JSON_TYPES: dict[str, Any] = {
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
    "optional": ("true or false", lambda v: type(v) is bool),
    "missing": _TEXT,
    "missing_values": _TEXTS,
    "label": _OPTIONAL_TEXT,
    "positive": _TEXTS,
    "groups": _OPTIONAL_TEXT,
    "notes": _TEXTS,
    "traits": ("", lambda v: True),
}


def _from_json(cls: Any, values: Any, where: str) -> Any:
    """Make a `Trait` or a `Schema` from decoded JSON, with an error that says where."""
    if not isinstance(values, dict):
        raise SchemaError(f"{where}: expected an object; got {type(values).__name__}")
    known = {f.name for f in fields(cls)}
    for key, value in values.items():
        if key not in known:
            raise SchemaError(f"{where}: unknown key {key!r}; the keys are {sorted(known)}")
        expected, fits = _JSON_TYPES[key]
        if not fits(value):
            raise SchemaError(f"{where}: {key!r} must be {expected}; got {value!r}")
    for key in {"name", "kind"} & known - set(values):
        raise SchemaError(f"{where}: the key {key!r} is missing")
    try:
        return cls(**values)
    except SchemaError as error:
        raise SchemaError(f"{where}: {error}") from None


def _one_of(name: str, options: Sequence[str], **settings: Any) -> Trait:
    return Trait(name, "one_of", tuple(options), **settings)


# Table I of the paper: 17 traits, 35 bits, options in its order.
MVKL = Schema(
    "MVKL",
    (
        _one_of("mass shape", ["irregular", "lobulated", "ovoid", "round"]),
        _one_of("mass edge", ["microlobulated", "obscured", "spiculated", "well-circumscribed"]),
        _one_of("mass density", ["low", "median", "high"]),
        _one_of("mass size", ["≤2cm", "2-5cm", ">5cm"]),
        _one_of(
            "calcification shape",
            [
                "branching",
                "crescentic/annular/gritty/thread-like",
                "granular/popcorn-like/large rod-like/eggshell-like",
            ],
        ),
        _one_of("calcification size", ["coarse", "tiny", "uneven"]),
        _one_of("calcification density", ["low", "high", "uneven"]),
        _one_of("calcification distribution", ["scattered", "clustered", "linear/segmental"]),
        *(
            Trait(name, "flag")
            for name in (
                "architectural distortion",
                "focal asymmetrical density",
                "duct sign",
                "comet tail sign",
                "halo sign",
                "focal skin thickening/retraction",
                "nipple retraction",
                "abnormal blood vessel shadow",
                "abnormal lymph node shadow",
            )
        ),
    ),
)

# The four public case-description tables of CBIS-DDSM (Lee et al. 2017), any subset of them. Mass
# tables have no calcification columns and the other way round. Two rows have breast density 0.
CBIS_DDSM = Schema(
    "CBIS-DDSM",
    (
        _one_of("breast density", "1234", columns=("breast_density", "breast density")),
        Trait(
            "mass shape",
            "any_of",
            (
                "ARCHITECTURAL_DISTORTION", "ASYMMETRIC_BREAST_TISSUE", "FOCAL_ASYMMETRIC_DENSITY",
                "IRREGULAR", "LOBULATED", "LYMPH_NODE", "OVAL", "ROUND",
            ),
            optional=True,
        ),
        Trait(
            "mass margins",
            "any_of",
            ("CIRCUMSCRIBED", "ILL_DEFINED", "MICROLOBULATED", "OBSCURED", "SPICULATED"),
            optional=True,
        ),
        Trait(
            "calc type",
            "any_of",
            (
                "AMORPHOUS", "COARSE", "DYSTROPHIC", "EGGSHELL", "FINE_LINEAR_BRANCHING",
                "LARGE_RODLIKE", "LUCENT_CENTER", "LUCENT_CENTERED", "MILK_OF_CALCIUM",
                "PLEOMORPHIC", "PUNCTATE", "ROUND_AND_REGULAR", "SKIN", "VASCULAR",
            ),
            optional=True,
        ),
        Trait(
            "calc distribution",
            "any_of",
            ("CLUSTERED", "DIFFUSELY_SCATTERED", "LINEAR", "REGIONAL", "SEGMENTAL"),
            optional=True,
        ),
    ),
    missing_values=("N/A", "NA", "0"),
    label="pathology",
    positive=("MALIGNANT",),
    groups="patient_id",
)  # fmt: skip

BUILT_IN = {"mvkl": MVKL, "cbis-ddsm": CBIS_DDSM}


def find_schema(name_or_path: str | Path) -> Schema:
    """Return a built-in schema by name, in any case, or the one saved at a path.

    Raises:
        SchemaError: neither such a name nor such a file.
    """
    if not isinstance(name_or_path, (str, Path)):
        raise InvalidTypeError(f"a schema's name or path is a text; got {name_or_path!r}")
    built_in = BUILT_IN.get(str(name_or_path).lower().replace("_", "-"))
    if built_in is not None:
        return built_in
    if not Path(name_or_path).is_file():
        raise SchemaError(
            f"{str(name_or_path)!r} is neither a built-in schema ({', '.join(BUILT_IN)}) nor a file"
        )
    return Schema.load(name_or_path)
