"""A proxy before a tracking server that can be told to fail in the ways in which servers and networks do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, get_args

Fault = Literal["cut", "silent", "500", "broken json", "lost answer"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
_NOT_PASSED_ON = {"transfer-encoding", "connection", "content-length", "host"}


class FaultyProxy:
    """Passes requests on; while `fault` is set, it fails them instead.

    Attributes:
        address: Where it listens.
        fault: "cut" closes the connection, "silent" answers nothing, "lost answer" closes it once the server has done
            what was asked; "" is none.
        failed: Requests that met a fault.
    """

    def __init__(self, server_port: int) -> None:
        self.fault: Fault | Literal[""] = ""
        self.failed = 0
        self.stopped = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy.fault
                proxy.failed += bool(fault)
                if fault in ("cut", "silent"):
                    while fault == "silent" and proxy.fault == "silent" and not proxy.stopped.wait(0.1):
                        pass
                    self.close_connection = True
                    return
                if fault == "500":
                    self.answer(500, {}, b"<html>Internal Server Error</html>")
                    return
                status, headers, content = self.ask(body)
                if fault == "lost answer":
                    self.close_connection = True
                    return
                self.answer(status, headers, content[: len(content) // 2] if fault == "broken json" else content)

            def ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
                connection = http.client.HTTPConnection("127.0.0.1", server_port, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_PASSED_ON}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                return answer.status, dict(answer.getheaders()), content

            def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in _NOT_PASSED_ON:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def faulty_proxy(server_port: int) -> Iterator[FaultyProxy]:
    """Have a proxy before the server that listens on a port of the loopback, for the block."""
    proxy = FaultyProxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()
