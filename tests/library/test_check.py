"""Tests of the checks that collect every problem of an input."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference._check import (
    DNS_LABEL_LIMIT,
    ConfigurationError,
    Problems,
    is_token,
)
from tests.library.conftest import refusal

REFUSED: list[tuple[Callable[[Problems], bool], str]] = [
    (lambda p: p.integer("n", "4"), "'n' must be a whole number, got '4'"),
    (lambda p: p.integer("n", 4.0), "'n' must be a whole number, got 4.0"),
    (lambda p: p.integer("n", True), "'n' must be a whole number, got True"),
    (lambda p: p.integer("n", None), "'n' must be a whole number, got None"),
    (
        lambda p: p.integer("n", "4", repair="say 4"),
        "'n' must be a whole number, got '4'; say 4",
    ),
    (lambda p: p.integer("n", 0, minimum=1), "'n' must be at least 1, got 0"),
    (lambda p: p.integer("n", 9, maximum=8), "'n' must be at most 8, got 9"),
    (lambda p: p.integer("n", 0, minimum=1, maximum=8), "'n' must be 1 to 8, got 0"),
    (
        lambda p: p.integer("n", 9, minimum=1, maximum=8, repair="less"),
        "'n' must be 1 to 8, got 9; less",
    ),
    (lambda p: p.number("x", "0.5"), "'x' must be a number, got '0.5'"),
    (lambda p: p.number("x", True), "'x' must be a number, got True"),
    (lambda p: p.number("x", None), "'x' must be a number, got None"),
    (lambda p: p.number("x", 0.4, minimum=0.5), "'x' must be at least 0.5, got 0.4"),
    (lambda p: p.number("x", math.nan, minimum=0), "'x' must be at least 0, got nan"),
    (lambda p: p.number("x", math.nan, maximum=1), "'x' must be at most 1, got nan"),
    (
        lambda p: p.number("x", math.nan, minimum=0, maximum=1),
        "'x' must be 0 to 1, got nan",
    ),
    (
        lambda p: p.number("x", math.inf, minimum=0, maximum=1),
        "'x' must be 0 to 1, got inf",
    ),
    (lambda p: p.text("t", ""), "'t' must be a text that is not empty, got ''"),
    (lambda p: p.text("t", 1), "'t' must be a text that is not empty, got 1"),
    (
        lambda p: p.text("t", None, repair="say it"),
        "'t' must be a text that is not empty, got None; say it",
    ),
    (lambda p: p.flag("f", 1), "'f' must be True or False, got 1"),
    (lambda p: p.flag("f", "yes"), "'f' must be True or False, got 'yes'"),
    (
        lambda p: p.matches("m", "a", r"\d", rule="a digit"),
        "'m' must be a digit, got 'a'",
    ),
    (
        lambda p: p.matches("m", "1\n", r"\d", rule="a digit", repair="try 1"),
        "'m' must be a digit, got '1\\n'; try 1",
    ),
    (lambda p: p.matches("m", 1, r"\d", rule="a digit"), "'m' must be a digit, got 1"),
    (
        lambda p: p.one_of("o", "c", ("a", "b")),
        "'o' must be one of 'a', 'b', got 'c'",
    ),
    (
        lambda p: p.one_of("o", "c", ("a",), repair="take it"),
        "'o' must be one of 'a', got 'c'; take it",
    ),
    (
        lambda p: p.instance("i", "x", Problems),
        "'i' must be of class Problems, got 'x'",
    ),
    (
        lambda p: p.instance("i", None, Problems),
        "'i' must be of class Problems, got None",
    ),
    (
        lambda p: p.sequence("s", "ab"),
        "'s' must be a list or tuple, got 'ab'; put it in brackets",
    ),
    (
        lambda p: p.sequence("s", None),
        "'s' must be a list or tuple, got None; put it in brackets",
    ),
    (
        lambda p: p.not_empty("e", (), repair="pass one"),
        "'e' must not be empty; pass one",
    ),
]

BAD_LABELS: list[object] = [
    "",
    "A",
    "1a",
    "-a",
    "a-",
    "a_b",
    "a.b",
    "a b",
    "a\n",
    "ä",
    "a" * (DNS_LABEL_LIMIT + 1),
    None,
    7,
]


@pytest.mark.parametrize(
    ("check", "message"), REFUSED, ids=[message for _, message in REFUSED]
)
def test_fails_when_a_rule_is_broken(
    check: Callable[[Problems], bool], message: str
) -> None:
    """A broken rule gives one message with name, rule, value and repair."""
    problems = Problems()
    assert check(problems) is False
    assert problems.messages == [message]


@pytest.mark.parametrize("value", BAD_LABELS)
def test_fails_when_a_name_is_no_dns_label(value: object) -> None:
    """What Kubernetes refuses as a name is refused."""
    problems = Problems()
    assert problems.dns_label("name", value) is False
    assert problems.messages == [
        (
            "'name' must be a DNS label of at most 63 characters "
            f"(a-z, 0-9 and '-', starting with a letter), got {value!r}"
        )
    ]


@pytest.mark.parametrize("value", ["a", "a1", "a-b", "a--b", "a" * DNS_LABEL_LIMIT])
def test_accepts_dns_labels(value: str) -> None:
    """Every DNS label that starts with a letter is accepted up to the limit."""
    problems = Problems()
    assert problems.dns_label("name", value) is True
    assert problems.messages == []


def test_limits_a_dns_label_further() -> None:
    """A shorter limit than Kubernetes' own is enforced and named."""
    problems = Problems()
    assert problems.dns_label("name", "abcd", limit=4) is True
    assert problems.dns_label("name", "abcde", limit=4) is False
    assert "of at most 4 characters" in problems.messages[0]


@pytest.mark.parametrize(
    "check",
    [
        lambda p: p.integer("n", 1, minimum=1, maximum=1),
        lambda p: p.integer("n", -(10**30)),
        lambda p: p.number("x", 1, minimum=1),
        lambda p: p.number("x", 0.5, maximum=0.5),
        lambda p: p.text("t", "x"),
        lambda p: p.flag("f", False),
        lambda p: p.matches("m", "1", r"\d", rule="a digit"),
        lambda p: p.one_of("o", "a", ("a", "b")),
        lambda p: p.instance("i", p, Problems),
        lambda p: p.sequence("s", []),
        lambda p: p.sequence("s", ("a",)),
        lambda p: p.not_empty("e", [0], repair=""),
        lambda p: p.unique("u", ["a", "b"], repair=""),
    ],
)
def test_accepts_what_keeps_the_rules(check: Callable[[Problems], bool]) -> None:
    """A value that keeps a rule gives True and no message."""
    problems = Problems()
    assert check(problems) is True
    assert problems.messages == []


def test_names_each_repeated_value_once() -> None:
    """Repeated values are reported once each, in alphabetical order."""
    problems = Problems()
    repeated = ["b", "a", "b", "a", "b", "c"]
    assert problems.unique("u", repeated, repair="remove one") is False
    assert problems.messages == [
        "'u' must not name anything twice, got 'a'; remove one",
        "'u' must not name anything twice, got 'b'; remove one",
    ]


def test_raises_all_problems_together() -> None:
    """The end of the block raises one error with every message, after its subject."""

    def check() -> None:
        with Problems("thing 'x'") as problems:
            problems.integer("n", 0, minimum=1)
            problems.include(["part is wrong"])
            problems.add("whole is wrong")

    assert refusal(check).splitlines() == [
        "thing 'x': 'n' must be at least 1, got 0",
        "thing 'x': part is wrong",
        "thing 'x': whole is wrong",
    ]


def test_collects_the_problems_of_a_part() -> None:
    """A part that cannot be made adds its problems, and is None; others are kept."""

    def refuse() -> None:
        raise ConfigurationError(["part: is wrong", "part: is late"])

    problems = Problems("whole")
    assert problems.attempt(refuse) is None
    assert problems.attempt(lambda: 7) == 7
    assert problems.messages == ["part: is wrong", "part: is late"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("${Token[TOKEN.12]}", True), ("a-${Token[AWS.Region.4]}", True), ("$x", False)],
)
def test_recognizes_what_only_a_deployment_knows(value: str, expected: bool) -> None:
    """A text with one of CDK's tokens is told from one that is known now."""
    assert is_token(value) is expected


def test_raises_nothing_without_problems() -> None:
    """A block without problems ends quietly."""
    with Problems("thing") as problems:
        problems.integer("n", 1)


def test_lets_another_error_pass() -> None:
    """An error inside the block is not replaced by the problems found before it."""

    def check() -> None:
        with Problems() as problems:
            problems.add("found before")
            raise KeyError("x")

    with pytest.raises(KeyError):
        check()


def test_is_a_value_error() -> None:
    """A configuration error can be caught as the built-in ValueError."""
    error = ConfigurationError(iter(["a", "b"]))
    assert isinstance(error, ValueError)
    assert error.problems == ("a", "b")


@given(
    st.integers(-50, 50),
    st.none() | st.integers(-50, 50),
    st.none() | st.integers(-50, 50),
)
def test_bounds_agree_with_comparison(
    value: int, minimum: int | None, maximum: int | None
) -> None:
    """A whole number passes exactly when it lies within the bounds that are given."""
    within = (minimum is None or value >= minimum) and (
        maximum is None or value <= maximum
    )
    problems = Problems()
    assert problems.integer("n", value, minimum=minimum, maximum=maximum) is within
    assert len(problems.messages) == (0 if within else 1)


@given(st.floats(allow_nan=True), st.floats(-1, 1), st.floats(-1, 1))
def test_number_bounds_agree_with_comparison(
    value: float, minimum: float, maximum: float
) -> None:
    """A number passes exactly when both bounds hold, and so never when it is NaN."""
    problems = Problems()
    found = problems.number("x", value, minimum=minimum, maximum=maximum)
    assert found is (value >= minimum and value <= maximum)


@given(st.one_of(st.text(), st.none(), st.lists(st.integers()), st.complex_numbers()))
def test_never_takes_another_type_for_a_number(value: Any) -> None:
    """What is no number is refused by both number checks, whatever it holds."""
    problems = Problems()
    assert problems.integer("n", value) is False
    assert problems.number("x", value) is False
