"""An account in one region, and what its refusals mean."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from eks_inference._check import ConfigurationError, Problems

Answer = TypeVar("Answer")

_REGION = r"[a-z]{2,4}(-[a-z]+)+-\d"
"""Form of a region's name, such as ``us-gov-west-1``."""

_MOST_CHARACTERS = 300
"""Of what AWS says. Assumed to be enough for its reason; the rest is an encoded text
that only ``aws sts decode-authorization-message`` reads."""

_MISSING = ("NoSuchEntity", "NoSuchResource", "ParameterNotFound", "ResourceNotFound")
"""First part of the codes of something that is not there."""

_STALE = (
    "AuthFailure",
    "ExpiredToken",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
)
"""First part of the codes of credentials that are no longer, or not yet, accepted."""

_DENIED = ("AccessDenied", "UnauthorizedOperation")
"""First part of the codes of an action that the credentials do not allow."""

_PAGE = (b"<!doctype html", b"<html")
"""How a web page begins. AWS answers with XML or JSON."""

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)

_SERVICES = {
    "resourcegroupstaggingapi": "tag",
    "service-quotas": "servicequotas",
}
"""IAM's name of a service where boto3 has another one."""


class Account:
    """The account of some credentials, in one region.

    Args:
        session: Session of boto3.
        region: Region that every client speaks to.
    """

    def __init__(self, session: Any, region: str) -> None:
        self.region = region
        self._session = session
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return the client of a service, always the same one.

        Args:
            service: Name of the service in boto3.
        """
        if service not in self._clients:
            from botocore.config import (  # type: ignore[import-untyped] # noqa: PLC0415
                Config,
            )

            # 'standard' asks again when it is throttled; ten seconds tell a region
            # that does not answer from a slow one (assumed, boto3's default is 60)
            config = Config(retries={"mode": "standard"}, connect_timeout=10)
            client = self._session.client(
                service, region_name=self.region, config=config
            )
            client.meta.events.register("before-parse", _refuse_page)
            self._clients[service] = client
        return self._clients[service]

    def identity(self) -> tuple[str, str]:
        """Return the account's number and the ARN of the caller."""
        answer = self.client("sts").get_caller_identity()
        return answer["Account"], answer["Arn"]

    def pages(
        self, service: str, operation: str, key: str, **values: Any
    ) -> Iterator[Any]:
        """Yield every item that an operation lists, page by page.

        Args:
            service: Name of the service in boto3.
            operation: Method of its client.
            key: What the answer calls the items.
            values: Arguments of the operation.
        """
        paginator = self.client(service).get_paginator(operation)
        for page in paginator.paginate(**values):
            yield from page[key]


def open_account(*, region: str | None, profile: str | None) -> Account:
    """Return the account of the credentials that the AWS tools would use.

    Args:
        region: Region. Default: that of the profile or the environment.
        profile: Profile of the AWS configuration. Default: as the AWS tools choose.

    Raises:
        ConfigurationError: boto3 is missing, or there is no such profile or region.
    """
    try:
        import boto3  # type: ignore[import-untyped] # noqa: PLC0415
        from botocore.exceptions import (  # type: ignore[import-untyped] # noqa: PLC0415
            ProfileNotFound,
        )
    except ModuleNotFoundError as error:
        message = (
            "'boto3' must be installed to talk to AWS, got no such module; "
            "pip install 'eks-inference[aws]'"
        )
        raise ConfigurationError([message]) from error
    with Problems() as problems:
        if region is not None:
            _check_region(problems, region)
        try:
            session = boto3.Session(profile_name=profile, region_name=region)
        except ProfileNotFound:
            problems.broken(
                "'profile' must be one of the AWS configuration",
                profile,
                "'aws configure list-profiles' lists them",
            )
    with Problems() as problems:
        if session.region_name is None:
            problems.broken(
                "'region' must be given, or set for the profile or the environment",
                None,
                "pass for example --region us-east-1",
            )
        elif region is None:
            _check_region(problems, session.region_name)
    return Account(session, session.region_name)


def _check_region(problems: Problems, region: object) -> None:
    problems.matches(
        "region",
        region,
        _REGION,
        rule="the name of an AWS region",
        repair="pass for example --region us-east-1",
    )


def _refuse_page(response_dict: dict[str, Any], **_: Any) -> None:
    """Refuse a web page, which botocore would take for an answer without anything."""
    from botocore.parsers import (  # type: ignore[import-untyped] # noqa: PLC0415
        ResponseParserError,
    )

    body, status = response_dict["body"], response_dict["status_code"]
    if not body.lstrip().lower().startswith(_PAGE):
        return
    if status >= 500:  # noqa: PLR2004
        # a service sends pages then itself (botocore/parsers.py). Of an answer without
        # a body botocore takes the status for what went wrong, and asks again
        response_dict["body"] = b""
        return
    title = _TITLE.search(body.decode(errors="replace"))
    called = " ".join(title[1].split()) if title else "without a title"
    page = f"a web page: {called}"
    raise ResponseParserError(
        f"something other than AWS answered, with status {status} and {page}"
    )


def refusals() -> tuple[type[Exception], ...]:
    """Return the exceptions by which AWS, or the way to it, refuses a call."""
    # loaded with the first client, and of no use without one
    from botocore.exceptions import (  # noqa: PLC0415
        BotoCoreError,
        ClientError,
    )
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    return (BotoCoreError, ClientError, ResponseParserError)


def code_of(error: Exception) -> str:
    """Return AWS's code of a refusal, or nothing where AWS was not reached.

    Args:
        error: One of ``refusals``.
    """
    return str(_said_by(error).get("Code", ""))


def or_none(ask: Callable[[], Answer]) -> Answer | None:
    """Return what is asked for, or None where AWS knows no such thing.

    Args:
        ask: Calls AWS.
    """
    try:
        return ask()
    except refusals() as error:
        if code_of(error).startswith(_MISSING):
            return None
        raise


def reason_of(error: Exception) -> str:
    """Return what AWS says on one line.

    Args:
        error: One of ``refusals``.
    """
    said = _said_by(error)
    # botocore's parser quotes the whole body below its reason
    own = str(error).partition("\n")[0].rstrip(":")
    text = said.get("Message", "") if said else own
    return " ".join(f"{code_of(error)} {text}".split())[:_MOST_CHARACTERS]


def repair_of(error: Exception) -> str:
    """Return what to do about a refusal.

    Args:
        error: One of ``refusals``.
    """
    code, kind = code_of(error), type(error).__name__
    if kind == "ResponseParserError":
        return "look for what answers between here and AWS (HTTPS_PROXY, NO_PROXY)"
    if code.startswith(_STALE) or "Credential" in kind or "Token" in kind:
        return "sign in again (aws sso login, aws configure), or pass --profile"
    if code.startswith(_DENIED):
        action = getattr(error, "operation_name", "")
        return f"allow the caller {action!r}; the pages of the commands have policies"
    return "try again, and check --region and the network"


def _said_by(error: Exception) -> dict[str, Any]:
    """Return what AWS says of a refusal; nothing where it says nothing."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    said: dict[str, Any] = response.get("Error", {})
    return said


def iam_action(service: str, operation: str) -> str:
    """Return the name of an operation in an IAM policy.

    Args:
        service: Name of the service in boto3.
        operation: Name of the operation in its API.
    """
    return f"{_SERVICES.get(service, service)}:{operation}"
