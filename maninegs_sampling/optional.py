"""Imports of optional dependencies, each of which belongs to an extra of this package."""

import importlib
from typing import Any

from maninegs_sampling.errors import MissingExtraError

# Distributions that are not called what is imported from them.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "faiss": "faiss-cpu"}


def require(module: str, *, extra: str, what: str) -> Any:
    """Return an optional module, imported now.

    Args:
        module: The module's full name, such as "polars" or "sklearn.datasets".
        extra: The extra of this package that installs it.
        what: What needs the module, as the subject of the error's sentence.

    Raises:
        MissingExtraError: If the module is not installed or cannot be imported. The message names
            the extra.

    Example:
        >>> require("json", extra="table", what="reading files").dumps([1])
        '[1]'
    """
    package = module.partition(".")[0]
    distribution = _DISTRIBUTIONS.get(package, package)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        install = f"pip install 'maninegs-sampling[{extra}]'"
        missing = isinstance(error, ModuleNotFoundError) and error.name in (package, module)
        reason = "" if missing else f", which cannot be imported ({error})"
        raise MissingExtraError(f"{what} needs {distribution}{reason}: {install}") from error
