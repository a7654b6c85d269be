"""Optional dependencies: what is installed, what is missing, and what is installed but broken."""

import sys

import pytest

from maninegs_sampling.errors import MissingExtraError
from maninegs_sampling.optional import require


def test_an_installed_module_is_returned():
    import scipy.stats

    assert require("scipy.stats", extra="table", what="this test") is scipy.stats


@pytest.mark.parametrize(
    ("module", "named"), [("polars", "polars"), ("sklearn.datasets", "scikit-learn")]
)
def test_a_missing_module_names_its_extra(monkeypatch, module, named):
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    with pytest.raises(MissingExtraError) as raised:
        require(module, extra="table", what="reading files")
    assert str(raised.value) == (
        f"reading files needs {named}: pip install 'maninegs-sampling[table]'"
    )


def test_a_module_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_extra.py").write_text("import a_module_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match="'a_module_that_is_missing'") as raised:
        require("broken_extra", extra="plot", what="drawing")
    assert "drawing needs broken_extra, which cannot be imported" in str(raised.value)
