"""A model hub on loopback that speaks the part of Hugging Face's protocol that downloads use; it stores nothing."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

API = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/(?P<what>revision|tree)/(?P<revision>[^/]+)")
FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass(kw_only=True)
class Repository:
    """A model on the hub."""

    revisions: dict[str, Path]
    """Folders by branch or tag; a commit hash is made from each name."""

    gated: bool = False
    token: str | None = None
    """Who brings it may read; None: everybody."""

    def commit(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit hash means; None without one."""
        commits = {name: hashlib.sha1(name.encode()).hexdigest() for name in self.revisions}
        return revision if revision in commits.values() else commits.get(revision)

    def folder(self, commit: str) -> Path:
        """The files of a commit."""
        return next(path for name, path in self.revisions.items() if self.commit(name) == commit)


@dataclass(kw_only=True)
class Hub:
    """What the hub holds, how it misbehaves, and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    address: str = ""
    asked: list[str] = field(default_factory=list)
    """Every request: method, path, and where a part of a file was asked for, the range."""

    cut_after_bytes: dict[str, int] = field(default_factory=dict)
    """File names whose next download breaks off after so many bytes."""

    status: int | None = None
    """Set: every answer has this status, as from a hub in trouble."""


@contextmanager
def hub_on_loopback() -> Iterator[Hub]:
    """A running hub."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Keeps the tests' output free of request lines."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        part = self.headers.get("Range")
        self.hub.asked.append(f"{self.command} {path}" + (f" {part}" if part else ""))
        if self.hub.status is not None:
            self._refuse(self.hub.status, "", "In trouble.")
            return
        found = API.fullmatch(path) or FILE.fullmatch(path)
        repository = self.hub.repositories.get(found["name"]) if found else None
        authorised = repository is not None and (
            repository.token is None
            or self.headers.get("Authorization") == f"Bearer {repository.token}"
        )
        if found is None or repository is None:
            # the real one says 401 to those who are not logged in, so that nobody learns what exists
            self._refuse(401, "", "Repository not found")
        elif not authorised and repository.gated:
            self._refuse(401, "GatedRepo", "Access to this model is restricted.")
        elif not authorised:
            self._refuse(401, "RepoNotFound", "Repository not found")
        elif (commit := repository.commit(found["revision"])) is None:
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
        elif "what" not in found.groupdict():
            self._file(repository.folder(commit) / found["file"], commit)
        elif found["what"] == "revision":
            self._json({"id": found["name"], "sha": commit, "siblings": []})
        else:
            self._json(_tree(repository.folder(commit)))

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._answer(200, {"Content-Type": "application/json"}, body)

    def _file(self, path: Path, commit: str) -> None:
        if not path.is_file():
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        body = path.read_bytes()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_digest(body)}"'}
        first = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
        status = 206 if self.headers.get("Range") else 200
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
        cut = None if self.command == "HEAD" else self.hub.cut_after_bytes.pop(path.name, None)
        self._answer(status, headers, body[first:], cut)

    def _refuse(
        self, status: int, code: str, message: str, more: dict[str, str] | None = None
    ) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._answer(status, {**headers, **(more or {})}, b"")

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True


def _tree(folder: Path) -> list[dict[str, object]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": _digest(path.read_bytes()),
        }
        for path in files
    ]


def _digest(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()
