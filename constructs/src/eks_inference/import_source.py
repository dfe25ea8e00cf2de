"""Where the weights of a model come from."""

from dataclasses import dataclass, field

from eks_inference._check import Problems
from eks_inference.model import PREFIX_PATTERN, PREFIX_RULE, ModelBucket
from eks_inference.secret_key import SecretKey

_REPOSITORY = r"(?!.*(--|\.\.))(\w[\w.-]{0,95})/(\w[\w.-]{0,95})(?<![.-])(?<!\.git)"
"""What huggingface/huggingface_hub takes (utils/_validators.py, ``validate_repo_id``),
with an owner, which every repository has today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceSource:
    """A commit of a model repository on the Hugging Face Hub.

    Args:
        repo: Owner and name, such as ``Qwen/Qwen2.5-7B-Instruct-AWQ``.
        revision: Commit, in full: 40 hexadecimal digits. A branch moves, and pods that
            start on different days would serve different weights.
        token: Secret, in the namespace of the import, with an access token of the Hub.
            Default: none; gated and private repositories need one.
        endpoint: Address of the Hub or of a mirror. Gets the token. Default:
            ``https://huggingface.co``.

    Raises:
        ConfigurationError: Values break rules; all of them are named.

    Example:
        ```python
        from eks_inference.import_source import HuggingFaceSource

        HuggingFaceSource(
            repo="Qwen/Qwen2.5-7B-Instruct-AWQ",
            revision="b25037543e9394b818fdfca67ab2a00ecc7dd641",
            token=SecretKey("hugging-face", "token"),
        )
        ```
    """

    repo: str
    revision: str
    token: SecretKey | None = None
    endpoint: str = "https://huggingface.co"

    def __post_init__(self) -> None:
        with Problems("Hugging Face source") as problems:
            problems.matches(
                "repo",
                self.repo,
                _REPOSITORY,
                rule="the owner and the name of a repository",
                repair="for example 'Qwen/Qwen2.5-7B-Instruct-AWQ'",
            )
            problems.matches(
                "revision",
                self.revision,
                r"[0-9a-f]{40}",
                rule="a commit of 40 hexadecimal digits",
                repair="a branch or tag can move under a model that is served; take "
                "the commit from the repository's page 'Files and versions'",
            )
            if self.token is not None:
                problems.instance("token", self.token, SecretKey)
            problems.matches(
                "endpoint",
                self.endpoint,
                r"https://[\w.-]+(:\d{1,5})?",
                rule="an address with TLS and without a path",
                repair="for example 'https://huggingface.co'",
            )

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two sources the same."""
        return "hugging-face", self.endpoint, self.repo, self.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSource:
    """A model in another bucket, which S3 copies itself.

    Args:
        bucket: Bucket that holds the weights. One of another account must let the
            import's role read, and so must its key.
        prefix: Key prefix of the weights, with a trailing slash.
        revision: What this state of the files is called. A bucket has no commits:
            another name means that there is something new to copy.

    Raises:
        ConfigurationError: Values break rules; all of them are named.

    Example:
        ```python
        from eks_inference.import_source import BucketSource

        BucketSource(bucket=bucket, prefix="teams/search/chat/", revision="2026-11")
        ```
    """

    bucket: ModelBucket = field(compare=False, repr=False)
    prefix: str
    revision: str

    def __post_init__(self) -> None:
        with Problems("bucket source") as problems:
            problems.resource("bucket", self.bucket, "bucket_arn", kind="a bucket")
            problems.matches("prefix", self.prefix, PREFIX_PATTERN, rule=PREFIX_RULE)
            problems.matches(
                "revision",
                self.revision,
                r"[\w.-]{1,64}",
                rule="a name of letters, digits and '._-', at most 64 long",
                repair="for example '2026-11'",
            )

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two sources the same."""
        return "bucket", self.bucket.bucket_name, self.prefix, self.revision


ImportSource = HuggingFaceSource | BucketSource
"""Where an import takes a model from."""
