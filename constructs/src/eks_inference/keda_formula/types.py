"""Types of formulas: what expr-lang refuses before it evaluates anything.

Source: expr-lang/expr 1.17.8 ``checker/checker.go`` and ``builtin``. A type is ``int``,
``float``, ``bool``, ``nil``, ``any`` (known only later) or a list of one of them.
"""

from collections.abc import Callable, Collection
from typing import NoReturn

from eks_inference.keda_formula.parser import (
    Binary,
    Call,
    Conditional,
    Item,
    ListOf,
    Literal,
    Name,
    Node,
    Unary,
)

Type = str | tuple["Type"]
"""The name of a type, or a list of the one in the tuple."""

_NUMBERS = ("int", "float", "any")

_BOOLS = ("bool", "any")


class Checker:
    """Finds the type of a formula.

    Args:
        names: Triggers that the formula may use; all of them are ``float``.
        fail: Called with the rule that is broken; must raise.
    """

    def __init__(self, names: Collection[str], fail: Callable[[str], NoReturn]) -> None:
        self._names = names
        self._fail = fail
        self._items: list[Type] = []

    def type_of(self, node: Node) -> Type:  # noqa: C901, PLR0911 - a case each
        """Return the type of a node."""
        match node:
            case Literal(value):
                return _type_of_value(value)
            case Name(name):
                if name not in self._names:
                    known = ", ".join(self._names) or "none"
                    self._fail(f"must only use the triggers ({known}), got {name!r}")
                return "float"
            case Item():
                return self._items[-1]
            case ListOf(items):
                types = {self.type_of(item) for item in items}
                return (types.pop() if len(types) == 1 else "any",)
            case Unary(operator, operand):
                return self._unary(operator, self.type_of(operand))
            case Binary(operator, left, right):
                return self._binary(operator, self.type_of(left), self.type_of(right))
            case Conditional(condition, then, otherwise):
                if self.type_of(condition) not in _BOOLS:
                    self._fail("must have a comparison before '?'")
                return _either(self.type_of(then), self.type_of(otherwise))
            case Call(name, arguments, predicate):
                types_of = [self.type_of(argument) for argument in arguments]
                if name in _ONE or name in _MANY:
                    return self._call(name, types_of)
                return self._predicate(name, types_of[0], predicate)

    def _unary(self, operator: str, of: Type) -> Type:
        if operator in ("!", "not"):
            self._require(operator, _BOOLS, of)
            return "bool"
        self._require(operator, _NUMBERS, of)
        return of

    def _binary(self, operator: str, left: Type, right: Type) -> Type:
        if operator == "??":
            return _coalesced(left, right)
        if operator in ("/", "**", "^", "%"):
            whole = operator == "%"
            self._require(operator, ("int", "any") if whole else _NUMBERS, left, right)
            return "int" if whole else "float"
        if operator in ("+", "-", "*"):
            self._require(operator, _NUMBERS, left, right)
            if "any" in (left, right):
                return "any"
            return "int" if left == right == "int" else "float"
        self._condition(operator, left, right)
        return "bool"

    def _condition(self, operator: str, left: Type, right: Type) -> None:
        if operator in ("and", "&&", "or", "||"):
            self._require(operator, _BOOLS, left, right)
        elif operator in ("<", ">", "<=", ">="):
            self._require(operator, _NUMBERS, left, right)
        elif operator == "in":
            element = right[0] if isinstance(right, tuple) else "any"
            known = right == "any" or isinstance(right, tuple)
            if not known or not _comparable(left, element):
                self._mismatch(operator, left, right)
        elif not _comparable(left, right):
            self._mismatch(operator, left, right)

    def _call(self, name: str, arguments: list[Type]) -> Type:
        if name in _ONE and len(arguments) != 1:
            self._fail(f"must give '{name}' one argument, got {len(arguments)}")
        if not arguments:
            self._fail(f"must give '{name}' an argument")
        if name in _MANY:
            for argument in arguments:
                if argument == "any" or isinstance(argument, tuple):
                    return "any"
                self._require(name, _NUMBERS, argument)
            return arguments[0]
        if name == "len":
            if arguments[0] != "any" and not isinstance(arguments[0], tuple):
                self._fail(f"must give 'len' a list, got {_shown(arguments[0])}")
            return "int"
        self._require(name, _NUMBERS, arguments[0])
        return arguments[0] if name == "abs" else _ONE[name]

    def _predicate(self, name: str, collection: Type, predicate: Node | None) -> Type:
        if collection != "any" and not isinstance(collection, tuple):
            self._fail(f"must give '{name}' a list, got {_shown(collection)}")
        element = collection[0] if isinstance(collection, tuple) else "any"
        result = element
        if predicate is not None:
            self._items.append(element)
            result = self.type_of(predicate)
            self._items.pop()
            if name not in ("map", "sum") and result not in _BOOLS:
                self._fail(
                    f"must give '{name}' a predicate that is true or false, "
                    f"got {_shown(result)}"
                )
        if name == "sum":
            return result
        if name in ("map", "filter"):
            return (result if name == "map" else element,)
        return "int" if name == "count" else "bool"

    def _require(self, operator: str, allowed: Collection[str], *types: Type) -> None:
        if any(item not in allowed for item in types):
            self._mismatch(operator, *types)

    def _mismatch(self, operator: str, *types: Type) -> NoReturn:
        shown = " and ".join(_shown(item) for item in types)
        self._fail(f"must not use '{operator}' with {shown}")


_ONE = {
    "abs": "",
    "ceil": "float",
    "floor": "float",
    "round": "float",
    "len": "int",
} | {
    "float": "float",
    "int": "int",
}

_MANY = ("max", "min", "mean", "median")


def _type_of_value(value: object) -> Type:
    if value is None:
        return "nil"
    return type(value).__name__


def _comparable(left: Type, right: Type) -> bool:
    if {"any", "nil"} & {left, right}:
        return True
    if isinstance(left, tuple) or isinstance(right, tuple):
        return isinstance(left, tuple) and isinstance(right, tuple)
    return (left == "bool") == (right == "bool")


def _coalesced(left: Type, right: Type) -> Type:
    if "nil" in (left, right):
        return right if left == "nil" else left
    return left if left in ("any", right) else "any"


def _either(then: Type, otherwise: Type) -> Type:
    if "nil" in (then, otherwise):
        return otherwise if then == "nil" else then
    return then if then == otherwise else "any"


def _shown(item: Type) -> str:
    return item if isinstance(item, str) else f"a list of {_shown(item[0])}"
