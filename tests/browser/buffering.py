"""A proxy as some companies have it: it hands on an answer once it has all of it."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, Self

import httpx

_OWN: Final = {"content-length", "transfer-encoding", "connection", "date", "content-encoding"}


class Buffering:
    """Use it as a context manager: it listens from enter to exit."""

    def __init__(self, url: str) -> None:
        handler = type("_To", (_Handler,), {"target": url})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="buffering")
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        assert not self._thread.is_alive(), "the buffering proxy did not stop"


class _Handler(BaseHTTPRequestHandler):
    target: ClassVar[str] = ""
    protocol_version = "HTTP/1.1"
    timeout = 5  # a browser opens connections in advance, and keeps them

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "connection"}}
        answer = httpx.request(
            self.command, self.target + self.path, headers=headers, content=body, timeout=60
        )
        try:
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in _OWN:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)
        except OSError:  # the browser has gone
            self.close_connection = True

    do_POST = do_GET  # noqa: N815 - the base class's name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass
