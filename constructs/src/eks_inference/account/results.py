"""What a check of an account has found."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check has ended."""

    PASS = "pass"  # noqa: S105 - the opposite of 'fail'
    """The account has what the deployment needs."""
    WARN = "warn"
    """It will start, but not all of it; or the answer is not known."""
    FAIL = "fail"
    """The deployment will fail, or a pool will never have a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the answer.

    Args:
        name: What was looked at.
        status: How it ended.
        found: What was found, with the arithmetic.
        repair: What to do. Default: nothing.
    """

    name: str
    status: Status
    found: str
    repair: str = ""
