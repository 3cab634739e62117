"""RBDDriver whose volumes of a replicated type are replicated by the sidecar, however they come to be.

Upstream calls `_enable_replication` and `_disable_replication` from one place, `_setup_volume`, and forgets it in three:
encrypted volumes, full copies, and managed images of older releases. Here the sidecar is in the first two, and the three
are made good.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cinder import exception
from cinder.volume.drivers import rbd
from oslo_log import log as logging

from rekindle_cinder import facts, words
from rekindle_cinder.client import VolumeRef, VolumeResult
from rekindle_cinder.errors import Refused, SidecarError
from rekindle_cinder.faults import RekindleFault, UnusableType, as_fault, with_reason
from rekindle_cinder.guarded import GuardedRBDDriver
from rekindle_cinder.snapshots import by_its_name

LOG = logging.getLogger(__name__)

_OUR_SPECS = "rekindle:"

_NO_COPY = "the retype failed, and the volume has no copy now ({status}): retype it again"


class ReplicatedRBDDriver(GuardedRBDDriver):
    """Upstream's ways to make a volume, with the sidecar's replication."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._types: dict[str, Any] = {}
        self._reimaged: set[str] = set()

    # Making volumes: the type is checked before there is an image.

    def create_volume(self, volume: Any) -> Any:
        self._check_new(volume)
        with with_reason(volume):
            return self._replicated(volume, super().create_volume(volume))

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> Any:
        self._check_new(volume)
        self._refuse_elsewhere(volume, snapshot.volume)
        self._guard("clone", snapshot.volume)
        named = by_its_name(snapshot)
        if volume.size != snapshot.volume_size:
            has = self._gib(self, snapshot.volume_name, named.name)
            self._refuse_to_cut(volume, "clone", has, volume.size, snapshot)
        with with_reason(volume):
            return self._replicated(volume, super().create_volume_from_snapshot(volume, named))

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> Any:
        self._check_new(volume)
        self._refuse_elsewhere(volume, src_vref)
        self._guard("clone", src_vref)
        if volume.size != src_vref.size:
            self._refuse_to_cut(volume, "clone", self._gib(self, src_vref.name), volume.size, src_vref)
        with with_reason(volume):
            return self._replicated(volume, super().create_cloned_volume(volume, src_vref))

    def clone_image(
        self, context: Any, volume: Any, image_location: Any, image_meta: Any, image_service: Any
    ) -> tuple[dict[str, Any], bool]:
        self._check_new(volume)
        with with_reason(volume):
            answer: tuple[dict[str, Any], bool] = super().clone_image(
                context, volume, image_location, image_meta, image_service
            )
            return answer

    def _copy_image_to_volume(self, context: Any, volume: Any, *args: Any, **kwargs: Any) -> None:
        """Upstream removes the new volume's image and imports another of that name. Mirroring is taken off first: a
        primary that is deleted under mirroring would be a lost volume in the other zone's eyes."""
        if kwargs.get("disable_sparse"):
            self._reimage(context, volume, *args, **kwargs)
            return
        self._refuse_to_remake(volume)
        if self._is_replicated_type(volume.volume_type):
            self._disable_replication(volume)
        with self._replaces(volume), with_reason(volume):
            super()._copy_image_to_volume(context, volume, *args, **kwargs)

    def _reimage(self, context: Any, volume: Any, *args: Any, **kwargs: Any) -> None:
        """Upstream writes over the image where it is, and sets the volume up as if it were new: as its type says. Somebody
        may have put it into a group since."""
        self._guard("revert", volume)
        there: Any = _writing_where_it_is(self._at(volume))
        self._reimaged.add(volume.id)
        try:
            with self._replaces(volume), with_reason(volume):
                super(ReplicatedRBDDriver, there)._copy_image_to_volume(context, volume, *args, **kwargs)
        finally:
            self._reimaged.discard(volume.id)

    def _refuse_to_remake(self, volume: Any) -> None:
        """Cinder 21 comes here with a reimage too, which then takes the image away, whoever replicated it, and makes one of
        which only the type is known. A new volume has nothing to lose: its image is replicated as its type says, or not at
        all. The API writes a volume's previous status down before a reimage, and a new one has none."""
        zone = self._at(volume)._active_backend_id
        if zone != self._active_backend_id:
            self._refuse_reimage(
                volume,
                f"the volume is served from '{zone}', and its image would be made anew here: fail its group back first",
            )
        is_replicated = self._is_replicated_type(volume.volume_type)
        if is_replicated and volume.previous_status:
            self._guard("remake", volume, specs=self._specs(volume.volume_type))
            return
        self._guard("revert", volume)
        if is_replicated:
            return
        with as_fault():
            is_guarded = self._is_guarded(volume)
        if is_guarded:
            self._refuse_reimage(
                volume,
                "its image would be made anew, without its copy: take its replication off first (os-unreplicate), and "
                "replicate it anew behind the reimage",
            )

    def _refuse_reimage(self, volume: Any, why: str) -> None:
        refused = Refused(409, "replicated", why)
        self._tell(volume, "reimage", refused)
        raise RekindleFault(reason=str(refused))

    def retype(self, context: Any, volume: Any, new_type: Any, diff: Any, host: Any) -> Any:
        self._check_type(volume, new_type, "retype")
        self._guard("retype", volume)
        self._refuse_sharing(volume, new_type)
        try:
            with with_reason(volume):
                return super(ReplicatedRBDDriver, self._at(volume)).retype(context, volume, new_type, diff, host)
        except exception.CinderException:
            self._say_what_is_left(volume)
            raise

    # What upstream's _setup_volume calls.

    def _setup_volume(self, volume: Any, volume_type: Any = None) -> dict[str, Any]:
        self._types[volume.id] = volume_type or volume.volume_type
        try:
            update: dict[str, Any] = super()._setup_volume(volume, volume_type)
            if volume_type and all(map(self._is_replicated_type, (volume.volume_type, volume_type))):
                # Another mode, schedule or group, in place.
                update.update(self._replicate(volume))
        finally:
            self._types.pop(volume.id, None)
        return update

    def _enable_replication(self, volume: Any) -> dict[str, Any]:
        if _is_cinders_own(volume):
            return {"replication_status": words.DISABLED}
        parent = self._flatten_clone(volume)
        update = self._replicate(volume)
        if parent:
            self._drop_clone_parent(volume, *parent)
        return update

    def _disable_replication(self, volume: Any) -> dict[str, Any]:
        with as_fault():
            result = self._sidecar.unreplicate(self._backend_of(volume), [self._ref(volume)])[0]
        return {**_good(result), "replication_driver_data": None}

    def _replicate(self, volume: Any) -> dict[str, Any]:
        volume_type = self._types.get(volume.id) or volume.volume_type
        with as_fault():
            described = [self._described(volume, volume_type)]
            call = self._sidecar.replicate_again if volume.id in self._reimaged else self._sidecar.replicate
            result = call(self._backend_of(volume), self._specs(volume_type), described)[0]
        return _good(result)

    def _say_what_is_left(self, volume: Any) -> None:
        """A retype that failed may have left a volume without a copy. Cinder leaves it its old type, and its old word."""
        if volume.replication_status in words.NOT_REPLICATED:
            return
        try:
            result = self._sidecar.status(self._backend_of(volume), [self._ref(volume)])[0]
        except SidecarError as error:
            LOG.error("Volume %s: how its replication is after a failed retype is not known: %s", volume.id, error)
            return
        if result.replication_status in words.WELL or result.status == words.UNKNOWN:
            return
        LOG.error("Volume %s is not replicated since a retype failed: %s", volume.id, result.status)
        self._tell(volume, "retype", Refused(409, "not_replicated", _NO_COPY.format(status=result.status)))
        volume.replication_status = words.ERROR
        volume.save()

    def _described(self, volume: Any, volume_type: Any) -> VolumeRef:
        """With what Cinder knows of it: the other zone has it then from the volume's first moment on."""
        return VolumeRef(volume.id, self._image(volume.name), facts.of(volume, volume_type))

    def _replicated(self, volume: Any, update: Any) -> Any:
        """Where upstream made the volume without _setup_volume, it is called now."""
        if not self._is_replicated_type(volume.volume_type) or "replication_status" in (update or {}):
            return update
        return {**(update or {}), **self._setup_volume(volume)}

    # A mirrored image may not hang on a parent that is not mirrored (hard case 37).

    def _flatten_clone(self, volume: Any) -> tuple[str, str] | None:
        """Copy the parent's data into a clone. It takes as long as the data is large, in upstream's pool of threads.
        Returns the parent and its snapshot where upstream made that for the clone alone."""
        try:
            with rbd.RBDVolumeProxy(self, volume.name, read_only=True) as image:
                image.parent_info()
                _pool, parent, snapshot = self._get_clone_info(image, volume.name)
        except self.rbd.ImageNotFound:
            return None
        LOG.info("Volume %s is a clone and is flattened, for it is to be replicated.", volume.id)
        self._flatten(self.configuration.rbd_pool, volume.name)
        return (parent, snapshot) if parent and snapshot else None

    def _flatten(self, pool: str, volume_name: str) -> None:
        """Upstream asks for it twice where rbd_flatten_volume_from_snapshot is set; librbd refuses the second."""
        try:
            super()._flatten(pool, volume_name)
        except self.rbd.InvalidArgument:
            LOG.debug("%s/%s has no parent any more", pool, volume_name)

    def _drop_clone_parent(self, volume: Any, parent: str, snapshot: str) -> None:
        """Nothing hangs on the parent's snapshot now; left, it would keep the parent from ever being removed."""
        try:
            with rbd.RADOSClient(self) as client:
                self._delete_clone_parent_refs(client, parent, snapshot)
        except Exception:
            LOG.exception("Snapshot %s of %s is left over from making volume %s.", snapshot, parent, volume.id)

    # Types.

    def _check_new(self, volume: Any) -> None:
        self._check_type(volume, getattr(volume, "volume_type", None), "create")

    def _check_type(self, volume: Any, volume_type: Any, operation: str) -> None:
        """The sidecar's word on a type's extra specs, if they have anything to do with replication."""
        specs = self._specs(volume_type)
        if not any(key == rbd.EXTRA_SPECS_REPL_ENABLED or key.startswith(_OUR_SPECS) for key in specs):
            return
        try:
            answer = self._sidecar.check(specs)
            if self._is_replicated_type(volume_type) and operation == "create":
                self._sidecar.guard(self._active_backend_id or None, "create", self._image(volume.name))
        except SidecarError as error:
            self._tell(volume, operation, error)
            if error.code == "invalid_field":
                raise UnusableType(reason=f"{error.field}: {error}" if error.field else str(error)) from error
            raise RekindleFault(reason=str(error)) from error
        if answer.replicated != self._is_replicated_type(volume_type):
            raise UnusableType(reason="replication_enabled: Cinder takes nothing but '<is> True' for it")

    def _refuse_sharing(self, volume: Any, new_type: Any) -> None:
        """Upstream takes the journal and the lock off the image of a volume that several servers may have. Where the type
        says that it is replicated, mirroring goes first; one that is replicated by an action keeps it."""
        if self._is_replicated_type(volume.volume_type) or not self._is_multiattach_type(new_type):
            return
        with as_fault():
            if not self._is_guarded(volume):
                return
        refused = Refused(
            409,
            "multiattach",
            "a volume that several servers write to cannot be replicated, and this one is: take its replication off "
            "first (os-unreplicate)",
        )
        self._tell(volume, "retype", refused)
        raise RekindleFault(reason=str(refused))

    @staticmethod
    def _specs(volume_type: Any) -> dict[str, str]:
        specs = getattr(volume_type, "extra_specs", None)
        return {str(key): str(value) for key, value in specs.items()} if isinstance(specs, Mapping) else {}


class _Active:
    """The backend's configuration, with the cluster that is active for its own."""

    def __init__(self, configuration: Any, active: Mapping[str, Any]) -> None:
        self._configuration = configuration
        self.rbd_ceph_conf = active["conf"]
        self.rbd_user = active["user"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._configuration, name)


def _writing_where_it_is(driver: Any) -> Any:
    """Upstream's reimage writes to the cluster that is configured, wherever the volume is served from."""
    if driver._active_backend_id in words.AT_HOME:
        return driver
    view = copy.copy(driver)
    view.configuration = _Active(driver.configuration, driver._active_config)
    return view


def _is_cinders_own(volume: Any) -> bool:
    """Whether Cinder makes it for itself and deletes it soon, for a backup say: of its user's type, and nothing that
    anybody would want back. What a migration copies into counts for no quota either, and becomes the volume."""
    return not volume.use_quota and not volume.migration_status


def _good(result: VolumeResult) -> dict[str, Any]:
    if result.failure:
        raise RekindleFault(reason=str(result.failure))
    return {"replication_status": result.replication_status}
