"""The sidecar's Cinder API, call by call. Shapes are checked here, once: behind this file an answer is what it says.

The contract is driver/openapi.yaml. No Cinder in here.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rekindle_cinder.errors import BadAnswer, Refused
from rekindle_cinder.transport import exchange

MAX_VOLUMES = 2000
"""What one call may carry."""

SHORT_TIMEOUT = 3.0
"""Seconds, for calls that the sidecar answers from what it knows."""

_ROOT = "/v1/cinder"


@dataclass(frozen=True)
class VolumeRef:
    """A volume as the sidecar knows it."""

    id: str
    image: str
    facts: Mapping[str, Any] | None = None
    """What Cinder knows of it; told when it is replicated."""
    taken_in: bool = False
    """Whether the record was made for an image of the other zone's."""

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {} if self.facts is None else {"facts": dict(self.facts)}
        if self.taken_in:
            told["taken_in"] = True
        return {"id": self.id, "image": self.image, **told}


@dataclass(frozen=True)
class VolumeResult:
    """What came of one volume. `failure` is None where it went well."""

    id: str
    image: str
    replication_status: str
    status: str | None
    failure: Refused | None


@dataclass(frozen=True)
class Deletion:
    """What became of a deletion. `is_ours`: the driver has nothing left to do."""

    is_ours: bool
    message: str


_PROCEED = "proceed"
_OURS = ("scheduled", "removed_by_us", "record_alone")


@dataclass(frozen=True)
class TypeAnswer:
    """What a volume type asks for."""

    replicated: bool
    mode: str | None
    group: str | None


@dataclass(frozen=True)
class Failover:
    """Where a failover led, and what came of each volume."""

    target: str
    volumes: list[VolumeResult]


@dataclass(frozen=True)
class Backend:
    """What the sidecar knows of a backend, also with a dead cluster."""

    zone: str
    reachable: str
    frozen: str | None
    targets: list[str]


class Sidecar:
    """The calls. Each is one exchange; nothing is kept between them."""

    def __init__(self, socket_path: str, timeout: float, failover_timeout: float) -> None:
        self._socket_path = socket_path
        self._timeout = timeout
        self._failover_timeout = failover_timeout

    def check(self, specs: Mapping[str, str]) -> TypeAnswer:
        answer = self._post("check", {"specs": dict(specs)})
        mode = answer.get("mode")
        return TypeAnswer(
            replicated=_get(answer, "replicated", bool),
            mode=None if mode is None else _get(_get(answer, "mode", dict), "mode", str),
            group=_optional(answer, "group", str),
        )

    def replicate(self, backend: str | None, specs: Mapping[str, str], volumes: Sequence[VolumeRef]) -> list[VolumeResult]:
        """As the type says, which is new to the volumes."""
        return self._about_volumes("replicate", {"backend": backend, "specs": dict(specs)}, volumes)

    def replicate_again(
        self, backend: str | None, specs: Mapping[str, str], volumes: Sequence[VolumeRef]
    ) -> list[VolumeResult]:
        """What is replicated stays as it is; the rest as its type says, which is what it was."""
        body = {"backend": backend, "specs": dict(specs), "cause": "again"}
        return self._about_volumes("replicate", body, volumes)

    def unreplicate(self, backend: str | None, volumes: Sequence[VolumeRef]) -> list[VolumeResult]:
        return self._about_volumes("unreplicate", {"backend": backend}, volumes)

    def status(self, backend: str | None, volumes: Sequence[VolumeRef]) -> list[VolumeResult]:
        return self._about_volumes("status", {"backend": backend}, volumes)

    def failover(self, backend: str | None, target: str | None, volumes: Sequence[VolumeRef]) -> Failover:
        body = {"backend": backend, "target": target, "volumes": [v.as_json() for v in volumes]}
        answer = self._post("failover", body, self._failover_timeout)
        return Failover(_get(answer, "target", str), _results(answer, volumes))

    def delete(self, backend: str | None, volume: VolumeRef) -> Deletion:
        """It may hand the volume over to the other zone, which takes as long as a failover of one."""
        answer = self._post("delete", {"backend": backend, "volume": volume.as_json()}, self._failover_timeout)
        outcome = _get(answer, "outcome", str)
        if outcome != _PROCEED and outcome not in _OURS:
            raise BadAnswer(f"a deletion's outcome is '{outcome}'")
        return Deletion(outcome != _PROCEED, f"{outcome}: {_get(answer, 'message', str)}")

    def would_delete(self, backend: str | None, volume: VolumeRef) -> None:
        """Whether the volume would follow a snapshot of it that is deleted first."""
        self._post("delete", {"backend": backend, "volume": volume.as_json(), "step": "snapshots_first"})

    def guard(self, backend: str | None, operation: str, image: str, specs: Mapping[str, str] | None = None) -> None:
        """`specs`: its type's, where the operation replicates it anew as they say."""
        told = {} if specs is None else {"specs": dict(specs)}
        self._post("guard", {"backend": backend, "operation": operation, "image": image, **told})

    def freeze(self, backend: str | None, reason: str) -> None:
        self._post("freeze", {"backend": backend, "reason": reason})

    def thaw(self, backend: str | None) -> None:
        self._post("thaw", {"backend": backend})

    def backend(self, backend: str | None) -> Backend:
        query = urllib.parse.urlencode({"backend": backend or ""})
        answer = self._call("GET", f"backend?{query}", None, min(SHORT_TIMEOUT, self._timeout))
        return Backend(
            zone=_get(answer, "zone", str),
            reachable=_get(answer, "reachable", str),
            frozen=_optional(answer, "frozen", str),
            targets=[str(target) for target in _get(answer, "targets", list)],
        )

    def _about_volumes(self, call: str, body: dict[str, Any], volumes: Sequence[VolumeRef]) -> list[VolumeResult]:
        answer = self._post(call, {**body, "volumes": [v.as_json() for v in volumes]})
        return _results(answer, volumes)

    def _post(self, call: str, body: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        return self._call("POST", call, json.dumps(body).encode(), self._timeout if timeout is None else timeout)

    def _call(self, method: str, call: str, body: bytes | None, timeout: float) -> dict[str, Any]:
        status, raw = exchange(self._socket_path, method, f"{_ROOT}/{call}", body, deadline=timeout)
        try:
            answer = json.loads(raw)
        except ValueError as error:
            raise BadAnswer(f"status {status} and a body that is no JSON") from error
        if not isinstance(answer, dict):
            raise BadAnswer(f"status {status} and a body that is no JSON object")
        if 200 <= status < 300:
            return answer
        raise _refusal(status, answer)


def in_parts(volumes: Sequence[VolumeRef], part: int = MAX_VOLUMES) -> list[Sequence[VolumeRef]]:
    """As many calls as it takes, and at least one."""
    return [volumes[at : at + part] for at in range(0, max(len(volumes), 1), part)]


def each_part(
    volumes: Sequence[VolumeRef], call: Callable[[Sequence[VolumeRef]], list[VolumeResult]]
) -> list[VolumeResult]:
    return [result for part in in_parts(volumes) for result in call(part)]


def _refusal(status: int, answer: Mapping[str, Any]) -> Refused:
    return Refused(
        status,
        _get(answer, "code", str),
        _get(answer, "message", str),
        _optional(answer, "field", str),
        _optional(answer, "request_id", str),
    )


def _results(answer: Mapping[str, Any], asked: Sequence[VolumeRef]) -> list[VolumeResult]:
    """One result for each asked volume, by id: an answer that leaves one out says nothing about it."""
    found: dict[str, VolumeResult] = {}
    for entry in _get(answer, "volumes", list):
        if not isinstance(entry, dict):
            raise BadAnswer("a volume's result is no object")
        result = _result(entry)
        found[result.id] = result
    missing = [volume.id for volume in asked if volume.id not in found]
    if missing:
        raise BadAnswer(f"it says nothing about volume {missing[0]} and {len(missing) - 1} more")
    return [found[volume.id] for volume in asked]


def _result(entry: Mapping[str, Any]) -> VolumeResult:
    outcome = _get(entry, "result", str)
    if outcome not in ("ok", "failed"):
        raise BadAnswer(f"a volume's result is '{outcome}'")
    failure = _refusal(500, _get(entry, "error", dict)) if outcome == "failed" else None
    return VolumeResult(
        id=_get(entry, "id", str),
        image=_get(entry, "image", str),
        replication_status=_get(entry, "replication_status", str),
        status=_optional(entry, "status", str),
        failure=failure,
    )


def _get(answer: Mapping[str, Any], key: str, kind: type) -> Any:
    value = answer.get(key)
    if not isinstance(value, kind):
        raise BadAnswer(f"'{key}' is missing or is no {kind.__name__}")
    return value


def _optional(answer: Mapping[str, Any], key: str, kind: type) -> Any:
    return None if answer.get(key) is None else _get(answer, key, kind)
