"""The built-in schemas: MVKL and CBIS-DDSM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maninegs_sampling.data.schema import Schema
from maninegs_sampling.data.traits import Trait
from maninegs_sampling.errors import InvalidTypeError, SchemaError
from maninegs_sampling.quoting import quoted


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
# tables lack the calcification columns, and vice versa. Two rows have breast density 0.
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
    label_column="pathology",
    positive_labels=("MALIGNANT",),
    group_column="patient_id",
)  # fmt: skip

BUILT_IN = {"mvkl": MVKL, "cbis-ddsm": CBIS_DDSM}


def find_schema(name_or_path: str | Path) -> Schema:
    """Return a built-in schema by name, ignoring case, or the schema saved at a path.

    Args:
        name_or_path: "mvkl", "cbis-ddsm" or a path.

    Raises:
        SchemaError: If there is neither such a name nor such a file.
        InvalidTypeError: If it is neither a text nor a path.
    """
    if not isinstance(name_or_path, (str, Path)):
        raise InvalidTypeError(f"a schema's name or path is a text; got {quoted(name_or_path)}")
    built_in = BUILT_IN.get(str(name_or_path).lower().replace("_", "-"))
    if built_in is not None:
        return built_in
    if not Path(name_or_path).is_file():
        raise SchemaError(
            f"{quoted(str(name_or_path))} is neither a built-in schema ({', '.join(BUILT_IN)}) "
            "nor a file"
        )
    return Schema.load(name_or_path)
