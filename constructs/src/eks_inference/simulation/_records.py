"""Checks that every function of the simulation needs: records and times."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from eks_inference._check import Problems

Record = TypeVar("Record")

LONGEST_SECONDS = 2**31 - 1
"""Longest time that is accepted, in seconds: the largest ``int32``, which Kubernetes
keeps periods in (68 years)."""


def record(
    problems: Problems, name: str, value: object, kind: type[Record]
) -> Record | None:
    """Return a record, made from a mapping of its fields if it is not one already."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        problems.broken(f"'{name}' must be a {kind.__name__} or a mapping", value)
        return None
    known: dict[str, Any] = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    needed = [
        key
        for key, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING
    ]
    unknown = [key for key in value if key not in known]
    missing = [key for key in needed if key not in value]
    if unknown:
        problems.broken(f"'{name}' must only have {', '.join(known)}", unknown)
    if missing:
        problems.broken(f"'{name}' must have {', '.join(needed)}", sorted(value))
    if unknown or missing:
        return None
    return problems.attempt(lambda: kind(**value))


def records(
    problems: Problems, name: str, values: object, kind: type[Record]
) -> tuple[Record, ...]:
    """Return the records of a list or tuple; those with problems are left out."""
    if not problems.sequence(name, values):
        return ()
    assert isinstance(values, Iterable)
    made = (
        record(problems, f"{name}[{index}]", value, kind)
        for index, value in enumerate(values)
    )
    return tuple(item for item in made if item is not None)


def seconds(problems: Problems, name: str, value: object) -> bool:
    """Require a time in seconds that is not negative; say whether it is one."""
    return problems.number(name, value, minimum=0, maximum=LONGEST_SECONDS)
