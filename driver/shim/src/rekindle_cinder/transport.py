"""One HTTP exchange over a unix socket, bounded in time and in size.

A socket's timeout bounds one read, not an answer that comes a byte a minute; so what is left of the deadline is set anew
before each read. The request asks for the connection to be closed, and the answer is read to its end before it is parsed:
no state is kept between calls, and a sidecar that was restarted needs no reconnect.

Only plain sockets are used, by their names in the module: where Cinder has monkey-patched them they are cooperative,
elsewhere they block the calling thread for the deadline at most.
"""

from __future__ import annotations

import http.client
import io
import socket
import time

from rekindle_cinder.errors import BadAnswer, NoAnswer, Unreachable

CONNECT_TIMEOUT = 2.0
"""Seconds. A unix socket answers at once, or its listener is stuck."""

MAX_ANSWER = 8 * 1024 * 1024
"""Bytes: 2000 volumes with a long reason each are under 2 MiB."""

_PIECE = 64 * 1024


class _Received:
    """What http.client wants of a socket, over bytes that are all here."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, *_args: object, **_kwargs: object) -> io.BytesIO:
        return io.BytesIO(self._raw)


def exchange(
    socket_path: str,
    method: str,
    target: str,
    body: bytes | None = None,
    *,
    deadline: float,
    connect_timeout: float = CONNECT_TIMEOUT,
    max_answer: int = MAX_ANSWER,
) -> tuple[int, bytes]:
    """Send a request and return (status, body) within `deadline` seconds of the connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(min(connect_timeout, deadline))
        try:
            connection.connect(socket_path)
        except (OSError, ValueError) as error:
            raise Unreachable(socket_path, _words(error)) from error
        end = time.monotonic() + deadline
        try:
            connection.settimeout(_left(end))
            connection.sendall(_request(method, target, body))
            raw = _read_all(connection, end, max_answer)
        except TimeoutError as error:
            raise NoAnswer(f"none within {deadline:g} s") from error
        except OSError as error:
            raise NoAnswer(_words(error)) from error
    return _parse(raw, method)


def _request(method: str, target: str, body: bytes | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: rekindle", "Accept: application/json", "Connection: close"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


def _read_all(connection: socket.socket, end: float, max_answer: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        connection.settimeout(_left(end))
        piece = connection.recv(_PIECE)
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > max_answer:
            raise BadAnswer(f"it is longer than {max_answer} bytes")
        pieces.append(piece)


def _parse(raw: bytes, method: str) -> tuple[int, bytes]:
    if not raw:
        raise NoAnswer("it closed the connection")
    response = http.client.HTTPResponse(_Received(raw), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        return response.status, response.read()
    except http.client.IncompleteRead as error:
        raise NoAnswer("the answer was cut off") from error
    except (http.client.HTTPException, ValueError) as error:
        raise BadAnswer(f"it is not HTTP ({type(error).__name__})") from error


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it did not accept a connection in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
