"""A value in a Kubernetes Secret that exists already."""

from dataclasses import dataclass

from eks_inference._check import Problems


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of a Kubernetes Secret in the namespace of whoever uses it.

    Only its name is known here: what it holds never enters a template.

    Args:
        secret_name: Name of the Secret.
        key: Key in it. Default: ``api-key``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        SecretKey("mistral-7b-clients")
        ```
    """

    secret_name: str
    key: str = "api-key"

    def __post_init__(self) -> None:
        with Problems("secret") as problems:
            problems.matches(
                "secret_name",
                self.secret_name,
                r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
                rule="the name of a Secret",
                repair="for example 'mistral-7b-clients'",
            )
            problems.matches(
                "key",
                self.key,
                r"[A-Za-z0-9._-]{1,253}",
                rule="a key of a Secret",
                repair="for example 'api-key'",
            )
