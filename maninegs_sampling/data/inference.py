"""Inferring the traits of a table without a schema: one decision per column, with its reason."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from maninegs_sampling.data.bit_layout import Missing
from maninegs_sampling.data.cells import normal_form, number_text
from maninegs_sampling.data.column_names import identifies, names_outcome
from maninegs_sampling.data.tables import read_tables
from maninegs_sampling.data.traits import Trait
from maninegs_sampling.errors import InvalidValueError, TableError
from maninegs_sampling.quoting import listed, quoted

_YES_NO = [{"1", "0"}, {"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}]
_YES_NO += [{"present", "absent"}]
_SEPARATORS = ("|", ";", ",", "-")

_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?( ?[ap]m)?( ?(z|utc|[+-][0-9]{2}:?[0-9]{2}))?"
_DATE = (
    r"[0-9]{4}(?P<sign>[-/.])[0-9]{1,2}((?P=sign)[0-9]{1,2})?"
    r"|[0-9]{1,2}(?P<mark>[-/.])[0-9]{1,2}(?P=mark)([0-9]{2}|[0-9]{4})"
    r"|(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
    rf"|([0-9]{{1,2}}[-. ]+)?{_MONTH}[-, ]*([0-9]{{1,2}},? +)?[0-9]{{2,4}}"
)
_DURATION = r"(-?[0-9]+ days?,? ?)?[+-]?[0-9]+:[0-9]{2}:[0-9]{2}(\.[0-9]+)?|-?[0-9]+ days?"
_DATE_OR_TIME = re.compile(rf"({_DATE})([t ]+{_TIME})?|{_TIME}|{_DURATION}", re.I)
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]+(,[0-9]+)*")
_DIGITS_AND_SIGNS = re.compile(r"[0-9 ()+./#-]*[0-9][0-9 ()+./#-]*")

# Ages, sizes and scores stay within these limits; see `looks_like_ids`.
_MOST_MEASURED = 1000
_FIVE_DIGITS = 10_000
_MANY, _FILLED = 150, 0.9

_NAMED_LIKE_AN_IDENTIFIER = "left out, named like an identifier, a file, a date or a time"

_MISSING_NUMBERS = (-1, 9, 99, 999, 9999, -9, -99, -999, -9999)
_MISSING_WORDS = {
    "unknown", "unk", "missing", "none", "nil", "blank", "unspecified", "undetermined", "uncertain",
    "undefined", "unavailable", "n.a.", "n.d.", "nd", "n.k.", "nk", ".", "-", "--", "*", "#null!",
    "not recorded", "not known", "not available", "not applicable", "not reported", "not stated",
    "not specified", "not assessed", "not done", "no data", "no information", "no value",
}  # fmt: skip


class Rules(NamedTuple):
    """The arguments of `Schema.infer` that decide what a column becomes."""

    max_options: int
    n_bins: int
    missing: Missing
    label_column: str | None
    include: Collection[str]


class Texts(NamedTuple):
    """The distinct texts of a column, in order of appearance, and what is known of each."""

    counts: Counter[str]  # rows with each text; "" stands for all missing cells
    forms: dict[str, str]  # the normal form of each text that is not missing


def looks_like_ids(counts: Mapping[float, int]) -> str:
    """Return why integers look like identifiers, or "" if they do not.

    None of them is negative, and they number the rows without a gap, or are more than 1,000
    distinct ones, or more than 150 that fill nine tenths of their range, or all have five digits
    or more and do not all end in 0. Ages, sizes and scores do none of this.

    Args:
        counts: the values of a column, without missing ones, and the number of rows with each.

    Example:
        >>> looks_like_ids({10472.0: 2, 10533.0: 1, 11120.5: 1})
        ''
        >>> looks_like_ids({10472.0: 2, 10533.0: 1, 11121.0: 1})
        'numbers of five digits or more'
    """
    distinct = {int(value) for value in counts if value.is_integer()}
    if len(distinct) < len(counts) or min(counts) < 0:
        return ""
    span = max(distinct) - min(distinct) + 1
    if len(distinct) == sum(counts.values()) == span:
        return "it numbers the rows"
    if len(distinct) > _MOST_MEASURED:
        return f"{len(distinct)} distinct whole numbers"
    if len(distinct) > _MANY and len(distinct) >= _FILLED * span:
        return f"{len(distinct)} whole numbers nearly without a gap"
    if min(distinct) >= _FIVE_DIGITS and any(value % 10 for value in distinct):
        return "numbers of five digits or more"
    return ""


def _words(distinct: list[str], most: int) -> tuple[str, list[str]] | None:
    """Return the separator and the words if the distinct texts are sets of few words."""
    for separator in _SEPARATORS:
        if not any(separator in text for text in distinct):
            continue
        sets = [text.split(separator) for text in distinct]
        words = {normal_form(word): word.strip() for words in sets for word in words}
        # A vocabulary has words that recur across sets; free text and names have none. Digits
        # between dashes are a code or a telephone number.
        if (
            len(words) <= most
            and len(words) < len(distinct)
            and "" not in words
            and not (separator == "-" and any(word.isdigit() for word in words))
        ):
            return separator, sorted(words.values())
    return None


def _infer_trait(name: str, texts: Texts, rules: Rules) -> tuple[Trait | None, str]:
    """Return the trait that a column becomes, or None, and the reason."""
    counts = texts.counts
    first_spelling = {form: text for text, form in reversed(texts.forms.items())}
    distinct = list(first_spelling.values())
    if len(distinct) == 0:
        return None, "left out, every cell is missing"
    if len(distinct) == 1:
        return None, f"left out, constant ({quoted(distinct[0])})"
    if name not in rules.include and identifies(name, fractions=True):
        return None, _NAMED_LIKE_AN_IDENTIFIER
    number_of = {text: float(text) for text in texts.forms if number_text(text)}
    values = None
    if len(number_of) == len(texts.forms):
        values = Counter[float]()
        for text, value in number_of.items():
            values[value] += counts[text]
    if name not in rules.include:
        if identifies(name, fractions=not _whole(number_of.values())):
            return None, _NAMED_LIKE_AN_IDENTIFIER
        if _are_dates(distinct):
            return None, "left out, dates or times"
    if set(first_spelling) in _YES_NO:
        return Trait(name, "flag"), "yes or no: one bit" + _missing_off("no", counts, rules)
    if len(distinct) == 2:
        off, on = sorted(distinct, key=Decimal if values else normal_form)
        note = f"two values: one bit, set for {quoted(on)}"
        trait = Trait(name, "flag", (off, on))
        return trait, note + _missing_off(quoted(off), counts, rules)
    if len(distinct) <= rules.max_options:
        options = sorted(distinct, key=Decimal) if values else sorted(distinct)
        note = f"{len(options)} options"
        if values is not None:
            note += "; if the order of these numbers matters, ordered=True makes it count"
        return Trait(name, "one_of", tuple(options)), note
    if values is not None:
        return _infer_bins(name, values, rules)
    if _are_dates(distinct):
        return None, "left out, dates or times"
    return _infer_words(name, counts, distinct, number_of, rules)


def _are_dates(distinct: list[str]) -> bool:
    """Return whether nine tenths of the texts are dates or times."""
    others = 0
    for text in distinct:
        others += _DATE_OR_TIME.fullmatch(text) is None
        if len(distinct) - others < 0.9 * len(distinct):
            return False
    return True


def _missing_off(off: str, counts: Counter[str], rules: Rules) -> str:
    n_missing = counts[""]
    if not n_missing or rules.missing != "absent":
        return ""
    return f"; {n_missing} missing cells count as {off}"


def _infer_bins(name: str, counts: Counter[float], rules: Rules) -> tuple[Trait | None, str]:
    values = np.array(list(counts))
    if not np.isfinite(values).all():
        return None, "left out, it contains infinite numbers"
    why = looks_like_ids(counts)
    if why and name not in rules.include:
        return None, f"left out, {why}: an identifier? include= makes it a trait"
    of_rows = np.repeat(values, list(counts.values()))
    quantiles = np.quantile(of_rows, np.arange(1, rules.n_bins) / rules.n_bins)
    edges = [float(edge) for edge in np.unique(quantiles) if edge < values.max()]
    if not edges:
        return None, "left out, its quantiles coincide"
    cut = ", ".join(f"{edge:g}" for edge in edges)
    note = f"number, {len(edges) + 1} ordered bins cut at {cut}"
    if name not in rules.include and len(counts) > _MANY and _whole(counts):
        note += "; if it is an identifier, exclude= leaves it out"
    return Trait(name, "bins", edges=tuple(edges), ordered=True), note


def _whole(values: Iterable[float]) -> bool:
    return all(value.is_integer() for value in values)


def _infer_words(
    name: str,
    counts: Counter[str],
    distinct: list[str],
    number_of: Mapping[str, float],
    rules: Rules,
) -> tuple[Trait | None, str]:
    """Return what a column of many distinct texts becomes, and the reason."""
    no_numbers = [text for text in distinct if text not in number_of]
    if all(_COMMA_NUMBER.fullmatch(text) for text in no_numbers):
        commas = {text.count(",") for text in no_numbers}
        if commas == {1} or all(re.fullmatch(r"[0-9]+(,[0-9]{3})+", text) for text in no_numbers):
            return None, (
                f"left out, numbers with commas such as {quoted(no_numbers[0])}; if these are "
                "decimal commas, use read_table(path, decimal=',')"
            )
    n_present = counts.total() - counts[""]
    n_numbers = sum(counts[text] for text in number_of)
    if n_numbers >= 0.8 * n_present:
        return None, (
            f"left out, numbers except {listed(no_numbers)}; if these mean missing, "
            "pass them as missing_values="
        )
    found = _words(distinct, most=4 * rules.max_options)
    if found is not None:
        separator, words = found
        trait = Trait(name, "any_of", tuple(words), separator=separator)
        return trait, f"sets of {len(words)} words, separated by {separator!r}"
    if all(_DIGITS_AND_SIGNS.fullmatch(text) for text in distinct):
        return None, f"left out, codes or telephone numbers such as {quoted(distinct[0])}"
    if len(distinct) > n_present / 2:
        return None, f"left out, free text or an identifier ({len(distinct)} distinct values)"
    return None, (
        f"left out, {len(distinct)} distinct values are more than {rules.max_options} options"
    )


def _suspected_missing(trait: Trait, counts: Counter[str]) -> list[str]:
    """Return the values of a column that often stand for missing ones."""
    distinct = {text for text in counts if text}
    values = {text: float(text) for text in distinct if number_text(text)}
    rest = [value for value in values.values() if value not in _MISSING_NUMBERS]
    found = []
    if rest and min(rest) >= 0 and set(values.values()) != {-1, 1}:
        found = [
            text
            for text, value in values.items()
            if value in _MISSING_NUMBERS and (value < 0 or value > 2 * max(rest))
        ]
    words = distinct
    if trait.kind == "any_of":
        words = {word.strip() for text in distinct for word in text.split(trait.separator)}
    return sorted(found) + sorted(word for word in words if normal_form(word) in _MISSING_WORDS)


def _doubts(trait: Trait, counts: Counter[str], rules: Rules) -> str:
    """Return what to check in a column that becomes a trait."""
    doubts = ""
    suspected = _suspected_missing(trait, counts)
    if suspected:
        doubts += f"; if {listed(suspected)} mean missing, pass them as missing_values="
    if names_outcome(trait.name) and trait.name not in rules.include:
        way = "exclude="
        if rules.label_column is None:
            way = f"label_column={quoted(trait.name)}"
        doubts += f"; named like an outcome: {way} keeps it out of the bits"
    return doubts


def _count_texts(
    table: Any, missing_forms: Collection[str]
) -> tuple[dict[str, Texts], dict[str, str]]:
    """Return the texts of each column in all tables, and why columns are unreadable."""
    columns: dict[str, Texts] = {}
    unreadable: dict[str, str] = {}
    n_rows = 0
    for part in read_tables(table):
        for name in part.names:
            try:
                found = part.column(name).counts()
            except TableError as error:
                unreadable.setdefault(name, f"left out, {error}")
                continue
            counts, forms = columns.setdefault(name, Texts(Counter({"": n_rows}), {}))
            for text, count in found.items():
                if text not in forms:
                    form = normal_form(text)
                    if form in missing_forms:
                        counts[""] += count
                        continue
                    forms[text] = form
                counts[text] += count
        n_rows += part.n_rows
        for counts, _ in columns.values():
            counts[""] += n_rows - counts.total()
    return {c: texts for c, texts in columns.items() if c not in unreadable}, unreadable


def infer_table(
    table: Any, rules: Rules, roles: Mapping[str, str], *, missing_forms: Collection[str]
) -> tuple[tuple[Trait, ...], tuple[str, ...]]:
    """Return the traits of a table, and a note on every column.

    Args:
        table: the table; see `Schema.infer`.
        rules: what the caller decided.
        roles: the columns that never become traits, and what they are: "the label column", "the
            group column" or "excluded".
        missing_forms: the normal forms of the texts that count as missing.

    Raises:
        TableError: If a named column does not exist, no column can become a trait, or a column to
            include cannot.
        InvalidValueError: If a column to include has one of the roles.
    """
    columns, notes = _count_texts(table, missing_forms)
    for column in (*roles, *rules.include):
        if column not in columns and column not in notes:
            role = roles.get(column, "included")
            raise TableError(
                f"there is no column {quoted(column)}, which was to be {role}; "
                f"the columns are {listed([*columns, *notes])}"
            )
        if column in roles and column in rules.include:
            raise InvalidValueError(
                f"column {quoted(column)} cannot be included: it is {roles[column]}"
            )
    for column, role in roles.items():
        columns.pop(column, None)
        notes[column] = f"left out, it is {role}"
    traits, decided = [], {}
    for column, texts in columns.items():
        trait, reason = _infer_trait(column, texts, rules)
        if trait is not None:
            traits.append(trait)
            reason += _doubts(trait, texts.counts, rules)
        elif column in rules.include:
            raise TableError(f"column {quoted(column)} cannot be included: {reason}")
        decided[column] = reason
    for column in rules.include:
        if column in notes:
            raise TableError(f"column {quoted(column)} cannot be included: {notes[column]}")
    lines = tuple(f"{column}: {note}" for column, note in (decided | notes).items())
    if not traits:
        raise TableError("no column can become a trait:\n  " + "\n  ".join(lines))
    return tuple(traits), lines
