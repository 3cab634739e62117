"""A sidecar that keeps the contract, on a real unix socket, with its faults as verbs."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Callable
from typing import Any

Answer = tuple[int, dict[str, Any]]

FIELDS = {
    "check": {"specs"},
    "replicate": {"backend", "specs", "volumes"},
    "unreplicate": {"backend", "volumes"},
    "failover": {"backend", "target", "volumes"},
    "status": {"backend", "volumes"},
    "delete": {"backend", "volume"},
    "guard": {"backend", "operation", "image"},
    "freeze": {"backend", "reason"},
    "thaw": {"backend"},
}
"""What each call's body holds: no more and no less."""

OPTIONAL = {"delete": {"step"}, "replicate": {"cause"}, "guard": {"specs"}}
"""What it may hold besides."""


def refusal(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    answer = {"code": code, "message": message, "request_id": "req-1"}
    return {**answer, "field": field} if field else answer


def ok(volume: dict[str, str], status: str) -> dict[str, Any]:
    word = {"result": "ok", "replication_status": status, "status": "active - primary", "effect": "done"}
    return {**volume, **word}


def failed(volume: dict[str, str], status: str, code: str, message: str) -> dict[str, Any]:
    return {**volume, "result": "failed", "replication_status": status, "error": {"code": code, "message": message}}


class FakeSidecar:
    """Answers as a healthy sidecar would, until it is told otherwise."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failing: dict[str, tuple[str, str]] = {}
        self.reachable = "yes"
        self._answers: dict[str, Callable[[dict[str, Any]], Answer]] = {}
        self._raw: dict[str, bytes] = {}
        self._hangs: set[str] = set()
        self._end = threading.Event()
        self._server = _Server(socket_path, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    # The faults.

    def refuses(self, call: str, status: int, code: str, message: str, field: str | None = None) -> None:
        self._answers[call] = lambda _body: (status, refusal(code, message, field))

    def answers(self, call: str, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self._answers[call] = answer

    def sends(self, call: str, raw: bytes) -> None:
        """Bytes instead of an answer, and then the end of the connection."""
        self._raw[call] = raw

    def hangs(self, call: str) -> None:
        self._hangs.add(call)

    def fails_volume(self, volume_id: str, code: str, message: str) -> None:
        self.failing[volume_id] = (code, message)

    def recovers(self) -> None:
        self._answers.clear()
        self._raw.clear()
        self._hangs.clear()
        self.failing.clear()

    # What was asked.

    def asked(self, call: str) -> list[dict[str, Any]]:
        return [body for name, body in self.calls if name == call]

    def order(self) -> list[str]:
        return [body["operation"] if name == "guard" else name for name, body in self.calls if name != "backend"]

    def stop(self) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def handle(self, request: Any, call: str, body: dict[str, Any]) -> None:
        self.calls.append((call, body))
        if call in self._hangs:
            self._end.wait()
            return
        if call in self._raw:
            request.wfile.write(self._raw[call])
            return
        status, answer = self._answers.get(call, self._well)(body) if call != "backend" else self._backend(call, body)
        text = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _backend(self, call: str, body: dict[str, Any]) -> Answer:
        if call in self._answers:
            return self._answers[call](body)
        return 200, {"zone": "zone-a", "reachable": self.reachable, "frozen": None, "targets": ["zone-b"]}

    def _well(self, body: dict[str, Any]) -> Answer:
        call = self.calls[-1][0]
        if body.keys() - OPTIONAL.get(call, set()) != FIELDS[call]:
            return 400, refusal("malformed_body", f"fields {sorted(body)} instead of {sorted(FIELDS[call])}")
        if call == "check":
            replicated = body["specs"].get("replication_enabled") == "<is> True"
            return 200, {"replicated": replicated, "mode": {"mode": "instant"} if replicated else None, "group": None}
        if call == "delete":
            return 200, {"outcome": "proceed", "message": "both zones' images go now", "due": None}
        if "volumes" not in body:
            return 200, {}
        target = body.get("target") or "zone-b"
        word = {
            "replicate": "enabled",
            "unreplicate": "disabled",
            "status": "enabled",
            "failover": "enabled" if target == "default" else "failed-over",
        }[call]
        bad = "failover-error" if call == "failover" else "error"
        volumes = [self._volume(volume, word, bad) for volume in body["volumes"]]
        return 200, {"target": target, "volumes": volumes} if call == "failover" else {"volumes": volumes}

    def _volume(self, volume: dict[str, str], word: str, bad: str) -> dict[str, Any]:
        if volume["id"] in self.failing:
            return failed(volume, bad, *self.failing[volume["id"]])
        return ok(volume, word)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, socket_path: str, sidecar: FakeSidecar) -> None:
        self.sidecar = sidecar
        super().__init__(socket_path, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self, body: dict[str, Any]) -> None:
        path = self.path.partition("?")[0]
        self.close_connection = True
        self.server.sidecar.handle(self, path.removeprefix("/v1/cinder/"), body)

    def do_GET(self) -> None:
        self._handle({"query": self.path.partition("?")[2]})

    def do_POST(self) -> None:
        self._handle(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_args: Any) -> None:
        pass
