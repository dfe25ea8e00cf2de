"""What is said where something other than AWS answers, over a real connection."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3  # type: ignore[import-untyped]
import pytest

from eks_inference import ConfigurationError
from eks_inference.account.needs import DeploymentNeeds
from eks_inference.account.ownership import Owner
from eks_inference.account.preflight import preflight
from eks_inference.account.results import Status
from eks_inference.account.session import (
    Account,
    or_none,
    reason_of,
    refusals,
    repair_of,
)
from eks_inference.account.sweep import sweep
from tests.account.conftest import REGION

PAGE = (
    b"\n<!DOCTYPE html>\n<html><head><title>\nBlocked by\nthe network\n</title></head>"
    b"<body>" + b"<p>Ask whoever runs the network.</p>" * 100 + b"</body></html>"
)
SHORT = b"<HTML><body><b>Http/1.1 Service Unavailable</b></body></HTML>"

Ask = Callable[[Account], object]

QUESTIONS: dict[str, Ask] = {
    "query": lambda account: account.identity(),
    "ec2": lambda account: account.client("ec2").describe_vpcs(),
    "json": lambda account: or_none(
        lambda: account.client("ssm").get_parameter(Name="name")
    ),
    "rest-json": lambda account: account.client("eks").list_clusters(),
}
"""A question in each protocol, whose answers are parsed by code of their own."""


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[str]]]:
    """Answer every request alike, and yield the address and what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def account_behind(
    status: int, body: bytes, *, attempts: int = 1
) -> Iterator[tuple[Account, list[str]]]:
    """Yield an account whose every question gets the same answer."""
    with (
        answering(status, body) as (address, asked),
        pytest.MonkeyPatch.context() as to,
    ):
        to.setenv("AWS_ENDPOINT_URL", address)
        to.setenv("AWS_MAX_ATTEMPTS", str(attempts))
        to.setenv("AWS_ACCESS_KEY_ID", "id")
        to.setenv("AWS_SECRET_ACCESS_KEY", "key")
        yield Account(boto3.Session(region_name=REGION), REGION), asked


def refusal(ask: Ask, account: Account) -> Exception:
    """Return the refusal that a question ends with."""
    with pytest.raises(refusals()) as caught:
        ask(account)
    return caught.value


@pytest.mark.parametrize("status", [200, 302, 403])
@pytest.mark.parametrize("protocol", QUESTIONS)
def test_page_is_no_answer_of_aws(protocol: str, status: int) -> None:
    """A web page is named by its status and title, whatever the service expects."""
    with account_behind(status, PAGE) as (account, _):
        error = refusal(QUESTIONS[protocol], account)
    assert reason_of(error) == (
        f"something other than AWS answered, with status {status} and a web page: "
        "Blocked by the network"
    )
    assert repair_of(error).startswith("look for what answers between here and AWS")


@pytest.mark.parametrize("protocol", QUESTIONS)
def test_page_of_a_busy_service_is_its_status(protocol: str) -> None:
    """A page with a status of 5xx, which AWS may send, is told by the status."""
    for page in (PAGE, SHORT):
        with account_behind(503, page) as (account, _):
            error = refusal(QUESTIONS[protocol], account)
        assert reason_of(error) == "503 Service Unavailable"
        assert repair_of(error).startswith("try again")


def test_page_of_a_busy_service_is_asked_again() -> None:
    """A page with a status of 5xx ends nothing at once."""
    with account_behind(503, PAGE, attempts=2) as (account, asked):
        refusal(QUESTIONS["query"], account)
    assert len(asked) == 2


@pytest.mark.parametrize("body", [b"blocked by policy\n" * 100, b""])
@pytest.mark.parametrize(
    ("protocol", "begin"),
    [
        ("query", "Unable to parse response ("),
        ("ec2", "Unable to parse response ("),
        ("json", "403"),
        ("rest-json", "403"),
    ],
)
def test_answer_without_a_form_is_one_line(
    protocol: str, begin: str, body: bytes
) -> None:
    """Text or nothing where XML or JSON is due is a short line, and no traceback."""
    with account_behind(403, body) as (account, _):
        reason = reason_of(refusal(QUESTIONS[protocol], account))
    assert reason.startswith(begin)
    assert len(reason) <= 300
    assert "\n" not in reason
    assert not reason.endswith(":")
    # the parser's reason is all: what it could not read is not quoted
    assert ("blocked" in reason) is (begin == "403" and body != b"")


def test_xml_of_another_form_is_one_line() -> None:
    """XML that is no error of AWS's is a refusal without a code."""
    with account_behind(403, b"<Portal><Hint>sign in</Hint></Portal>") as (account, _):
        error = refusal(QUESTIONS["query"], account)
    assert reason_of(error).startswith("An error occurred (Unknown)")


def test_preflight_behind_a_portal_is_one_line() -> None:
    """Where credentials cannot be asked for, the page is named once and that is all."""
    with account_behind(200, PAGE) as (account, asked):
        [found] = preflight(account, DeploymentNeeds())
    assert (found.name, found.status) == ("credentials", Status.FAIL)
    assert found.found.endswith("a web page: Blocked by the network")
    assert len(asked) == 1


def test_sweep_behind_a_portal_deletes_nothing() -> None:
    """A page is never taken for an account in which nothing is left."""
    owner = Owner(cluster="inference-dev", stage="dev")
    with (
        account_behind(200, SHORT) as (account, _),
        pytest.raises(ConfigurationError) as caught,
    ):
        sweep(account, owner, delete=True)
    [problem] = caught.value.problems
    assert "something other than AWS answered" in problem
    assert "a web page: without a title" in problem
