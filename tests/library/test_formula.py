"""Tests of the formulas that KEDA hands to expr-lang."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference._check import ConfigurationError
from eks_inference.keda_formula.formula import Formula

VALUES = {"a": 3.0, "b": -2.5, "zero": 0.0}


def value(text: str, **values: float | None) -> float | None:
    """Return the value of a formula."""
    known = values or VALUES
    return Formula(text, triggers=list(known)).evaluate(known)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * 10", -22),
        ("(a + b) * 10", 5),
        ("-2 ** 2", -4),
        ("2 ** 3 ** 2", 512),
        ("2 ^ -1", 0.5),
        ("- -a", 3),
        ("5--3", 8),
        ("7 / 2", 3.5),
        ("-7 % 3", -1),
        ("7 % -3", 1),
        ("a > 1 ? 1 : b > 1 ? 2 : 3", 1),
        ("float(a < 5 ? a + b : 5)", 0.5),
        ("a", 3),
        ("1_000 + .5 + 5. + 1e3", 2005.5),
        ("9223372036854775807 + 1 < 0 ? 1 : 2", 1),
        ("count([a, b], {# > 1}) > 1 ? 5 : 0", 0),
        ("count([a, b], # > 1)", 1),
        ("count([a > 1, b > 1])", 1),
        ("count([1, 2, 3], {# % 2 == 1})", 2),
        ("sum([a, b])", 0.5),
        ("sum([a, b], # * 2)", 1),
        ("sum([])", 0),
        ("sum(map(filter([a, b, 1], # > 0), {# + 1}))", 6),
        ("max(a, b, 1)", 3),
        ("max([a, b], 4)", 4),
        ("min([[a], [b, 1]])", -2.5),
        ("mean(a, b)", 0.25),
        ("mean([])", 0),
        ("median([3, 1, 2])", 2),
        ("median(1, 2, 3, 4)", 2.5),
        ("len([a, b])", 2),
        ("abs(b)", 2.5),
        ("ceil(a / 2) + floor(b)", -1),
        ("round(2.5)", 3),
        ("round(-2.5)", -3),
        ("round(0.49999999999999994)", 0),
        ("int(-2.7)", -2),
        ("a in [1, 3] ? 1 : 0", 1),
        ("a not in [1] && not (b in []) ? 1 : 0", 1),
        ("any([a], # > 1) and all([a, b], # > -9) && none([], #) ? 1 : 0", 1),
        ("one([a, b], # > 1) or false ? 1 : 0", 1),
        ("1 < a < 5 ? 1 : 0", 1),
        ("1 < a > 3 ? 1 : 0", 0),
        ("!(a == 3) || a != 3.0 ? 1 : 0", 0),
        ("a == nil ? 1 : 0", 0),
        ("[1, 2] == [1.0, 2] ? 1 : 0", 1),
        ("nil ?? 5", 5),
        ("a ?? 5", 3),
        ("1 + a ?? 5", 4),
        ("(a ?? 5) + 1", 4),
        ("a ?? b ?? 1", 3),
        ("float(a) // 2", 3),
        ("a /* two */ + 1", 4),
        ("a) + (b", 0.5),
    ],
)
def test_formulas(text: str, expected: float) -> None:
    """Formulas give what expr-lang 1.17.8 gives."""
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a / zero", math.inf),
        ("b / zero", -math.inf),
        ("7 / 0", math.inf),
        ("10.0 ** 400", math.inf),
        ("(-10.0) ** 401", -math.inf),
        ("0 ** -1", math.inf),
        ("abs(b / zero)", math.inf),
        ("ceil(a / zero)", math.inf),
        ("round(a / zero)", math.inf),
    ],
)
def test_infinities(text: str, expected: float) -> None:
    """A division by zero is an infinity, not an error."""
    assert value(text) == expected


@pytest.mark.parametrize("text", ["zero / zero", "(-8) ** (1 / 3)", "a / zero * zero"])
def test_not_a_number(text: str) -> None:
    """What has no value is NaN, not an error."""
    result = value(text)
    assert result is not None
    assert math.isnan(result)


def test_nil_routes_round_a_trigger() -> None:
    """With ``??`` the next trigger counts, and what is nil at the end is None."""
    formula = Formula("fast ?? slow", triggers=["fast", "slow"])
    assert formula.evaluate({"fast": 7, "slow": 8}) == 7
    assert formula.evaluate({"fast": None, "slow": 8}) == 8
    assert formula.evaluate({"fast": None, "slow": None}) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "formula: 'text' must be a text that is not empty, got ''"),
        ("c", "must only use the triggers (a, b, zero), got 'c'"),
        ("true or c > 1 ? 1 : 2", "must only use the triggers (a, b, zero), got 'c'"),
        ("a % 2", "must not use '%' with float and int"),
        ("7 % 0", "must not use '%' with 0 on its right"),
        ("sum([1, a]) % 2", "must only use '%' with whole numbers, got a float"),
        ("a and b", "must not use 'and' with float and float"),
        ("!a > 1", "must not use '!' with float"),
        ("a ? 1 : 2", "must have a comparison before '?'"),
        ("a > 1", "must not use 'float' with bool"),
        ("float(a) > 1", "must give a number, got bool"),
        ("[a]", "must not use 'float' with a list of float"),
        ("a == true", "must not use '==' with float and bool"),
        ("a in [true]", "must not use 'in' with float and a list of bool"),
        ("a in a", "must not use 'in' with float and float"),
        ("1 + nil", "must not use '+' with int and nil"),
        ("nil", "must not use 'float' with nil"),
        ("a > 1 ? 1 : nil", "must give a number when every trigger is -1, got nil"),
        ("a ?? 5 + 1", "must not mix '??' with '+'; put one of them in brackets"),
        ("sum(a)", "must give 'sum' a list, got float"),
        ("len(a)", "must give 'len' a list, got float"),
        ("len([1], [2])", "must give 'len' one argument, got 2"),
        ("max()", "must give 'max' an argument"),
        ("max(a, true)", "must not use 'max' with bool"),
        ("max([true], 1)", "must only use 'max' with numbers, got true"),
        ("max([[], 1])", "must not give 'max' a list that is empty"),
        ("sum([true, 1])", "must only use '+' with numbers, got 0 and true"),
        ("mean([nil])", "must only use 'mean' with numbers, got nil"),
        ("count([1])", "must give 'count' true or false, got 1"),
        ("any([a], #)", "must give 'any' a predicate that is true or false, got float"),
        ("any([a])", "must give 'any' a predicate, for example {# > 0}"),
        ("count()", "must give 'count' a list"),
        ("pow(a)", "must only call abs, "),
        ("# > 1 ? 1 : 2", "got an unexpected token '#'"),
        ("a +", "got an unexpected token ')'"),
        ("(a", "got an unexpected end"),
        ("a // 2", "got an unexpected end"),
        ("a b", "got an unexpected token 'b'"),
        ("a not b", "got an unexpected token 'not'"),
        ("a ? b", "got an unexpected token ')'"),
        ("[,]", "got an unexpected token ','"),
        ("let", "got an unexpected token 'let'"),
        ("a = 1", "must not have the character '='"),
        ("'a'", 'must not have the character "\'"'),
        ("5a", "must have a sign after 5, got 'a'"),
        ("1e", "must have a sign after 1, got 'e'"),
        ("a > 1 ?.5 : 1", "must have a space between '?' and '.'"),
        ("1e400", "must only have numbers that a float holds, got 1e400"),
        ("9223372036854775808", "must only have numbers up to 9223372036854775807"),
        ("(" * 60 + "a" + ")" * 60, "must not nest deeper than 50; simplify it"),
        ("+".join(["a"] * 300), "must not have more than 400 words and signs"),
    ],
)
def test_fails_with_what_keda_would_refuse(text: str, rule: str) -> None:
    """A formula that KEDA refuses, or that is not read here, names what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        value(text)
    assert rule in str(caught.value)


def test_fails_with_nil_in_a_sum() -> None:
    """A trigger that failed may only stand beside ``??``."""
    formula = Formula("a + b", triggers=["a", "b"])
    with pytest.raises(ConfigurationError, match="must only use '\\+' with numbers"):
        formula.evaluate({"a": 1, "b": None})


def test_fails_with_wrong_values() -> None:
    """Each trigger needs a value that is a number or None."""
    formula = Formula("a + b", triggers=["a", "b"])
    with pytest.raises(ConfigurationError) as caught:
        formula.evaluate({"a": "1"})  # type: ignore[dict-item]
    assert caught.value.problems == (
        "formula 'a + b': 'values[\\'a\\']' must be a number, got '1'".replace(
            "\\", ""
        ),
        "formula 'a + b': 'values' must have 'b', got ['a']",
    )


Pair = tuple[str, float]
NUMBERS = st.one_of(
    st.integers(0, 50).map(lambda n: (str(n), float(n))),
    st.integers(0, 400).map(lambda n: (str(n / 8), n / 8)),
    st.sampled_from(sorted(VALUES)).map(lambda name: (name, VALUES[name])),
)


def grown(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    """Return larger expressions, and their value as Python computes it."""
    both = st.tuples(inner, inner)
    return st.one_of(
        both.map(lambda p: (f"({p[0][0]} + {p[1][0]})", p[0][1] + p[1][1])),
        both.map(lambda p: (f"({p[0][0]} - {p[1][0]})", p[0][1] - p[1][1])),
        both.map(lambda p: (f"({p[0][0]} * {p[1][0]})", p[0][1] * p[1][1])),
        both.map(lambda p: (f"max({p[0][0]}, {p[1][0]})", max(p[0][1], p[1][1]))),
        both.map(lambda p: (f"min([{p[0][0]}, {p[1][0]}])", min(p[0][1], p[1][1]))),
        both.map(lambda p: (f"sum([{p[0][0]}, {p[1][0]}])", p[0][1] + p[1][1])),
        both.map(
            lambda p: (f"mean({p[0][0]}, {p[1][0]})", (p[0][1] + p[1][1]) / 2),
        ),
        st.tuples(inner, inner, inner, inner).map(
            lambda p: (
                f"({p[0][0]} < {p[1][0]} ? {p[2][0]} : {p[3][0]})",
                p[2][1] if p[0][1] < p[1][1] else p[3][1],
            )
        ),
        inner.map(lambda p: (f"-{p[0]}", -p[1])),
        inner.map(lambda p: (f"abs({p[0]})", abs(p[1]))),
        inner.map(lambda p: (f"floor({p[0]} / 4)", float(math.floor(p[1] / 4)))),
        inner.map(lambda p: (f"({p[0]} ?? 1)", p[1])),
    )


@given(pair=st.recursive(NUMBERS, grown, max_leaves=12))
def test_random_expressions(pair: Pair) -> None:
    """Random expressions give what Python computes for them."""
    text, expected = pair
    assert value(text) == pytest.approx(expected, rel=1e-12)


SIGNS = ["a", "b", "zero", "1", "2.5", "(", ")", "[", "]", "{", "}", ",", "#", "?", ":"]
SIGNS += [
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "??",
    "<",
    ">=",
    "==",
    "in",
    "not",
    "and",
    "||",
]
SIGNS += ["nil", "true", "max", "sum", "count", "map", "len", "float", "let", "'", "é"]


@given(words=st.lists(st.sampled_from(SIGNS), max_size=15), text=st.text(max_size=20))
def test_nothing_but_configuration_errors(words: list[str], text: str) -> None:
    """Whatever the text is, it has a value or a problem is named."""
    for formula in (" ".join(words), "".join(words), text):
        try:
            result: Any = value(formula)
        except ConfigurationError:
            continue
        assert isinstance(result, float)
