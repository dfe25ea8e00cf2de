"""What wakes a model that has no replica."""

from dataclasses import dataclass
from typing import Self

from eks_inference._check import Problems

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN")
_MORE_MONTHS = ("JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

_CRON_FIELDS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, (*_MONTHS, *_MORE_MONTHS)),
    (0, 6, _DAYS),
)
"""Lowest value, highest value and names of minute, hour, day, month and weekday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A source outside the pods that keeps a model from staying at zero replicas.

    Use the factory.

    Args:
        timezone: IANA name of the time zone of ``start`` and ``end``.
        start: Begin of the window, as cron expression with five fields.
        end: End of the window, likewise.
        replicas: Replicas that the window keeps at least. Default: 1.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        QueueScaling(
            min_replicas=0,
            activation=Activation.schedule(
                timezone="Europe/Berlin", start="0 8 * * 1-5", end="0 19 * * 1-5"
            ),
        )
        ```
    """

    timezone: str
    start: str
    end: str
    replicas: int = 1

    def __post_init__(self) -> None:
        with Problems("activation") as problems:
            problems.include(
                activation_problems(
                    timezone=self.timezone,
                    start=self.start,
                    end=self.end,
                    replicas=self.replicas,
                )
            )

    @classmethod
    def schedule(
        cls, *, timezone: str, start: str, end: str, replicas: int = 1
    ) -> Self:
        """Keep ``replicas`` warm inside a window (business hours), none outside.

        Args:
            timezone: IANA name of the time zone.
            start: Begin of the window, as cron expression with five fields.
            end: End of the window, likewise.
            replicas: Replicas that the window keeps at least. Default: 1.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        return cls(timezone=timezone, start=start, end=end, replicas=replicas)


def activation_problems(
    *, timezone: object, start: object, end: object, replicas: object
) -> list[str]:
    """Return what is wrong with a window; see ``Activation`` for the meaning."""
    problems = Problems()
    problems.matches(
        "timezone",
        timezone,
        r"[A-Za-z_]+(/[A-Za-z0-9_+\-]+)*",
        rule="the IANA name of a time zone",
        repair="for example 'Europe/Berlin'",
    )
    for name, value in (("start", start), ("end", end)):
        if not _is_cron(value):
            problems.broken(
                f"'{name}' must be a cron expression with five fields",
                value,
                "for example '0 8 * * 1-5'",
            )
    if start == end:
        problems.add(f"'end' must differ from 'start', got {end!r} twice")
    problems.integer("replicas", replicas, minimum=1)
    return problems.messages


def _is_cron(value: object) -> bool:
    fields = value.split(" ") if isinstance(value, str) else []
    return len(fields) == len(_CRON_FIELDS) and all(
        _is_cron_part(part, *bounds)
        for field, bounds in zip(fields, _CRON_FIELDS, strict=True)
        for part in field.split(",")
    )


def _is_cron_part(part: str, lowest: int, highest: int, names: tuple[str, ...]) -> bool:
    span, _, step = part.partition("/")
    if step and not (step.isascii() and step.isdigit() and int(step) > 0):
        return False
    if span == "*":
        return not part.endswith("/")
    ends = span.split("-")
    numbers = [
        names.index(end.upper()) + lowest
        if end.upper() in names
        else int(end)
        if end.isascii() and end.isdigit()
        else -1
        for end in ends
    ]
    return (
        len(ends) <= 2  # noqa: PLR2004 - a range has two ends
        and not part.endswith("/")
        and numbers == sorted(numbers)
        and all(lowest <= number <= highest for number in numbers)
    )
