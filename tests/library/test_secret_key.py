"""Tests of a value in a Secret."""

from collections.abc import Mapping
from typing import Any

from eks_inference import SecretKey
from tests.library.conftest import BadInputs, bad_inputs, refusal

NAME = (
    "secret: 'secret_name' must be the name of a Secret, got {!r}; for example "
    "'mistral-7b-clients'"
)

BAD: BadInputs = [
    ({"secret_name": ""}, NAME.format("")),
    ({"secret_name": None}, NAME.format(None)),
    ({"secret_name": "Clients"}, NAME.format("Clients")),
    (
        {"key": "a b"},
        "secret: 'key' must be a key of a Secret, got 'a b'; for example 'api-key'",
    ),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value of a reference is refused with its whole message."""
    values = {"secret_name": "clients", **changes}
    assert refusal(lambda: SecretKey(**values)) == message


def test_key_has_a_usual_name() -> None:
    """Without a key the one that is called 'api-key' is meant."""
    assert SecretKey("clients").key == "api-key"
