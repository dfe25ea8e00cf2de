"""What the name of a container image must look like."""

import re

from eks_inference._check import Problems

VLLM_IMAGE = (
    "public.ecr.aws/deep-learning-containers/vllm:"
    "0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
)
"""AWS's container with vLLM 0.31.0 and CUDA 13.0, which needs NVIDIA driver R580
(aws/deep-learning-containers, docs/src/data/vllm/0.31.0-gpu-ec2.yml at c6e3ca1)."""

_DIGEST = r"sha256:[0-9a-f]{64}"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_REPOSITORY = r"[a-z0-9]+([._/-][a-z0-9]+)*"


def image_problems(repository: object, tag: object, digest: object) -> list[str]:
    """Return what is wrong with the name of an image.

    Args:
        repository: Repository without registry and tag.
        tag: Tag, pinned.
        digest: Digest, or an empty text.
    """
    problems = Problems()
    problems.matches(
        "repository",
        repository,
        _REPOSITORY,
        rule="a repository without registry and tag",
        repair="for example 'deep-learning-containers/vllm'",
    )
    problems.matches("tag", tag, _TAG, rule="an image tag")
    if tag == "latest":
        problems.broken(
            "'tag' must be pinned",
            tag,
            "nodes that start on different days would run different versions",
        )
    if digest != "":
        problems.matches("digest", digest, _DIGEST, rule="'sha256:' and 64 hex digits")
    return problems.messages


def vllm_version(image: str) -> str | None:
    """Return the release of vLLM that the tag of an image names, or None.

    Args:
        image: Name with a tag that begins with a release, as those of vLLM
            (``v0.33.0``) and of AWS (``0.31.0-gpu-py312-…``) do.
    """
    match = re.search(r":v?(\d+\.\d+\.\d+)(?!\d)[^/]*$", image)
    return match[1] if match else None
