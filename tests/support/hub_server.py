"""A small data set hub on loopback that answers as huggingface.co does, from files in memory."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """The repositories of a hub: owner/name to file name to bytes; `requests` are the paths that were asked for."""

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        self.repositories = repositories
        self.requests: list[str] = []
        self.url = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        self.requests.append(path)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "datasets"]:
            name, rest = "/".join(parts[2:4]), parts[4:]
            return self._about(name, rest)
        if parts[0] == "datasets" and parts[3:4] == ["resolve"]:
            name, file = "/".join(parts[1:3]), "/".join(parts[5:])
            body = self.repositories.get(name, {}).get(file)
            if body is None:
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            tag = f'"{hashlib.sha1(body).hexdigest()}"'
            return 200, {"ETag": tag, "X-Repo-Commit": COMMIT, "Accept-Ranges": "none"}, body
        return 404, {"X-Error-Code": "RepoNotFound"}, b""

    def _about(self, name: str, rest: list[str]) -> tuple[int, dict[str, str], bytes]:
        if name.startswith("gated/"):
            return (
                403,
                {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"},
                b"",
            )
        files = self.repositories.get(name)
        if files is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if rest[:1] == ["revision"] and rest[1] not in {"main", COMMIT}:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if rest[:1] == ["tree"]:
            tree = [{"type": "file", "path": file, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                    for file, body in files.items()]  # fmt: skip
            return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
        info = {
            "id": name,
            "sha": COMMIT,
            "private": False,
            "gated": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": file} for file in files],
        }
        return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port of loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = hub.answer(unquote(urlparse(self.path).path))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
