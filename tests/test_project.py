"""The project's own files agree with each other."""

import os
import re
from importlib import metadata
from pathlib import Path

import pytest

import maninegs_sampling as mn

ROOT = Path(__file__).parents[1]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PINNED = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^;\s]+)", CONSTRAINTS, flags=re.M))


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def project_table():
    tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_requirement_is_pinned():
    project = project_table()
    extras = project["optional-dependencies"].values()
    named = {
        normal(re.match(r"[A-Za-z0-9_.-]+", requirement)[0])
        for requirement in [*project["dependencies"], *(r for extra in extras for r in extra)]
    } - {"maninegs-sampling"}
    assert len(named) > 25
    assert named - set(map(normal, PINNED)) == set()


def test_hooks_run_the_pinned_tools():
    """The hooks take the tools of the virtual environment, so that versions cannot differ."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (\S+)", hooks) == ["local"]
    assert set(re.findall(r"language: (\S+)", hooks)) == {"system"}


@pytest.mark.parametrize("tool", ["ruff", "mypy", "import-linter"])
def test_the_installed_tools_are_the_pinned_ones(tool):
    try:
        installed = metadata.version(tool)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{tool} comes with the extra dev")
    assert installed == PINNED[tool]


def test_the_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (\S+)$", citation, flags=re.M) == [mn.__version__]


def test_the_oldest_versions_are_the_lower_bounds():
    project = project_table()
    extras = project["optional-dependencies"]
    required = project["dependencies"] + [
        r for name in ("table", "plot", "soft-labels") for r in extras[name]
    ]
    bounds = dict(requirement.split(">=") for requirement in required)
    text = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8")
    oldest = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, flags=re.M))
    assert oldest.keys() == bounds.keys()
    for name, version in oldest.items():
        assert f"{version}.".startswith(f"{bounds[name]}."), name


def test_the_conda_recipe_agrees_with_the_project():
    yaml = pytest.importorskip("yaml", reason="pyyaml comes with the extra dev")
    recipe = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text(encoding="utf-8"))
    project = project_table()
    assert recipe["context"]["version"] == mn.__version__
    wanted = [f"python{project['requires-python']}", *project["dependencies"]]
    wanted = [requirement.replace("torch>", "pytorch>") for requirement in wanted]
    assert [r.replace(" ", "") for r in recipe["requirements"]["run"]] == wanted
    (script,) = project["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [" = ".join(script)]
    assert recipe["about"]["summary"] == project["description"]


def test_workflows_run_scripts_that_are_there():
    workflows = (ROOT / ".github/workflows").glob("*.yml")
    text = "".join(path.read_text(encoding="utf-8") for path in workflows)
    scripts = re.findall(r"run: (\S+)", text)
    assert set(scripts) == {".ci/build", ".ci/oldest", ".ci/run", ".ci/site"}
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)
