"""Reads formulas: text to a tree.

A Pratt parser for the part of expr-lang that scaling formulas use. Precedences, the
chained comparison and the rule about ``??`` are those of expr-lang/expr 1.17.8
(``parser/parser.go``, ``parser/operator/operator.go``).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from eks_inference._check import ConfigurationError
from eks_inference.keda_formula.go import INT64_MAX

PREDICATES = frozenset({"all", "any", "count", "filter", "map", "none", "one", "sum"})
"""Functions whose second argument is evaluated for each item, which is ``#``."""

FUNCTIONS = frozenset(
    {"abs", "ceil", "float", "floor", "int", "len", "max", "mean", "median", "min"}
    | {"round"}
)
"""Functions whose arguments are evaluated once."""

_UNARY = {"not": 50, "!": 50, "-": 90, "+": 90}

_BINARY = {
    "or": 10,
    "||": 10,
    "and": 15,
    "&&": 15,
    "==": 20,
    "!=": 20,
    "<": 20,
    ">": 20,
    "<=": 20,
    ">=": 20,
    "in": 20,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "**": 100,
    "^": 100,
    "??": 500,
}

_RIGHT = ("**", "^")

_COMPARISONS = ("<", ">", "<=", ">=")

_WORDS = {"true": True, "false": False, "nil": None}

_RESERVED = ("contains", "else", "endsWith", "if", "let", "matches", "startsWith")

_LONGEST_TOKENS = 400

_DEEPEST = 50

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<number>(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?[\d_]+)?)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>\*\*|&&|\|\||\?\?|==|!=|<=|>=|[-+*/%^<>!?:,()\[\]{}#])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, ``true``, ``false`` or ``nil``.

    Args:
        value: The value; None is ``nil``.
    """

    value: float | None


@dataclass(frozen=True, slots=True)
class Name:
    """The value of a trigger.

    Args:
        name: Name of the trigger.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """``#``: the item that a predicate is evaluated for."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values.

    Args:
        items: What is in the list.
    """

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """An operator before its operand.

    Args:
        operator: ``- + not !``.
        operand: What it is applied to.
    """

    operator: str
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between its operands.

    Args:
        operator: As it is written.
        left: What stands before it.
        right: What stands after it.
    """

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Conditional:
    """``condition ? then : otherwise``.

    Args:
        condition: What decides.
        then: Value if it is true.
        otherwise: Value if it is false.
    """

    condition: "Node"
    then: "Node"
    otherwise: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function.

    Args:
        name: Name of the function.
        arguments: What it is given.
        predicate: What is evaluated for each item. Default: nothing.
    """

    name: str
    arguments: tuple["Node", ...]
    predicate: "Node | None" = None


Node = Literal | Name | Item | ListOf | Unary | Binary | Conditional | Call


# each model reads its own formula a dozen times, and most models have the same
@lru_cache(maxsize=256)
def parse(text: str) -> Node:
    """Return the tree of a formula.

    Raises:
        ConfigurationError: The text is not a formula, or uses what is not read here.
    """
    parser = _Parser(text)
    node = parser.expression(0)
    if parser.token:
        parser.unexpected()
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self._depth = 0
        self._predicates = 0

    @property
    def token(self) -> str:
        """The token to read next, empty at the end."""
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def fail(self, rule: str) -> NoReturn:
        """Raise an error that shows the formula."""
        raise ConfigurationError([f"formula {self._text!r}: {rule}"])

    def unexpected(self) -> NoReturn:
        """Raise an error about the token to read next."""
        where = f"token {self.token!r}" if self.token else "end"
        known = ", ".join(sorted(FUNCTIONS | PREDICATES))
        self.fail(
            f"must be an expression of numbers, trigger names, lists, operators and "
            f"{known}, got an unexpected {where}"
        )

    def expression(self, precedence: int) -> Node:
        """Read an expression whose operators bind at least as strongly as given."""
        self._depth += 1
        if self._depth > _DEEPEST:
            self.fail(f"must not nest deeper than {_DEEPEST}; simplify it")
        node = self._primary()
        before = ""
        while True:
            operator, negated = self.token, False
            if operator == "not" and self._peek() == "in":
                operator, negated = "in", True
            elif operator == "not":
                self.unexpected()
            binds = _BINARY.get(operator, -1)
            if binds < precedence:
                break
            self._next += 2 if negated else 1
            if before == "??" != operator:
                self.fail(
                    f"must not mix '??' with '{operator}'; put one of them in brackets"
                )
            node = self._binary(node, operator, binds)
            if negated:
                node = Unary("not", node)
            before = operator
        while precedence == 0 and self._accept("?"):
            then = self.expression(0)
            self._expect(":")
            node = Conditional(node, then, self.expression(0))
        self._depth -= 1
        return node

    def _binary(self, left: Node, operator: str, binds: int) -> Node:
        if operator not in _COMPARISONS:
            tighter = 0 if operator in _RIGHT else 1
            return Binary(operator, left, self.expression(binds + tighter))
        right = self.expression(binds + 1)
        node: Node = Binary(operator, left, right)
        while self.token in _COMPARISONS:
            operator, left = self._take(), right
            right = self.expression(binds + 1)
            node = Binary("&&", node, Binary(operator, left, right))
        return node

    def _primary(self) -> Node:  # noqa: PLR0911 - one kind of word each
        word = self.token
        if word in _UNARY:
            self._next += 1
            return Unary(word, self.expression(_UNARY[word]))
        if self._accept("("):
            node = self.expression(0)
            self._expect(")")
            return node
        if word == "#" and self._predicates:
            self._next += 1
            return Item()
        if self._accept("["):
            return ListOf(self._arguments("]"))
        if word[:1].isdigit() or word[:1] == ".":
            return self._number()
        if word in _BINARY or word in _RESERVED or not _is_name(word):
            self.unexpected()
        self._next += 1
        if word in _WORDS:
            return Literal(_WORDS[word])
        return self._call(word) if self._accept("(") else Name(word)

    def _call(self, name: str) -> Node:
        if name in FUNCTIONS:
            return Call(name, self._arguments(")"))
        if name not in PREDICATES:
            known = ", ".join(sorted(FUNCTIONS | PREDICATES))
            self.fail(f"must only call {known}, got {name!r}")
        if self._at(")"):
            self.fail(f"must give '{name}' a list")
        collection = self.expression(0)
        predicate = None
        if self._accept(",") and not self._at(")"):
            predicate = self._predicate()
            self._accept(",")
        elif name not in ("count", "sum"):
            self.fail(f"must give '{name}' a predicate, for example {{# > 0}}")
        self._expect(")")
        return Call(name, (collection,), predicate)

    def _predicate(self) -> Node:
        self._predicates += 1
        braces = self._accept("{")
        node = self.expression(0)
        if braces:
            self._expect("}")
        self._predicates -= 1
        return node

    def _arguments(self, end: str) -> tuple[Node, ...]:
        nodes: list[Node] = []
        while not self._accept(end):
            if nodes:
                self._expect(",")
                if self._accept(end):
                    break
            nodes.append(self.expression(0))
        return tuple(nodes)

    def _number(self) -> Node:
        text = self._take().replace("_", "")
        if not text.isdigit():
            try:
                value = float(text)
            except ValueError:
                self.fail(f"must only have numbers like 5, 2.5 or 1e3, got {text!r}")
            if value == float("inf"):
                self.fail(f"must only have numbers that a float holds, got {text}")
            return Literal(value)
        if len(text) > len(str(INT64_MAX)) or int(text) > INT64_MAX:
            self.fail(f"must only have numbers up to {INT64_MAX}, got {text}")
        return Literal(int(text))

    def _split(self) -> list[str]:
        tokens: list[str] = []
        position = 0
        while position < len(self._text):
            match = _TOKEN.match(self._text, position)
            if not match:
                self.fail(f"must not have the character {self._text[position]!r}")
            position = match.end()
            if match.lastgroup == "space":
                continue
            tokens.append(match.group())
            if len(tokens) > _LONGEST_TOKENS:
                self.fail(f"must not have more than {_LONGEST_TOKENS} words and signs")
            follows = self._text[position : position + 1]
            if match.lastgroup == "number" and _is_name(follows):
                self.fail(f"must have a sign after {match.group()}, got {follows!r}")
            if match.group() == "?" and follows == ".":
                self.fail("must have a space between '?' and '.'")
        return tokens

    def _peek(self) -> str:
        after = self._next + 1
        return self._tokens[after] if after < len(self._tokens) else ""

    def _take(self) -> str:
        token = self.token
        self._next += 1
        return token

    def _at(self, token: str) -> bool:
        return self.token == token

    def _accept(self, token: str) -> bool:
        if not self._at(token):
            return False
        self._next += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            self.unexpected()


def _is_name(text: str) -> bool:
    return bool(text) and (text[0].isalpha() or text[0] == "_")
