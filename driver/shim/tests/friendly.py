"""A sidecar that agrees to everything at once, for tests whose subject is upstream's part of the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rekindle_cinder.client import Backend, Deletion, Failover, TypeAnswer, VolumeRef, VolumeResult
from rekindle_cinder.errors import Refused, SidecarError


class FriendlySidecar:
    """Until it is told otherwise: `failing` holds ids of volumes, `theirs` those of the other zone's own, `refusing` calls
    and what they raise, `primary_in` the backends where volumes are primary that are not in the one that is asked."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.theirs: set[str] = set()
        self.refusing: dict[str, SidecarError] = {}
        self.primary_in: dict[str, str] = {}
        self.deletion = Deletion(False, "proceed: both zones' images go now")

    def check(self, specs: Mapping[str, str]) -> TypeAnswer:
        self._refuse("check")
        return TypeAnswer(specs.get("replication_enabled") == "<is> True", "instant", None)

    def delete(self, backend: str | None, volume: VolumeRef) -> Deletion:
        self._refuse("delete")
        return self.deletion

    def would_delete(self, backend: str | None, volume: VolumeRef) -> None:
        self._refuse("delete")

    def guard(self, backend: str | None, operation: str, image: str, specs: Mapping[str, str] | None = None) -> None:
        self._refuse("guard")

    def replicate(self, backend: str | None, specs: Mapping[str, str], volumes: Sequence[VolumeRef]) -> list[VolumeResult]:
        self._refuse("replicate")
        return [VolumeResult(v.id, v.image, "enabled", "active - primary", None) for v in volumes]

    def replicate_again(
        self, backend: str | None, specs: Mapping[str, str], volumes: Sequence[VolumeRef]
    ) -> list[VolumeResult]:
        return self.replicate(backend, specs, volumes)

    def unreplicate(self, backend: str | None, volumes: Sequence[VolumeRef]) -> list[VolumeResult]:
        self._refuse("unreplicate")
        return [VolumeResult(v.id, v.image, "disabled", None, None) for v in volumes]

    def failover(self, backend: str | None, target: str | None, volumes: Sequence[VolumeRef]) -> Failover:
        self._refuse("failover")
        word = "enabled" if target == "default" else "failed-over"
        results = [self._moved(volume, word) for volume in volumes]
        return Failover(target or "secondary-backend", results)

    def status(self, backend: str | None, volumes: Sequence[VolumeRef]) -> list[VolumeResult]:
        self._refuse("status")
        backend = backend or "default"
        word = "enabled" if backend == "default" else "failed-over"
        return [
            self._moved(volume, word)
            if self.primary_in.get(volume.id, backend) == backend
            else VolumeResult(volume.id, volume.image, "error", "active - secondary", None)
            for volume in volumes
        ]

    def freeze(self, backend: str | None, reason: str) -> None:
        self._refuse("freeze")

    def thaw(self, backend: str | None) -> None:
        self._refuse("thaw")

    def backend(self, backend: str | None) -> Backend:
        self._refuse("backend")
        return Backend("zone-a", "yes", None, ["zone-b"])

    def _refuse(self, call: str) -> None:
        if call in self.refusing:
            raise self.refusing[call]

    def _moved(self, volume: VolumeRef, word: str) -> VolumeResult:
        if volume.id in self.failing:
            failure = Refused(409, "no_complete_copy", "there is no complete copy here")
            return VolumeResult(volume.id, volume.image, "failover-error", None, failure)
        if volume.id in self.theirs:
            word = "enabled"
        return VolumeResult(volume.id, volume.image, word, "active - primary", None)
