"""The Hugging Face Hub as a source.

Addresses, answers and error codes are those of huggingface/huggingface_hub
(src/huggingface_hub/hf_api.py, ``RepoFile`` and ``list_repo_tree``; utils/_http.py at
01dd37b; utils/_pagination.py at 1f02627).
"""

import json
import re
import time  # noqa: TID251 - runs in a pod, never in a synthesis
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus  # noqa: TID251 - as above
from http.client import HTTPException  # noqa: TID251 - as above
from typing import Any
from urllib.error import HTTPError  # noqa: TID251 - as above
from urllib.parse import quote, urlsplit  # noqa: TID251 - as above
from urllib.request import (  # noqa: TID251 - as above
    HTTPRedirectHandler,
    Request,
    build_opener,
)

from .bucket import Target
from .files import (
    IN_FLIGHT,
    PART_BYTES,
    File,
    ImportFailedError,
    InterruptedImportError,
    NotFoundError,
    Part,
    SourceDeniedError,
    WrongContentError,
    check,
    hasher,
    in_order,
    parts,
)

ATTEMPTS = 6
"""Failures in a row, without one byte of progress, that end an import. Assumed."""

LONGEST_WAIT = 300
"""Seconds; the windows of the Hub's rate limits (its page "Hub Rate limits")."""

SOCKET_SECONDS = 60
"""How long a connection may be silent. Assumed."""

BLOCK_BYTES = 2**20

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same question may be asked again."""


class SameOriginToken(HTTPRedirectHandler):
    """Follows redirects; a token stays with the host that it was meant for."""

    def redirect_request(self, req: Request, *arguments: Any) -> Request | None:
        """Return the request for where a redirect points.

        Args:
            req: Request that was answered.
            arguments: Those of the base class; the last is the new address.

        Raises:
            SourceDeniedError: The new address has no TLS and the old one has.
        """
        old, new = urlsplit(req.full_url), urlsplit(arguments[-1])
        if old.scheme == "https" and new.scheme != "https":
            raise SourceDeniedError(
                f"{old.netloc} must redirect to an address with TLS, got "
                f"{new.scheme}://{new.netloc}"
            )
        request = super().redirect_request(req, *arguments)
        token = req.unredirected_hdrs.get("Authorization")
        if request and token and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            request.add_unredirected_header("Authorization", token)
        return request


class HubSource:
    """A revision of a repository of the Hugging Face Hub.

    Args:
        repo: Owner and name.
        revision: Commit.
        endpoint: Address of the Hub.
        token: Access token. Default: none.
        sleep: Waits some seconds. Default: the clock's.
    """

    def __init__(
        self,
        repo: str,
        revision: str,
        *,
        endpoint: str,
        token: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.identity = {"endpoint": endpoint, "repo": repo, "revision": revision}
        self._base, self._repo, self._revision = endpoint.rstrip("/"), repo, revision
        self._token, self._sleep = token, sleep
        self._opener = build_opener(SameOriginToken)

    def files(self) -> list[File]:
        """Return the files of the revision, from all pages of the listing."""
        url = f"{self._base}/api/models/{self._repo}/tree/{self._revision}"
        page = f"{url}?recursive=true"
        found: list[File] = []
        while page:
            entries, page = self._page(page)
            found += [_file(item) for item in entries if item["type"] == "file"]
        return found

    def read(self, file: File) -> bytearray:
        """Return the content of a file that memory can hold, checked."""
        data, digest = self._range(file, 0, file.size), hasher(file)
        digest.update(data)
        check(file, digest)
        return data

    def send(self, file: File, target: Target) -> None:
        """Bring a file into the bucket; what does not match is not completed."""
        if file.size <= PART_BYTES:
            target.put(file, self.read(file))
            return
        digest = hasher(file)
        # no thread sends a part any more when the upload is completed or aborted
        with target.upload(file) as upload, ThreadPoolExecutor(IN_FLIGHT) as pool:

            def task(number: int, start: int, length: int) -> tuple[bytearray, Part]:
                data = self._range(file, start, length)
                return data, upload.part(number, data)

            tasks = [
                partial(task, number, start, length)
                for number, (start, length) in enumerate(
                    parts(file.size, PART_BYTES), start=1
                )
            ]
            for data, part in in_order(pool, tasks):
                digest.update(data)
                upload.parts.append(part)
            check(file, digest)

    def _page(self, url: str) -> tuple[list[Any], str]:
        """Return a page of the listing, and the address of the next one."""
        failures = 0
        while True:
            try:
                with self._open(url) as response:
                    link = response.headers.get("Link", "")
                    following = re.search(r'<([^>]+)>;\s*rel="next"', link)
                    return json.load(response), following[1] if following else ""
            except (InterruptedImportError, HTTPException, OSError, ValueError) as why:
                failures += 1
                self._pause("the list of files", failures, why)

    def _range(self, file: File, start: int, length: int) -> bytearray:
        """Return some bytes of a file; where a connection breaks, go on from there."""
        path = f"{self._repo}/resolve/{self._revision}/{quote(file.path)}"
        data, done, failures = bytearray(length), 0, 0
        view = memoryview(data)
        while done < length:
            before, first = done, start + done
            try:
                span = {"Range": f"bytes={first}-{start + length - 1}"}
                with self._open(f"{self._base}/{path}", span) as response:
                    _check_span(file, response, first)
                    while count := response.readinto(view[done : done + BLOCK_BYTES]):
                        done += count
                why: Exception = InterruptedImportError("the connection ended early")
            except (InterruptedImportError, HTTPException, OSError) as error:
                why = error
            if done < length:
                failures = 1 if done > before else failures + 1
                self._pause(f"{file.path} from byte {start + done}", failures, why)
        return data

    def _open(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
        request = Request(  # noqa: S310 - the endpoint that the import was given
            url, headers={"Accept-Encoding": "identity", **(headers or {})}
        )
        if self._token and url.startswith(f"{self._base}/"):
            # a redirect does not take it along
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            return self._opener.open(request, timeout=SOCKET_SECONDS)
        except HTTPError as answer:
            with answer:
                raise self._meaning(answer) from None

    def _meaning(self, answer: HTTPError) -> ImportFailedError:
        """Return what an error means; of an address the host, for it may be signed."""
        host, code = urlsplit(answer.url).netloc, answer.headers.get("X-Error-Code")
        says = f"got {answer.code}{f' ({code})' if code else ''} from {host}"
        if answer.code in TRANSIENT:
            limit = re.search(r";\s*t=(\d+)", answer.headers.get("RateLimit", ""))
            after = answer.headers.get("Retry-After", limit[1] if limit else "")
            return InterruptedImportError(says, int(after) if after.isdigit() else 0)
        if answer.code == HTTPStatus.NOT_FOUND:
            return NotFoundError(
                f"repository {self._repo!r} must have revision {self._revision!r} and "
                f"its files, {says}"
            )
        return SourceDeniedError(
            f"repository {self._repo!r} must be readable, {says}; accept the model's "
            "licence, or give the 'token' of an account that may read it"
        )

    def _pause(self, what: str, failures: int, why: Exception) -> None:
        if failures >= ATTEMPTS:
            raise InterruptedImportError(
                f"{what} must arrive, got {failures} failures in a row, the last: {why}"
            ) from None
        seconds = getattr(why, "seconds", 0) or 2 ** (failures - 1)
        self._sleep(min(seconds, LONGEST_WAIT))


def _file(item: Mapping[str, Any]) -> File:
    # what is in LFS has the SHA-256 of the content there, and that of a pointer here
    lfs = item.get("lfs")
    if lfs:
        return File(item["path"], lfs["size"], f"sha256:{lfs['oid']}")
    return File(item["path"], item["size"], f"git-sha1:{item['oid']}")


def _check_span(file: File, response: Any, first: int) -> None:
    """Require that an answer begins where it was asked to, in a file of that size."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        got = response.headers.get("Content-Range", "")
        good = bool(re.fullmatch(rf"bytes {first}-\d+/{file.size}", got))
    else:
        got = response.headers.get("Content-Length", "")
        good = first == 0 and got in {str(file.size), ""}
    if not good:
        raise WrongContentError(
            f"{file.path} must have {file.size} bytes, and be readable from byte "
            f"{first}, got {response.status} with {got}"
        )
