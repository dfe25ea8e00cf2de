"""Checks of input that collect every problem, so that all are reported at once.

The form of a message is the same everywhere: the quoted name, the rule, the value
got, and the repair.
"""

import re
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Self, TypeVar

Value = TypeVar("Value")

_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

_TOKEN = "${Token["  # noqa: S105 - how CDK writes what it does not know yet

DNS_LABEL_LIMIT = 63
"""Longest DNS label (RFC 1123), and so the longest Kubernetes name that we derive."""


def is_token(value: str) -> bool:
    """Say whether a text stands for something that only a deployment knows."""
    return _TOKEN in value


class ConfigurationError(ValueError):
    """One or more values contradict a rule; nothing was defined.

    Args:
        problems: One message for each broken rule, never empty.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Problems:
    """Collects the problems of one input; raises them together when the block ends.

    Args:
        subject: What the values belong to, put in front of each message.
            Default: nothing.
    """

    def __init__(self, subject: str = "") -> None:
        self._prefix = f"{subject}: " if subject else ""
        self.messages: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self.messages:
            raise ConfigurationError(self.messages)

    def add(self, message: str) -> None:
        """Note a problem in the words of the caller."""
        self.messages.append(self._prefix + message)

    def broken(self, rule: str, value: object, repair: str = "") -> None:
        """Note that a value breaks a rule, and the repair where it is not plain."""
        self.add(f"{rule}, got {value!r}" + (f"; {repair}" if repair else ""))

    def attempt(self, make: Callable[[], Value]) -> Value | None:
        """Return what a constructor makes, or note its problems and return None."""
        try:
            return make()
        except ConfigurationError as error:
            self.messages += error.problems
            return None

    def include(self, messages: Iterable[str]) -> None:
        """Note the problems that a part has found in itself."""
        for message in messages:
            self.add(message)

    def integer(
        self,
        name: str,
        value: object,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        repair: str = "",
    ) -> bool:
        """Require a whole number within bounds; say whether it is one."""
        if isinstance(value, bool) or not isinstance(value, int):
            self.broken(f"'{name}' must be a whole number", value, repair)
            return False
        return self._within(name, value, minimum, maximum, repair)

    def number(
        self,
        name: str,
        value: object,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        repair: str = "",
    ) -> bool:
        """Require a number within bounds; say whether it is one."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.broken(f"'{name}' must be a number", value, repair)
            return False
        return self._within(name, value, minimum, maximum, repair)

    def text(self, name: str, value: object, *, repair: str = "") -> bool:
        """Require a text that is not empty; say whether it is one."""
        if not isinstance(value, str) or not value:
            self.broken(f"'{name}' must be a text that is not empty", value, repair)
            return False
        return True

    def flag(self, name: str, value: object) -> bool:
        """Require True or False; say whether it is one."""
        if not isinstance(value, bool):
            self.broken(f"'{name}' must be True or False", value, "")
            return False
        return True

    def matches(
        self, name: str, value: object, pattern: str, *, rule: str, repair: str = ""
    ) -> bool:
        """Require a text that a regular expression matches; say whether it does."""
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            self.broken(f"'{name}' must be {rule}", value, repair)
            return False
        return True

    def instance(self, name: str, value: object, kind: type) -> bool:
        """Require a value of one of our own classes; say whether it is one."""
        if not isinstance(value, kind):
            self.broken(f"'{name}' must be of class {kind.__name__}", value)
            return False
        return True

    def resource(self, name: str, value: object, attribute: str, *, kind: str) -> bool:
        """Require a construct or its stand-in by what is asked of it later."""
        if not hasattr(value, attribute):
            self.broken(f"'{name}' must be {kind}", value)
            return False
        return True

    def dns_label(
        self, name: str, value: object, *, limit: int = DNS_LABEL_LIMIT
    ) -> bool:
        """Require a Kubernetes name (DNS label); say whether it is one."""
        if (
            not isinstance(value, str)
            or not _DNS_LABEL.fullmatch(value)
            or len(value) > limit
        ):
            self.broken(
                f"'{name}' must be a DNS label of at most {limit} characters "
                "(a-z, 0-9 and '-', starting with a letter)",
                value,
                "",
            )
            return False
        return True

    def one_of(
        self, name: str, value: object, allowed: Collection[str], *, repair: str = ""
    ) -> bool:
        """Require one of the allowed texts; say whether it is one."""
        if value not in allowed:
            known = ", ".join(repr(item) for item in allowed)
            self.broken(f"'{name}' must be one of {known}", value, repair)
            return False
        return True

    def sequence(self, name: str, value: object) -> bool:
        """Require a list or tuple, which a text is not; say whether it is one."""
        if not isinstance(value, list | tuple):
            self.broken(
                f"'{name}' must be a list or tuple", value, "put it in brackets"
            )
            return False
        return True

    def not_empty(self, name: str, value: Collection[object], *, repair: str) -> bool:
        """Require at least one element; say whether there is one."""
        if not value:
            self.add(f"'{name}' must not be empty; {repair}")
            return False
        return True

    def unique(self, name: str, values: Iterable[str], *, repair: str) -> bool:
        """Require that no value stands twice; say whether that is so."""
        seen = list(values)
        texts = [value for value in seen if isinstance(value, str)]
        twice = sorted({value for value in texts if texts.count(value) > 1})
        for value in twice:
            self.add(f"'{name}' must not name anything twice, got {value!r}; {repair}")
        return not twice

    def _within(
        self,
        name: str,
        value: float,
        minimum: float | None,
        maximum: float | None,
        repair: str,
    ) -> bool:
        if minimum is not None and maximum is not None:
            if not minimum <= value <= maximum:
                self.broken(f"'{name}' must be {minimum} to {maximum}", value, repair)
                return False
        elif minimum is not None and not value >= minimum:
            self.broken(f"'{name}' must be at least {minimum}", value, repair)
            return False
        elif maximum is not None and not value <= maximum:
            self.broken(f"'{name}' must be at most {maximum}", value, repair)
            return False
        return True
