"""Whether a column's name looks like an identifier or like an outcome."""

import re

# Anywhere in a name: "patient_id", "id of lesion".
_ALWAYS = {"id", "ids", "uid", "uuid", "guid", "mrn", "identifier"}
# As the last word: "patient" and "study_date", but not "patient_age" or "age at study".
_LAST = {
    "patient", "patients", "case", "study", "subject", "participant", "accession", "record",
    "file", "files", "filename", "filepath", "path", "date", "datetime", "timestamp", "key",
}  # fmt: skip
# As the last word, unless the column has fractions: a body mass index of 24.3 is a measurement.
_LAST_OF_WHOLE = {"index", "idx", "time"}
# As the last word or two: "CaseNumber", "file name", "patientid".
_LAST_TWO = re.compile(
    r"(patient|participant|case|study|series|subject|image|exam|record|sample|lesion|accession|file)"
    r"(id|ids|uid|number|no|nr|num|date|time|path|name|key)"
)
_OUTCOME = {
    "outcome", "label", "labels", "target", "diagnosis", "malignant", "malignancy", "benign",
    "class", "severity", "pathology", "histology", "truth", "prognosis",
}  # fmt: skip


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case, split at punctuation, digits and inner capitals.

    Example:
        >>> words_of("PatientID"), words_of("study_date.2")
        (['patient', 'id'], ['study', 'date'])
    """
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+", name)]


def identifies(name: str, *, fractions: bool = False) -> bool:
    """Return whether a column is named like an identifier, a file, a date or a time.

    Args:
        name: name of the column.
        fractions: whether the column contains numbers that are not integers.

    Example:
        >>> [identifies(name) for name in ("PatientID", "study_date", "case no", "patient age")]
        [True, True, True, False]
    """
    words = words_of(name)
    if not name.strip() or name.lower().startswith("unnamed"):
        return True  # how pandas writes and reads its index
    if not words:
        return False
    last = words[-1]
    return (
        not _ALWAYS.isdisjoint(words)
        or last in _LAST
        or (last in _LAST_OF_WHOLE and not fractions)
        or any(map(_LAST_TWO.fullmatch, (last, "".join(words[-2:]))))
    )


def names_outcome(name: str) -> bool:
    """Return whether a column is named like what a task predicts.

    Example:
        >>> names_outcome("class_label"), names_outcome("shape")
        (True, False)
    """
    return not _OUTCOME.isdisjoint(words_of(name))
