"""Tests of what the name of an image says."""

import pytest

from eks_inference.image import vllm_version

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
AWS = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/vllm"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.33.0", "0.33.0"),
        ("vllm/vllm-openai:0.31.0", "0.31.0"),
        ("vllm/vllm-openai:v0.10.1.1", "0.10.1"),
        ("vllm/vllm-openai:0.31.0.post1", "0.31.0"),
        ("vllm/vllm-openai:v0.31.0-cu130", "0.31.0"),
        (f"{AWS}:0.31.0-gpu-py312-cu130-ubuntu22.04-ec2", "0.31.0"),
        (f"{AWS}:0.31.0-gpu-py312@{DIGEST}", "0.31.0"),
        ("registry.example.com:5000/team/vllm:0.31.0", "0.31.0"),
        ("localhost:5000/vllm:v0.9.2", "0.9.2"),
        ("registry.example.com:5000/team/vllm", None),
        ("1.2.3.4:5000/vllm", None),
        (f"vllm/vllm-openai@{DIGEST}", None),
        (f"vllm/vllm-openai:nightly@{DIGEST}", None),
        ("vllm/vllm-openai:nightly-0.31.0", None),
        ("vllm/vllm-openai:0.31", None),
        ("vllm/vllm-openai:latest", None),
        ("vllm/vllm-openai", None),
        ("vllm/v0.31.0/vllm:main", None),
        ("", None),
    ],
)
def test_release_is_what_the_tag_begins_with(image: str, version: str | None) -> None:
    """Only a tag that begins with three numbers names a release of vLLM."""
    assert vllm_version(image) == version
