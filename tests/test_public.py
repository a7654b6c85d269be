"""The package as its users find it."""

import difflib
import importlib
import inspect
import pkgutil

import pytest

import maninegs_sampling as mn
from maninegs_sampling.errors import ManiNegError
from tests.signatures import FILE, lines_of, signatures, without_types

MODULES = [
    importlib.import_module(info.name)
    for info in pkgutil.walk_packages(mn.__path__, prefix="maninegs_sampling.")
]


def public_objects():
    for module in MODULES:
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_module_says_what_it_is(module):
    assert module.__doc__


@pytest.mark.parametrize(("name", "value"), list(public_objects()))
def test_every_public_name_is_documented(name, value):
    assert inspect.getdoc(value), name
    if inspect.isclass(value):
        for method_name, method in vars(value).items():
            if inspect.isfunction(method) and not method_name.startswith("_"):
                assert inspect.getdoc(method), f"{name}.{method_name}"


@pytest.mark.parametrize("name", mn.__all__)
def test_exported_names_exist_and_the_documented_ones_show_an_example(name):
    value = getattr(mn, name)
    if isinstance(value, mn.Schema) or (inspect.isclass(value) and issubclass(value, Exception)):
        return
    doc = inspect.getdoc(value)
    assert ">>>" in doc, f"{name} has no example"


def test_every_error_is_also_a_builtin_one():
    from maninegs_sampling import errors

    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, ManiNegError) and value is not ManiNegError:
            assert issubclass(value, (ValueError, TypeError, AttributeError, ImportError)), name


def test_public_signatures_are_those_on_file():
    expected = FILE.read_text(encoding="utf-8").splitlines(keepends=True)
    found = signatures().splitlines(keepends=True)
    if found != expected:
        diff = "".join(difflib.unified_diff(expected, found, FILE.name, "the package"))
        pytest.fail(
            f"public signatures differ:\n{diff}\nIf this is meant, run `python -m tests.signatures` "
            "and add a line to CHANGELOG.md.",
            pytrace=False,
        )


def test_signatures_show_what_a_user_may_write():
    def function(a, /, b: int, *, c: str = "x") -> None: ...

    assert without_types(function) == "(a, /, b, *, c='x')"
    assert lines_of("f", function) == ["f(a, /, b, *, c='x')"]
    assert [line.partition("(")[0] for line in lines_of("Trait", mn.Trait)] == [
        "Trait", "Trait.bit_names", "Trait.encode_text", "Trait.may_read", "Trait.n_bits", "Trait.option_names",
    ]  # fmt: skip
