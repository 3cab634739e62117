"""A sidecar that agrees to everything at once, for tests whose subject is upstream's part of the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rekindle_cinder.client import Backend, Failover, TypeAnswer, VolumeRef, VolumeResult


class FriendlySidecar:
    def check(self, specs: Mapping[str, str]) -> TypeAnswer:
        return TypeAnswer(specs.get("replication_enabled") == "<is> True", "instant", None)

    def guard(self, backend: str | None, operation: str, image: str) -> None:
        pass

    def replicate(self, backend: str | None, specs: Mapping[str, str], volumes: Sequence[VolumeRef]) -> list[VolumeResult]:
        return [VolumeResult(v.id, v.image, "enabled", "active - primary", None) for v in volumes]

    def unreplicate(self, backend: str | None, volumes: Sequence[VolumeRef]) -> list[VolumeResult]:
        return [VolumeResult(v.id, v.image, "disabled", None, None) for v in volumes]

    def failover(self, backend: str | None, target: str | None, volumes: Sequence[VolumeRef]) -> Failover:
        word = "enabled" if target == "default" else "failed-over"
        results = [VolumeResult(v.id, v.image, word, "active - primary", None) for v in volumes]
        return Failover(target or "secondary-backend", results)

    def backend(self, backend: str | None) -> Backend:
        return Backend("zone-a", "yes", None, ["zone-b"])
