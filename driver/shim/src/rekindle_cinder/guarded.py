"""RBDDriver whose operations on replicated volumes ask the sidecar first. The operations themselves are upstream's.

Cinder's own freeze stops deletions and snapshots only, and Cinder knows nothing of a failover that the orchestrator made:
that a volume is frozen, or is a copy now, is the sidecar's knowledge (hard cases 32 and 48).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cinder import exception, objects
from cinder.volume.drivers import rbd
from oslo_log import log as logging
from oslo_utils import units

from rekindle_cinder import messages, words
from rekindle_cinder.client import VolumeRef
from rekindle_cinder.errors import Refused, SidecarError
from rekindle_cinder.faults import RekindleFault, as_fault
from rekindle_cinder.mirrored import is_mirrored
from rekindle_cinder.snapshots import by_its_name
from rekindle_cinder.startup import PatientRBDDriver

LOG = logging.getLogger(__name__)

NOT_PRIMARY = "not_primary"

_DELETING = "deleting"

_TARGET = "target:"
"""What Cinder writes into the `migration_status` of a volume that it migrates another to, before that one's id."""

_TYPE_OFF = "retype it to a type without replication first, and back when it is there"
_ACTION_OFF = "take its replication off first (os-unreplicate), and replicate it anew when it is there"


class GuardedRBDDriver(PatientRBDDriver):
    """Upstream's data path behind the guard."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._replacing: set[str] = set()
        # What the last failover left at home. Cinder writes it down behind it, when the service is away already.
        self._stayed: frozenset[str] = frozenset()
        self._purges_refused: dict[str, str] = {}

    def delete_volume(self, volume: Any) -> None:
        """What becomes of the images is the volume's policy, and the sidecar's to carry out. A refused deletion leaves the
        volume available. That of a copy is Cinder's record alone: its image goes when its primary goes."""
        why = self._purges_refused.pop(volume.id, None)
        if why is not None:
            raise exception.VolumeIsBusy(why, volume_name=volume.name)
        try:
            is_guarded = self._is_guarded(volume)
            deletion = self._sidecar.delete(self._backend_of(volume), self._ref(volume)) if is_guarded else None
        except SidecarError as error:
            LOG.error("Volume %s is not deleted: %s", volume.id, error)
            self._tell(volume, "delete", error)
            raise exception.VolumeIsBusy(f"Rekindle: {error}", volume_name=volume.name) from error
        if deletion is None:
            super().delete_volume(volume)
            return
        if deletion.is_ours:
            LOG.warning("Volume %s: Cinder forgets it, its image is the sidecar's (%s).", volume.id, deletion.message)
            return
        super(GuardedRBDDriver, self._at(volume)).delete_volume(volume)

    def delete_snapshot(self, snapshot: Any) -> None:
        """A refused deletion leaves the snapshot available. That of a copy's is Cinder's record alone."""
        volume = snapshot.volume
        purged = volume.status == _DELETING
        try:
            with as_fault():
                is_guarded = purged and self._is_guarded(volume)
            if is_guarded:
                self._refuse_a_vain_purge(volume)
            copy_of = self._guard("snapshot_delete", volume, unless=NOT_PRIMARY)
        except RekindleFault as error:
            LOG.error("Snapshot %s is not deleted: %s", snapshot.id, error)
            if purged:
                # Cinder goes on with the next one, and with the volume.
                self._purges_refused.setdefault(volume.id, str(error))
            raise exception.SnapshotIsBusy(str(error), snapshot_name=snapshot.name) from error
        if copy_of:
            LOG.warning("Snapshot %s is of a copy: Cinder forgets it, and nothing else (%s).", snapshot.id, copy_of)
            return
        super(GuardedRBDDriver, self._at(volume)).delete_snapshot(by_its_name(snapshot))

    def create_snapshot(self, snapshot: Any) -> Any:
        self._guard("snapshot_create", snapshot.volume)
        return super(GuardedRBDDriver, self._at(snapshot.volume)).create_snapshot(snapshot)

    def extend_volume(self, volume: Any, new_size: Any) -> None:
        """A copy grows with its primary. Its record may follow, and nothing else. A primary is never made smaller: upstream
        sets an image to the size that it is told, and the record may be behind (hard case 35)."""
        copy_of = self._guard("extend", volume, unless=NOT_PRIMARY)
        has = self._gib(self._at(volume), volume.name)
        if not copy_of:
            self._refuse_to_cut(volume, "extend", has, int(new_size), volume)
            super(GuardedRBDDriver, self._at(volume)).extend_volume(volume, new_size)
            return
        if has != int(new_size):
            refused = Refused(
                409, NOT_PRIMARY, f"the volume is a copy, and has {has} GiB: grow its primary to {new_size} GiB first"
            )
            self._tell(volume, "extend", refused)
            raise RekindleFault(reason=str(refused))
        LOG.info("Volume %s is a copy of %s GiB: its record follows.", volume.id, has)

    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:
        self._guard("revert", volume)
        super(GuardedRBDDriver, self._at(volume)).revert_to_snapshot(context, volume, by_its_name(snapshot))

    # Migration: Cinder makes another volume, copies, and deletes the source, by its policy, in both zones. Its API refuses
    # that for what is replicated. A volume that was replicated since gets past it, and ends here before it is copied.

    def create_volume(self, volume: Any) -> Any:
        """The volume that a migration copies into is made first, with the fields of its source. One that a server has is
        copied by Nova, and nobody asks again."""
        status = str(volume.migration_status or "")
        if status.startswith(_TARGET):
            self._refuse_migration(volume if _says_replicated(volume) else _source_of(volume, status))
        return super().create_volume(volume)

    def migrate_volume(self, context: Any, volume: Any, host: Any) -> Any:
        self._refuse_migration(volume)
        return super(GuardedRBDDriver, self._at(volume)).migrate_volume(context, volume, host)

    def before_volume_copy(self, context: Any, src_vol: Any, dest_vol: Any, remote: Any = None) -> None:
        """Where the target is another driver's, this is the last that is heard of it before the copy."""
        self._refuse_migration(src_vol)
        super().before_volume_copy(context, src_vol, dest_vol, remote)

    def update_migrated_volume(self, ctxt: Any, volume: Any, new_volume: Any, original_volume_status: str) -> Any:
        """A volume that a retype moved here, and replicated, keeps its image's name: a rename would reach the copy later
        than the other zone's catalogue looks. Cinder does the same with a volume in use."""
        with as_fault():
            stays = self._is_guarded(new_volume)
        if stays:
            return {"_name_id": new_volume.name_id, "provider_location": new_volume.provider_location}
        return super().update_migrated_volume(ctxt, volume, new_volume, original_volume_status)

    def unmanage(self, volume: Any) -> None:
        """Cinder forgets it. That of a copy is never refused, for the image is touched in no case."""
        self._guard("unmanage", volume, unless=NOT_PRIMARY)
        super().unmanage(volume)

    def initialize_connection(self, volume: Any, connector: Any) -> Any:
        self._guard("attach", volume)
        return super(GuardedRBDDriver, self._at(volume)).initialize_connection(volume, connector)

    def copy_volume_to_image(self, context: Any, volume: Any, image_service: Any, image_meta: Any) -> None:
        self._guard("attach", volume)
        super(GuardedRBDDriver, self._at(volume)).copy_volume_to_image(context, volume, image_service, image_meta)

    def get_backup_device(self, context: Any, backup: Any) -> Any:
        self._guard("backup", objects.Volume.get_by_id(context, backup.volume_id))
        return super().get_backup_device(context, backup)

    def _guard(
        self, operation: str, volume: Any, unless: str | None = None, specs: Mapping[str, str] | None = None
    ) -> SidecarError | None:
        """Ask whether the operation may go on. A volume without replication is none of the sidecar's business. A refusal
        of the code `unless` is the caller's, who gets it."""
        try:
            if not self._is_guarded(volume):
                return None
            self._sidecar.guard(self._backend_of(volume), operation, self._image(volume.name), specs)
        except SidecarError as error:
            if error.code == unless:
                return error
            self._tell(volume, operation, error)
            raise RekindleFault(reason=str(error)) from error
        return None

    @staticmethod
    def _gib(driver: Any, name: str, snapshot: str | None = None) -> int:
        """The size of an image, or of its snapshot, as Cinder counts."""
        with rbd.RBDVolumeProxy(driver, name, snapshot=snapshot, read_only=True) as image:
            return -(-int(image.size()) // int(units.Gi))

    def _refuse_to_cut(self, volume: Any, operation: str, has: int, gib: int, source: Any) -> None:
        """`has` is what the image of `source` has, `gib` what one would be set to. An encrypted one has a header beside."""
        if has <= gib or source.encryption_key_id:
            return
        refused = Refused(
            409,
            "size",
            f"the image has {has} GiB, and Cinder's record of it less: {gib} GiB would cut its data. "
            f"The catalogue's keeper makes that right; ask for {has} GiB or more",
        )
        self._tell(volume, operation, refused)
        raise RekindleFault(reason=str(refused))

    def _refuse_elsewhere(self, volume: Any, source: Any) -> None:
        """Upstream clones within the backend's cluster. There a volume whose group moved alone is a copy, and behind. One
        that stayed at home is the other zone's."""
        zone = self._at(source)._active_backend_id
        if zone == self._active_backend_id:
            return
        why = (
            "the source is a volume of the other zone's, and a copy at home: make it there"
            if zone == words.HOME
            else f"the source is served from '{zone}', for its group was failed over alone, and its image here is a copy: "
            "fail the group back first, or the whole backend over"
        )
        refused = Refused(409, NOT_PRIMARY, why)
        self._tell(volume, "clone", refused)
        raise RekindleFault(reason=str(refused))

    def _refuse_a_vain_purge(self, volume: Any) -> None:
        """A volume that is deleted with its snapshots loses them first. Where it would stay, so do they; and once one was
        refused, so are those behind it."""
        why = self._purges_refused.get(volume.id)
        if why is not None:
            raise RekindleFault(reason=why)
        try:
            self._sidecar.would_delete(self._backend_of(volume), self._ref(volume))
        except SidecarError as error:
            self._tell(volume, "delete", error)
            raise RekindleFault(reason=str(error)) from error

    def _refuse_migration(self, volume: Any) -> None:
        try:
            if not self._is_guarded(volume):
                return
            raise Refused(
                409,
                "replicated",
                "a replicated volume is not migrated, for its source would be deleted in both zones: "
                + (_TYPE_OFF if _says_replicated(volume) else _ACTION_OFF),
            )
        except SidecarError as refused:
            self._tell(volume, "migrate", refused)
            raise RekindleFault(reason=str(refused)) from refused

    def _is_guarded(self, volume: Any) -> bool:
        """By Cinder's record or, where that does not say so, by the image: a SidecarError where it is not known."""
        if volume.id in self._replacing:
            return False
        return _says_replicated(volume) or is_mirrored(self._at(volume), volume.name)

    @contextmanager
    def _replaces(self, volume: Any) -> Iterator[None]:
        """While upstream deletes an image only to make it anew, in the middle of one operation."""
        self._replacing.add(volume.id)
        try:
            yield
        finally:
            self._replacing.discard(volume.id)

    @staticmethod
    def _tell(volume: Any, operation: str, error: SidecarError) -> None:
        messages.tell(getattr(volume, "obj_context", None), operation, volume.id, error)

    def _image(self, name: str) -> str:
        return f"{self.configuration.rbd_pool}/{name}"

    def _ref(self, volume: Any) -> VolumeRef:
        return VolumeRef(volume.id, self._image(volume.name), taken_in=words.is_taken_in(volume))

    def _backend_of(self, volume: Any) -> str | None:
        """The backend that holds the volume: the service's, but for one whose group moved alone, or that stayed."""
        return self._at(volume)._active_backend_id or None

    def _at(self, volume: Any) -> Any:
        """This driver as it stands in the zone of the volume."""
        if self._active_backend_id not in words.AT_HOME:
            stayed = volume.id in self._stayed or words.zone_of(volume.replication_driver_data) == words.HOME
            return self._in(words.HOME) if stayed else self
        if volume.replication_status in (words.ENABLED, *words.NOT_REPLICATED):
            return self
        zone = words.zone_of(volume.replication_driver_data)
        if zone is None or zone not in self._target_names:
            return self
        return self._in(zone)

    def _in(self, zone: str) -> Any:
        view = copy.copy(self)
        view._active_backend_id = zone
        view._active_config = self._get_target_config(zone)
        return view


def _says_replicated(volume: Any) -> bool:
    return volume.replication_status not in words.NOT_REPLICATED


def _source_of(target: Any, migration_status: str) -> Any:
    return objects.Volume.get_by_id(target.obj_context, migration_status.removeprefix(_TARGET))
