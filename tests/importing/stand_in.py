"""A stand-in for the Hugging Face Hub and for the host that it redirects to."""

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

REPO = "team/model"
REVISION = "0123456789abcdef0123456789abcdef01234567"

Fault = Callable[["Handler"], bool]
"""Answers in place of the stand-in, and says whether it has."""


@dataclass
class Hub:
    """What the stand-in holds, how it misbehaves, and what it was asked.

    Args:
        files: Contents by path.
        lfs: Paths that are in LFS, and so on the other host.
        faults: What goes wrong, by path; each once, in order.
        asked: Host, path and headers of every request.
        page: Entries on a page of the listing.
        published: Contents that the listing is about, where they are not the files.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    lfs: set[str] = field(default_factory=set)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    page: int = 1_000
    published: dict[str, bytes] = field(default_factory=dict)
    repo: str = REPO
    revision: str = REVISION
    url: str = ""
    cdn: str = ""

    def entries(self) -> list[dict[str, Any]]:
        """Return the listing, as the Hub writes it."""
        found: list[dict[str, Any]] = [{"type": "directory", "path": "sub", "oid": "0"}]
        for path, held in self.files.items():
            data = self.published.get(path, held)
            blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            entry = {"type": "file", "path": path, "size": len(data), "oid": blob}
            if path in self.lfs:
                digest = hashlib.sha256(data).hexdigest()
                entry |= {
                    # the blob of a file in LFS is a pointer
                    "oid": "f" * 40,
                    "lfs": {"oid": digest, "size": len(data), "pointerSize": 134},
                }
            found.append(entry)
        return found

    def fetched(self, path: str = "") -> list[str]:
        """Return the ranges of a file, or of all files, that were sent."""
        return [
            headers.get("Range", "all")
            for host, asked, headers in self.asked
            if asked.endswith(path)
            and "/api/" not in asked
            and (
                host == self.cdn or asked.partition("resolve/")[2][41:] not in self.lfs
            )
        ]


class Handler(BaseHTTPRequestHandler):
    """Answers for a host of the stand-in."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    host: str

    def log_message(self, *_: object) -> None:
        """Keep the log of the tests empty."""

    def do_GET(self) -> None:
        """Answer a listing, a file, or the redirect to one."""
        path = urlsplit(self.path).path
        headers = {key.title(): value for key, value in self.headers.items()}
        self.hub.asked.append((self.host, path, headers))
        listing = f"/api/models/{self.hub.repo}/tree/"
        base = f"/{self.hub.repo}/resolve/{self.hub.revision}/"
        name = "listing" if path.startswith(listing) else path.removeprefix(base)
        name = name.removeprefix("/cdn/")
        redirects = name in self.hub.lfs and not path.startswith("/cdn/")
        faults = self.hub.faults[f"redirect {name}" if redirects else name]
        if faults and faults.pop(0)(self):
            return
        if name == "listing":
            self._listing(path.removeprefix(listing))
        elif redirects:
            self.send_response(302)
            self.send_header("Location", f"{self.hub.cdn}/cdn/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif name in self.hub.files:
            self.send_file(self.hub.files[name])
        else:
            self.refuse(404, "EntryNotFound")

    def _listing(self, revision: str) -> None:
        if revision != self.hub.revision:
            self.refuse(404, "RevisionNotFound")
            return
        entries, query = self.hub.entries(), urlsplit(self.path).query
        first = int(query.partition("cursor=")[2] or 0)
        last = first + self.hub.page
        body = json.dumps(entries[first:last]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if last < len(entries):
            url = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true"
            self.send_header("Link", f'<{url}&cursor={last}>; rel="next"')
        self.end_headers()
        self.wfile.write(body)

    def send_file(
        self, data: bytes, *, cut: int | None = None, ranges: bool = True
    ) -> None:
        """Send a file or the range of it that was asked for.

        Args:
            data: The whole file.
            cut: Bytes after which the connection ends. Default: none is lost.
            ranges: Whether a range is honoured. Default: yes.
        """
        span = self.headers.get("Range")
        first, last = 0, len(data) - 1
        if span and ranges:
            first, last = map(int, span.removeprefix("bytes=").split("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        else:
            self.send_response(200)
        body = data[first : last + 1]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None and cut < len(body):
            self.close_connection = True

    def refuse(self, code: int, reason: str = "", **headers: str) -> bool:
        """Answer with an error."""
        self.send_response(code)
        if reason:
            self.send_header("X-Error-Code", reason)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True


def refuses(code: int, reason: str = "", **headers: str) -> Fault:
    """Return a fault that is an error of HTTP."""
    return lambda handler: handler.refuse(code, reason, **headers)


def cuts(after: int, data: bytes) -> Fault:
    """Return a fault that ends the connection after some bytes."""

    def fault(handler: Handler) -> bool:
        handler.send_file(data, cut=after)
        return True

    return fault


def redirects(target: str) -> Fault:
    """Return a fault that redirects somewhere else."""

    def fault(handler: Handler) -> bool:
        return handler.refuse(307, Location=target)

    return fault


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve the Hub and its other host on two ports, until the block ends."""
    servers = []
    for host in ("url", "cdn"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        address = f"http://127.0.0.1:{server.server_port}"
        setattr(hub, host, address)
        server.RequestHandlerClass = type(
            "Bound", (Handler,), {"hub": hub, "host": address}
        )
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        servers.append(server)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
