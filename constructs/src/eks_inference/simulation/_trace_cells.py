"""How the cells of recorded traces are read: times and numbers of tokens."""

import calendar
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from eks_inference.simulation.trace import MOST_TOKENS

_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""Units of an arrival, and how many of them are a second."""

_DATES = "timestamp"

_LATEST = 1e19
"""Latest time in any unit. Assumed: nanoseconds since 1970 are 1.8e18."""

_TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})[ T](\d{2}):(\d{2}):(\d{2}(?:\.\d+)?)"
    r"(?:Z|([+-])(\d{2}):?(\d{2}))?",
    re.ASCII,
)

UNITS = (*_UNITS, _DATES)
"""What an arrival can be in."""


def arrival_parser(unit: str) -> tuple[Callable[[Any], float], str]:
    """Return how an arrival is read, and the rule for it.

    Args:
        unit: One of ``UNITS``.
    """
    if unit == _DATES:
        return _seconds_of_timestamp, "a time such as '2023-11-16 18:15:46.68'"
    each = _UNITS[unit]

    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError
        number = float(value)
        if not 0 <= number <= _LATEST:
            raise ValueError
        return number / each

    return parse, f"a number of {unit}, at least 0"


def _seconds_of_timestamp(text: str) -> float:
    found = _TIMESTAMP.fullmatch(text.strip())
    if found is None:
        raise ValueError
    day, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    if hour > "23" or minute > "59" or second >= "61":
        raise ValueError
    time = _midnight(day) + int(hour) * 3600 + int(minute) * 60 + float(second)
    if sign:
        zone = (int(zone_hours) * 60 + int(zone_minutes)) * 60
        time += -zone if sign == "+" else zone
    return time


@lru_cache(maxsize=64)
def _midnight(day: str) -> int:
    year, month, date = map(int, day.split("-"))
    if not 1 <= date <= calendar.monthrange(year, month)[1]:
        raise ValueError
    return calendar.timegm((year, month, date, 0, 0, 0))


def tokens(value: object) -> int:
    """Return a number of tokens.

    Args:
        value: Text of a cell or value of JSON.

    Raises:
        ValueError: It is none.
        TypeError: It is neither text nor a number.
    """
    if isinstance(value, str):
        # pandas writes a column with gaps as '374.0'
        number = float(value) if "." in value else int(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    else:
        number = value
    if not 0 <= number <= MOST_TOKENS or number % 1:
        raise ValueError
    return int(number)
