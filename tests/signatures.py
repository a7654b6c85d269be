"""The signatures of all public names as text: python -m tests.signatures rewrites the file."""

import inspect
from pathlib import Path

import maninegs_sampling as mn

FILE = Path(__file__).with_name("public_signatures.txt")


def without_types(function) -> str:
    """Return a signature's names, kinds and defaults; mypy checks the types."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls")
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def lines_of(name: str, value: object) -> list[str]:
    """Return a line for a function or a constant; for a class also one for each public member."""
    if inspect.isfunction(value):
        return [name + without_types(value)]
    if not inspect.isclass(value):
        return [f"{name}: {type(value).__name__}"]
    if issubclass(value, Exception):
        return [name]
    lines = [name + without_types(value.__init__)]
    members = {member: where for where in value.__mro__[::-1] for member in vars(where)}
    for member, where in sorted(members.items()):
        is_field = member in getattr(value, "__dataclass_fields__", ())  # in the signature already
        own = where.__module__.startswith("maninegs_sampling")
        if is_field or not own or member.startswith("_"):
            continue
        attribute = getattr(value, member)
        is_method = inspect.isfunction(attribute) or inspect.ismethod(attribute)
        lines.append(f"{name}.{member}" + (without_types(attribute) if is_method else ""))
    return lines


def signatures() -> str:
    lines = [line for name in mn.__all__ for line in lines_of(name, getattr(mn, name))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(signatures(), encoding="utf-8")
