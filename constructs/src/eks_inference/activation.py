"""What wakes a model that has no replica."""

from dataclasses import dataclass
from typing import Self

from eks_inference._check import Problems

_CRON_FIELD = r"[\d*/,\-A-Za-z]+"
_CRON = rf"{_CRON_FIELD}( {_CRON_FIELD}){{4}}"


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
        """Keep ``replicas`` warm inside a window (business hours), none outside."""
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
        problems.matches(
            name,
            value,
            _CRON,
            rule="a cron expression with five fields",
            repair="for example '0 8 * * 1-5'",
        )
    if start == end:
        problems.add(f"'end' must differ from 'start', got {end!r} twice")
    problems.integer("replicas", replicas, minimum=1)
    return problems.messages
