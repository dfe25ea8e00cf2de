"""Quantities as Kubernetes writes them."""

import re

_UNITS = {
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}


def gib(quantity: str) -> float | None:
    """Return a size in GiB, or None: the schema judges its form.

    Args:
        quantity: Size, such as ``12Gi``.
    """
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)({'|'.join(_UNITS)})?", quantity)
    if match is None:
        return None
    return float(match[1]) * _UNITS.get(match[2], 1) / 2**30


def cpus(quantity: str) -> float | None:
    """Return a number of CPUs, or None: the schema judges its form.

    Args:
        quantity: CPUs, such as ``3`` or ``500m``.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", quantity)
    if match is None:
        return None
    return float(match[1]) / (1000 if match[2] else 1)
