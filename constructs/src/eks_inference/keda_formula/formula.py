"""The ``formula`` of KEDA's ``scalingModifiers``.

KEDA hands a formula to expr-lang/expr 1.17.8 with the triggers' names as variables of
type ``float``, wraps it in ``float(...)`` and evaluates it once with -1 for every
trigger when the ScaledObject is admitted (kedacore/keda
``apis/keda/v1alpha1/scaledobject_webhook.go``). What is read here:

* whole numbers (64 bits, they wrap) and floating point numbers, ``true``, ``false``,
  ``nil``, trigger names and lists;
* ``+ - * / % ** ^``, comparisons, also chained (``1 < a < 5``), ``and or not``,
  ``&& || !``, ``in``, ``not in``, ``? :`` and ``??``;
* ``abs ceil floor round int float len max min mean median``, and with a predicate like
  ``{# > 0}`` in which ``#`` is the item: ``count sum filter map any all none one``.

What surprises: ``%`` needs whole numbers, so no trigger can be on either side of it; a
condition must be a comparison, not a number; ``/`` always gives a floating point
number, an infinity or NaN by zero; ``1 + a ?? 5`` is ``1 + (a ?? 5)``; ``//`` starts a
comment, which swallows the bracket that KEDA adds.

Strings, maps, indices, ``|``, ``;``, ``..`` and ``let`` are refused here although KEDA
would take them: a formula of numbers needs none of them.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn

from eks_inference._check import ConfigurationError, Problems
from eks_inference.keda_formula.go import (
    INT64_MAX,
    divide,
    power,
    remainder,
    truncate,
    wrap_int64,
)
from eks_inference.keda_formula.parser import (
    PREDICATES,
    Binary,
    Call,
    Conditional,
    Item,
    ListOf,
    Literal,
    Name,
    Node,
    Unary,
    parse,
)
from eks_inference.keda_formula.types import Checker

_DUMMY = -1.0
"""Value of every trigger in the evaluation at admission. Source: ``dummyValue`` of
KEDA's webhook."""

Value = float | list["Value"] | None
"""What an expression gives; ``bool`` and ``int`` are among the ``float``."""


class Formula:
    """A formula that KEDA would admit.

    Args:
        text: The formula.
        triggers: Names of the triggers that it may use.

    Raises:
        ConfigurationError: The formula would be refused, or uses what is not read here.

    Example:
        ```python
        from eks_inference.keda_formula import Formula

        formula = Formula("running + waiting * 10", triggers=["running", "waiting"])
        assert formula.evaluate({"running": 25, "waiting": 3}) == 55
        ```
    """

    def __init__(self, text: str, *, triggers: Sequence[str]) -> None:
        with Problems("formula") as problems:
            problems.text("text", text)
            if problems.sequence("triggers", triggers):
                for index, name in enumerate(triggers):
                    problems.text(f"triggers[{index}]", name)
        self.text = text
        self.triggers = tuple(triggers)
        # the text is wrapped, not the tree: so does KEDA, whatever brackets it closes
        wrapped = text if text.startswith("float(") else f"float({text})"
        self._node = parse(wrapped)
        kind = Checker(self.triggers, self._fail).type_of(self._node)
        if kind not in ("int", "float", "any"):
            self._fail(f"must give a number, got {kind}")
        if self.evaluate(dict.fromkeys(self.triggers, _DUMMY)) is None:
            self._fail("must give a number when every trigger is -1, got nil")

    def evaluate(self, values: Mapping[str, float | None]) -> float | None:
        """Return the value of the formula, or None when it is ``nil``.

        Args:
            values: The value of each trigger, or None for ``nil``.

        Raises:
            ConfigurationError: A trigger has no value, or the values do not fit the
                formula, as ``nil`` in a sum.
        """
        with Problems(f"formula {self.text!r}") as problems:
            if problems.instance("values", values, Mapping):
                for name in self.triggers:
                    if name not in values:
                        problems.broken(f"'values' must have {name!r}", sorted(values))
                    elif values[name] is not None:
                        problems.number(
                            f"values[{name!r}]",
                            values[name],
                            minimum=-sys.float_info.max,
                            maximum=sys.float_info.max,
                        )
        known = {
            name: None if values[name] is None else float(values[name] or 0)
            for name in self.triggers
        }
        node = self._node
        evaluation = _Evaluation(known, self._fail)
        if isinstance(node, Call) and node.name == "float":
            # nil is KEDA's to replace (kedacore/keda#7790), not float's to refuse
            result = evaluation.value(node.arguments[0])
        else:
            result = evaluation.value(node)
        if result is None:
            return None
        if not _is_number(result):
            self._fail(f"must give a number, got {_shown(result)}")
        assert isinstance(result, int | float)
        return float(result)

    def _fail(self, rule: str) -> NoReturn:
        raise ConfigurationError([f"formula {self.text!r}: {rule}"])


class _Evaluation:
    def __init__(
        self, values: Mapping[str, float | None], fail: Callable[[str], NoReturn]
    ) -> None:
        self._values = values
        self._fail = fail
        self._items: list[Value] = []

    def value(self, node: Node) -> Value:  # noqa: PLR0911 - a case each
        match node:
            case Literal(literal):
                return literal
            case Name(name):
                return self._values[name]
            case Item():
                return self._items[-1]
            case ListOf(items):
                return [self.value(item) for item in items]
            case Unary(operator, operand):
                return self._unary(operator, self.value(operand))
            case Binary(operator, left, right):
                return self._binary(operator, left, right)
            case Conditional(condition, then, otherwise):
                chosen = self._flag("?", self.value(condition))
                return self.value(then if chosen else otherwise)
            case Call(name, arguments, predicate):
                values = [self.value(argument) for argument in arguments]
                if name in PREDICATES:
                    return self._predicate(name, values[0], predicate)
                return self._call(name, values)

    def _unary(self, operator: str, value: Value) -> Value:
        if operator in ("!", "not"):
            return not self._flag(operator, value)
        number = self._numbers(operator, value)[0]
        return number if operator == "+" else _fitted(-number)

    def _binary(self, operator: str, left: Node, right: Node) -> Value:
        first = self.value(left)
        if operator in ("and", "&&", "or", "||"):
            if self._flag(operator, first) is (operator in ("or", "||")):
                return first
            return self._flag(operator, self.value(right))
        if operator == "??":
            return self.value(right) if first is None else first
        second = self.value(right)
        if operator in ("==", "!="):
            return _equal(first, second) is (operator == "==")
        if operator == "in":
            items = [] if second is None else self._list(operator, second)
            return any(_equal(item, first) for item in items)
        return self._arithmetic(operator, first, second)

    def _arithmetic(self, operator: str, left: Value, right: Value) -> Value:
        a, b = self._numbers(operator, left, right)
        if operator != "%":
            return _ARITHMETIC[operator](a, b)
        if not isinstance(a, int) or not isinstance(b, int):
            self._fail("must only use '%' with whole numbers, got a float")
        if not b:
            self._fail("must not use '%' with 0 on its right")
        return remainder(a, b)

    def _call(self, name: str, values: list[Value]) -> Value:
        if name in ("max", "min"):
            return self._extreme(name, values)
        if name in ("mean", "median"):
            return _average(name, list(self._flat(name, values)))
        if name == "len":
            return len(self._list(name, values[0]))
        return _FUNCTIONS[name](self._numbers(name, values[0])[0])

    def _predicate(self, name: str, value: Value, predicate: Node | None) -> Value:
        items = self._list(name, value)
        results = [self._for_item(item, predicate) for item in items]
        if name == "map":
            return results
        if name == "sum":
            total: Value = 0
            for result in results:
                total = self._arithmetic("+", total, result)
            return total
        flags = [self._flag(name, result) for result in results]
        if name == "filter":
            return [item for item, flag in zip(items, flags, strict=True) if flag]
        count = sum(flags)
        outcome: dict[str, Value] = {
            "count": count,
            "any": count > 0,
            "all": count == len(flags),
            "none": count == 0,
            "one": count == 1,
        }
        return outcome[name]

    def _for_item(self, item: Value, predicate: Node | None) -> Value:
        if predicate is None:
            return item
        self._items.append(item)
        result = self.value(predicate)
        self._items.pop()
        return result

    def _extreme(self, name: str, values: list[Value]) -> Value:
        if len(values) == 1 and not isinstance(values[0], list):
            return values[0]
        best: float | None = None
        for value in self._flat(name, values):
            better = best is None or (best < value if name == "max" else best > value)
            if better:
                best = value
        return best

    def _flat(self, name: str, values: list[Value]) -> Iterator[float]:
        for value in values:
            if isinstance(value, list):
                if name in ("max", "min") and [] in value:
                    self._fail(f"must not give '{name}' a list that is empty")
                yield from self._flat(name, value)
            else:
                yield self._numbers(name, value)[0]

    def _numbers(self, operator: str, *values: Value) -> list[float]:
        if not all(map(_is_number, values)):
            shown = " and ".join(map(_shown, values))
            self._fail(f"must only use '{operator}' with numbers, got {shown}")
        return [value for value in values if isinstance(value, int | float)]

    def _flag(self, operator: str, value: Value) -> bool:
        if not isinstance(value, bool):
            self._fail(f"must give '{operator}' true or false, got {_shown(value)}")
        return value

    def _list(self, name: str, value: Value) -> list[Value]:
        if not isinstance(value, list):
            self._fail(f"must give '{name}' a list, got {_shown(value)}")
        return value


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Value) -> str:
    if value is None or isinstance(value, bool):
        return "nil" if value is None else str(value).lower()
    return repr(value)


def _equal(left: Value, right: Value) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if _is_number(left) and _is_number(right):
        return left == right
    return type(left) is type(right) and left == right


def _fitted(value: float) -> float:
    return wrap_int64(value) if isinstance(value, int) else value


def _rounded(value: float) -> float:
    if not math.isfinite(value):
        return value
    whole = math.trunc(value)
    return float(whole + math.copysign(abs(value - whole) >= 0.5, value))  # noqa: PLR2004


def _average(name: str, values: list[float]) -> float:
    if not values:
        return 0.0
    if name == "mean":
        total = 0.0
        for value in values:
            total += value
        return total / len(values)
    ordered = sorted(map(float, values))
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "abs": lambda a: _fitted(-a) if a < 0 else a,
    "ceil": lambda a: float(math.ceil(a)) if math.isfinite(a) else a,
    "floor": lambda a: float(math.floor(a)) if math.isfinite(a) else a,
    "round": _rounded,
    "float": float,
    "int": lambda a: a if isinstance(a, int) else truncate(a, largest=INT64_MAX),
}

_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: _fitted(a + b),
    "-": lambda a, b: _fitted(a - b),
    "*": lambda a, b: _fitted(a * b),
    "/": divide,
    "**": lambda a, b: power(float(a), float(b)),
    "^": lambda a, b: power(float(a), float(b)),
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}
