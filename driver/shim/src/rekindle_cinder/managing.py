"""RBDDriver that takes in what is there already: an image or a snapshot of the other zone's, as it is.

    {"source-name": "volume-<uuid>"}                      one's own image is renamed; a copy is taken as it is
    {"source-name": "volume-<uuid>", "rename": "false"}   any replicated image as it is: the catalogue's way

A copy belongs to the zone of its primary. Nothing here renames, protects or removes what is a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cinder import context as cinder_context
from cinder import exception, objects
from cinder.volume import volume_utils
from cinder.volume.drivers import rbd
from oslo_log import log as logging
from oslo_utils import strutils, uuidutils

from rekindle_cinder import messages, words
from rekindle_cinder.client import VolumeRef
from rekindle_cinder.errors import Refused, SidecarError
from rekindle_cinder.faults import RekindleFault, as_fault, with_reason
from rekindle_cinder.guarded import NOT_PRIMARY
from rekindle_cinder.replicated import ReplicatedRBDDriver
from rekindle_cinder.snapshots import id_in, mapped_name

LOG = logging.getLogger(__name__)

_MIRROR_SNAPSHOT = ".mirror."
_NOT_MIRRORED = "error - not mirrored"


class ManagingRBDDriver(ReplicatedRBDDriver):
    """Upstream's manage and unmanage, with images and snapshots that keep their names."""

    def manage_existing_get_size(self, volume: Any, existing_ref: Any) -> Any:
        """What Cinder asks first: here it shows that there is no such image."""
        with _told(volume):
            return super().manage_existing_get_size(volume, existing_ref)

    def manage_existing(self, volume: Any, existing_ref: dict[str, str]) -> Any:
        with _told(volume):
            return self._manage(volume, existing_ref)

    def _manage(self, volume: Any, existing_ref: dict[str, str]) -> Any:
        """A secondary becomes a volume as it is: by the id in its name, for it cannot be renamed."""
        name = existing_ref["source-name"]
        if _keeps_its_name(existing_ref):
            return self._take_in(volume, name, existing_ref)
        if self._is_replication_enabled:
            _refuse_managed(name)
        if self._is_secondary(volume, name):
            return self._as_it_is(name, existing_ref)
        self._check_type(volume, volume.volume_type, "manage")
        with with_reason(volume):
            return self._replicated(volume, super().manage_existing(volume, existing_ref))

    def _take_in(self, volume: Any, name: str, existing_ref: dict[str, str]) -> dict[str, Any]:
        update = self._as_it_is(name, existing_ref)
        if not self._is_replication_enabled:
            raise _invalid(existing_ref, "this backend has no replication_device, so no image of it is replicated")
        _refuse_managed(name)
        # Also refused here: a zone that is frozen, and an image that is marked for its deletion.
        self._is_secondary(volume, name)
        with as_fault():
            backend = self._active_backend_id or None
            image = VolumeRef(volume.id, self._image(name), taken_in=words.is_the_catalogues(volume))
            found = self._sidecar.status(backend, [image])[0]
        if found.failure:
            raise RekindleFault(reason=str(found.failure))
        if found.status is None:
            raise _invalid(existing_ref, f"there is no image '{name}'")
        if found.status == _NOT_MIRRORED or found.replication_status == words.DISABLED:
            raise _invalid(
                existing_ref, f"image '{name}' is not replicated: leave 'rename' out, and it is taken in by a rename"
            )
        if self._active_backend_id not in words.AT_HOME:
            # The service is failed over to where the image is primary. If it is the other zone's own, this record is of the
            # copy at home.
            if found.replication_status == words.FAILED_OVER:
                update["replication_status"] = words.FAILED_OVER
            else:
                update["replication_driver_data"] = words.with_zone(None, words.HOME)
        return update

    def _is_secondary(self, volume: Any, name: str) -> bool:
        if not self._is_replication_enabled:
            return False
        try:
            self._sidecar.guard(self._active_backend_id or None, "manage", self._image(name))
        except SidecarError as error:
            if error.code == NOT_PRIMARY:
                return True
            self._tell(volume, "manage", error)
            raise RekindleFault(reason=str(error)) from error
        return False

    @staticmethod
    def _as_it_is(name: str, existing_ref: dict[str, str]) -> dict[str, Any]:
        name_id = volume_utils.extract_id_from_volume_name(name)
        if not uuidutils.is_uuid_like(name_id):
            raise _invalid(
                existing_ref,
                f"image '{name}' is replicated, and its name is not that of a Cinder volume of the other zone. It cannot "
                "be renamed: promote it or take mirroring off in its zone first",
            )
        LOG.info("Image %s is managed without a rename.", name)
        # For a volume that it makes Cinder notes that RBD shares no targets; of one that it is given it assumes the
        # worst. A host without iSCSI's tools then wants a lock in the name of a service that is not noted either,
        # and attaches none of them.
        return {"_name_id": name_id, "replication_status": words.ENABLED, "shared_targets": False}

    # Snapshots.

    def manage_existing_snapshot(self, snapshot: Any, existing_ref: Any) -> Any:
        if not _keeps_its_name(existing_ref):
            self._guard("snapshot_create", snapshot.volume)
            return super().manage_existing_snapshot(snapshot, existing_ref)
        name = existing_ref["source-name"]
        if not id_in(name):
            raise _invalid(existing_ref, f"'{name}' is not the name of a snapshot that a Cinder made")
        LOG.info("Snapshot %s of %s is managed without a rename.", name, snapshot.volume_name)
        return {"provider_id": name}

    def unmanage_snapshot(self, snapshot: Any) -> None:
        """Cinder forgets it. Upstream takes its protection off; the other zone counts on that, and a copy refuses it."""
        if mapped_name(snapshot):
            return
        if self._guard("unmanage", snapshot.volume, unless=NOT_PRIMARY):
            return
        try:
            super().unmanage_snapshot(snapshot)
        except self.rbd.ImageNotFound:
            # A record whose import failed, for its snapshot had not arrived: an error here would keep it for ever.
            LOG.info("Snapshot %s of %s is not there; only its record goes.", snapshot.name, snapshot.volume_name)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> Any:
        if mapped_name(snapshot):
            self._guard("clone", snapshot.volume)
            self._protect(snapshot.volume_name, mapped_name(snapshot))
        return super().create_volume_from_snapshot(volume, snapshot)

    def _protect(self, volume_name: str, snapshot_name: str | None) -> None:
        """As upstream's create_snapshot leaves it. Mirroring brings that along, but for one that was made by hand."""
        with rbd.RBDVolumeProxy(self, volume_name) as image:
            if not image.is_protected_snap(snapshot_name):
                image.protect_snap(snapshot_name)

    def get_manageable_snapshots(
        self,
        cinder_snapshots: list[Any],
        marker: Any,
        limit: int,
        offset: int,
        sort_keys: list[str],
        sort_dirs: list[str],
    ) -> list[dict[str, Any]]:
        """Upstream's list, less mirroring's own snapshots, and with those known that are managed under another name."""
        names = {mapped_name(s): s["id"] for s in cinder_snapshots if mapped_name(s)}
        listed = super().get_manageable_snapshots(cinder_snapshots, None, _ALL, 0, sort_keys, sort_dirs)
        found = []
        for entry in listed:
            name = entry["reference"]["source-name"]
            if name.startswith(_MIRROR_SNAPSHOT):
                continue
            if name in names:
                entry.update(safe_to_manage=False, reason_not_safe="already managed", cinder_id=names[name])
            found.append(entry)
        entries: list[dict[str, Any]] = volume_utils.paginate_entries_list(
            found, marker, limit, offset, sort_keys, sort_dirs
        )
        return entries


_ALL = 1_000_000
"""More than a pool has snapshots: what is listed is filtered before it is cut into pages."""


def _keeps_its_name(existing_ref: Any) -> bool:
    if not isinstance(existing_ref, Mapping) or "rename" not in existing_ref:
        return False
    return not strutils.bool_from_string(existing_ref["rename"], default=True)


def _is_managed(name_id: str) -> bool:
    """Whether a volume of this Cinder has that image already, by its own id or as one that was taken in."""
    context = cinder_context.get_admin_context()
    return bool(
        objects.Volume.exists(context, name_id) or objects.VolumeList.get_all(context, filters={"_name_id": name_id})
    )


def _refuse_managed(name: str) -> None:
    """A rename would take a volume's image from under it: upstream does not ask whose it is. Two records of one image are
    no better: it is deleted with either."""
    name_id = volume_utils.extract_id_from_volume_name(name)
    if uuidutils.is_uuid_like(name_id) and _is_managed(name_id):
        raise exception.ManageExistingAlreadyManaged(volume_ref=name)


@contextmanager
def _told(volume: Any) -> Iterator[None]:
    """Cinder carries it out behind its answer, and tells the user no reason: a bad reference is one that they gave."""
    try:
        yield
    except (exception.ManageExistingInvalidReference, exception.ManageExistingAlreadyManaged) as error:
        refused = Refused(400, "bad_reference", str(error.kwargs.get("reason") or error))
        messages.tell(getattr(volume, "obj_context", None), "manage", volume.id, refused)
        raise


def _invalid(existing_ref: Any, reason: str) -> exception.ManageExistingInvalidReference:
    return exception.ManageExistingInvalidReference(existing_ref=existing_ref, reason=reason)
