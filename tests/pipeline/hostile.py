"""A file server on the loopback that misbehaves in every way servers do, and counts what it was asked."""

import contextlib
import hashlib
import http.server
import socket
import struct
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Server:
    """What the server gives for each path, how it misbehaves, and what it was asked."""

    url: str = ""
    files: dict = field(default_factory=dict)
    faults: list = field(default_factory=list)  # one for each coming request, see `answer`; None: behaves
    ranges: bool = True
    tags: bool = True
    said: dict = field(default_factory=dict)  # more headers of every redirect
    rate: float = 0.0  # bytes a second and connection; 0: as fast as it can
    asked: list = field(default_factory=list)  # (path, Range header)
    connections: int = 0
    most_connections: int = 0
    sent: int = 0  # bytes of files
    released: threading.Event = field(default_factory=threading.Event)  # ends every stall
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(http.server.BaseHTTPRequestHandler):
    def handle(self):
        state = self.server.state
        with state.lock:
            state.connections += 1
            state.most_connections = max(state.most_connections, state.connections)
        try:
            with contextlib.suppress(ConnectionError):
                super().handle()
        finally:
            with state.lock:
                state.connections -= 1

    def do_GET(self):
        answer(self, self.server.state)

    def log_message(self, *args): ...


@contextlib.contextmanager
def serving():
    """A server on a free port of the loopback."""
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.state = Server(url=f"http://127.0.0.1:{httpd.server_port}")
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield httpd.state
    finally:
        httpd.state.released.set()
        httpd.shutdown()
        httpd.server_close()


def tag_of(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def answer(handler, state: Server) -> None:
    """Serves a file, or the next fault.

    Faults: a status; (status, Retry-After); "cut" and "reset" break off in the middle; "stall" sends a part and then
    nothing; "drip" a byte now and then; "long" and "short" announce another length; "corrupt" changes a byte;
    "elsewhere" answers with another range than was asked for; an address redirects there.
    """
    wanted = handler.headers.get("Range")
    with state.lock:
        state.asked.append((handler.path, wanted))
        fault = state.faults.pop(0) if state.faults else None
    body = state.files.get(handler.path)
    if isinstance(fault, (int, tuple)) or body is None:
        return refuse(handler, fault if isinstance(fault, tuple) else (fault if isinstance(fault, int) else 404, ""))
    if isinstance(fault, str) and fault.startswith("http"):
        return refuse(handler, (302, ""), Location=fault + handler.path, **state.said)
    start = int(wanted[len("bytes=") :].split("-")[0]) if wanted and state.ranges else 0
    if handler.headers.get("If-Range") not in (None, tag_of(body)):
        start = 0
    if start >= len(body):
        return refuse(handler, (416, ""))
    send_head(handler, state, body, start, fault)
    send_body(handler, state, body[start:], fault)


def refuse(handler, status: tuple, **headers: str) -> None:
    code, later = status
    handler.send_response(code)
    for name, value in {**({"Retry-After": later} if later else {}), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def send_head(handler, state: Server, body: bytes, start: int, fault) -> None:
    rest = len(body) - start
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str({"long": rest + 999, "short": rest - 9}.get(fault, rest)))
    if state.tags:
        handler.send_header("ETag", tag_of(body))
    if start:
        first = start + 7 if fault == "elsewhere" else start
        handler.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
    handler.end_headers()


def send_body(handler, state: Server, part: bytes, fault) -> None:
    if fault == "corrupt":
        middle = len(part) // 2
        part = part[:middle] + bytes([part[middle] ^ 0xFF]) + part[middle + 1 :]
    if fault in ("cut", "reset", "stall", "drip"):
        write(handler, state, part[: len(part) // 2])
        misbehave(handler, state, fault, part[len(part) // 2 :])
    else:
        write(handler, state, part)


def misbehave(handler, state: Server, fault: str, rest: bytes) -> None:
    if fault == "reset":  # the operating system answers with RST instead of FIN
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
    elif fault == "stall":
        state.released.wait(20)
    elif fault == "drip":
        for i in range(len(rest)):
            if state.released.wait(0.02):
                break
            write(handler, state, rest[i : i + 1])


def write(handler, state: Server, part: bytes) -> None:
    piece = max(1, int(state.rate / 20)) if state.rate else max(1, len(part))
    for at in range(0, len(part), piece):
        chunk = part[at : at + piece]
        handler.wfile.write(chunk)
        with state.lock:
            state.sent += len(chunk)
        if state.rate:
            time.sleep(len(chunk) / state.rate)
