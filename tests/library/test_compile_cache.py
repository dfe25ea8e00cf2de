"""Tests of where compiled kernels are kept."""

import pytest

from eks_inference import CompileCache
from tests.library.conftest import refusal


def test_off_names_no_claim() -> None:
    """Without a shared cache there is no claim."""
    assert CompileCache.off().claim_name is None


def test_shared_names_the_claim() -> None:
    """A shared cache is the claim that it is given."""
    assert CompileCache.shared("kernels").claim_name == "kernels"


@pytest.mark.parametrize("name", ["", "Kernels", "a/b", "k" * 64, 7])
def test_fails_when_the_claim_is_no_dns_label(name: str) -> None:
    """A claim that Kubernetes would refuse is refused."""
    assert refusal(lambda: CompileCache.shared(name)) == (
        "compile cache: 'claim_name' must be a DNS label of at most 63 characters "
        f"(a-z, 0-9 and '-', starting with a letter), got {name!r}"
    )
