"""Requests as an attacker writes them, byte by byte."""

import socket
from collections.abc import Mapping


def send_raw(
    port: int, what: bytes, head: Mapping[str, str], body: bytes = b""
) -> tuple[int, bytes]:
    """Send a request line, headers and a body as they are; return status and answer.

    The server has to close the connection: it does after what is no HTTP.

    Headers go out in the given case, so that two names may be one header.
    """
    lines = [what, *(f"{name}: {value}".encode() for name, value in head.items())]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        answer = b""
        while more := connection.recv(2**16):
            answer += more
    return int(answer.split(b" ", 2)[1]), answer


def send(port: int, method: str, path: str, body: bytes = b"", **head: str) -> tuple[int, bytes]:
    """Send a request that is well formed, with headers of any kind."""
    more = {"Host": f"127.0.0.1:{port}", "Connection": "close"} | head
    more["Content-Length"] = str(len(body))
    return send_raw(port, f"{method} {path} HTTP/1.1".encode(), more, body)
