"""Numbers as Go has them, which the autoscalers are written in.

Python raises where Go divides by zero, and its whole numbers have no end. A floating
point number that does not fit into a whole one gives a different result on each kind
of processor in Go (specification, "Conversions"). Here it ends at the nearest limit
and NaN is 0: so does arm64, and so do kubernetes/kubernetes#127050, #126979 and
#141397 for replica counts.
"""

import math

INT32_MAX = 2**31 - 1
"""Largest replica count that Kubernetes can hold."""

INT64_MAX = 2**63 - 1
"""Largest milli-value of a Kubernetes quantity."""


def divide(numerator: float, denominator: float) -> float:
    """Divide as IEEE 754 says: by zero gives an infinity or NaN."""
    top, bottom = float(numerator), float(denominator)
    if bottom:
        return top / bottom
    if not top or math.isnan(top) or math.isnan(bottom):
        return math.nan
    return math.copysign(math.inf, top) * math.copysign(1.0, bottom)


def power(base: float, exponent: float) -> float:
    """Raise to a power as IEEE 754 says, where Python would raise an error."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        odd = exponent.is_integer() and exponent % 2 == 1
        return -math.inf if base < 0 and odd else math.inf
    except ValueError:
        if base:
            return math.nan
        odd = exponent.is_integer() and exponent % 2 == 1
        return math.copysign(math.inf, base) if odd else math.inf


def quotient(numerator: int, denominator: int) -> int:
    """Divide whole numbers, towards zero."""
    result = abs(numerator) // abs(denominator)
    return result if (numerator < 0) == (denominator < 0) else -result


def remainder(numerator: int, denominator: int) -> int:
    """Return what is left of a division of whole numbers; its sign is the first's."""
    return numerator - denominator * quotient(numerator, denominator)


def wrap_int64(value: int) -> int:
    """Return the 64-bit number that a whole number becomes when it overflows."""
    return (value + 2**63) % 2**64 - 2**63


def truncate(value: float, *, largest: int) -> int:
    """Cut the fraction off, within the limits of a signed number.

    Args:
        value: Any floating point number.
        largest: ``INT32_MAX`` or ``INT64_MAX``.
    """
    if math.isnan(value):
        return 0
    return int(min(max(value, -largest - 1), largest))


def ceil_int32(value: float) -> int:
    """Round up to a replica count."""
    whole = math.ceil(value) if math.isfinite(value) else value
    return truncate(whole, largest=INT32_MAX)


def ceil_int64(value: float) -> int:
    """Round up to a milli-value."""
    whole = math.ceil(value) if math.isfinite(value) else value
    return truncate(whole, largest=INT64_MAX)
