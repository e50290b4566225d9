"""A small ModelScope on loopback that answers its documented REST paths from files in memory.

GET /api/v1/{models|datasets}/OWNER/NAME                 about a repository, with its number
GET /api/v1/models/OWNER/NAME/repo/files                 its files
GET /api/v1/datasets/{OWNER/NAME|number}/repo/tree       the same of a data set, page by page
GET /api/v1/{models|datasets}/OWNER/NAME/revisions       branches and tags
GET /api/v1/{models|datasets}/OWNER/NAME/repo?FilePath=  one file's bytes
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

Files = Mapping[str, bytes]
_MISSING = 404, {"Code": 10010205001, "Message": "record not found", "Success": False}


@dataclass
class ModelScope:
    """The repositories: owner/name to file name to bytes; `requests` are the paths that were asked for."""

    models: Mapping[str, Files]
    data_sets: Mapping[str, Files]
    revisions: tuple[str, ...] = ("master", "v1")
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        """The status, and either bytes or what becomes JSON."""
        self.requests.append(f"{path}?{query.get('FilePath', '')}".removesuffix("?"))
        parts = unquote(path).strip("/").split("/")
        kinds = {"models": self.models, "datasets": self.data_sets}
        if parts[:2] != ["api", "v1"] or len(parts) < 4 or parts[2] not in kinds:
            return _MISSING
        repositories = kinds[parts[2]]
        numbers = {str(number): name for number, name in enumerate(repositories, 100)}
        name, rest = (
            (numbers[parts[3]], parts[4:])
            if parts[3] in numbers
            else ("/".join(parts[3:5]), parts[5:])
        )
        if name not in repositories or query.get("Revision", "master") not in self.revisions:
            return _MISSING
        return self._of(name, repositories, "/".join(rest), query)

    def _of(
        self, name: str, repositories: Mapping[str, Files], what: str, query: Mapping[str, str]
    ) -> tuple[int, Any]:
        files = repositories[name]
        if what == "":
            number = 100 + list(repositories).index(name)
            return 200, _data({"Id": number, "Type": 1, "Name": name.split("/")[1]})
        if what == "revisions":
            of = [{"Revision": one, "CreatedAt": 1_700_000_000} for one in self.revisions]
            return 200, _data({"RevisionMap": {"Branches": of[:1], "Tags": of[1:]}})
        if what in {"repo/files", "repo/tree"}:
            size, page = int(query.get("PageSize", 10_000)), int(query.get("PageNumber", 1))
            entries = [_entry(path, body) for path, body in files.items()]
            some = entries[(page - 1) * size : page * size]
            return 200, _data({"Files": some, "TotalCount": len(entries)})
        if what == "repo" and query.get("FilePath") in files:
            return 200, files[query["FilePath"]]
        return _MISSING


def _entry(path: str, body: bytes) -> dict[str, Any]:
    return {
        "Path": path,
        "Name": path.rpartition("/")[2],
        "Type": "blob",
        "Size": len(body),
        "Sha256": hashlib.sha256(body).hexdigest(),
        "Revision": hashlib.sha1(body).hexdigest(),
        "IsLFS": False,
    }


def _data(content: Any) -> dict[str, Any]:
    return {"Code": 200, "Success": True, "Message": "success", "Data": content}


@contextmanager
def running(hub: ModelScope) -> Iterator[ModelScope]:
    """The hub at `hub.url`, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(with_body=True)

        def do_HEAD(self) -> None:
            self._send(with_body=False)

        def _send(self, *, with_body: bool) -> None:
            address = urlparse(self.path)
            query = {key: values[0] for key, values in parse_qs(address.query).items()}
            status, content = hub.answer(address.path, query)
            is_file = isinstance(content, bytes)
            body = content if is_file else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header(
                "Content-Type", "application/octet-stream" if is_file else "application/json"
            )
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
