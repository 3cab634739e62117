"""A snapshot of a copy is a Cinder snapshot here under another id: its RBD snapshot keeps the name that it came with.

A volume has `_name_id` for that, a snapshot has not. The name stands in the snapshot's `provider_id`, which Cinder's
manager saves from the driver's answer and the RBD driver does not use; upstream's methods get the snapshot by that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cinder.volume import volume_utils
from oslo_utils import uuidutils


class _UnderItsName:
    """The snapshot in all but its name."""

    def __init__(self, snapshot: Any, name: str) -> None:
        self._snapshot = snapshot
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._snapshot, attribute)


def mapped_name(snapshot: Any) -> str | None:
    """The RBD snapshot's name, where it is not Cinder's own."""
    if isinstance(snapshot, Mapping):
        name = snapshot.get("provider_id")
    else:
        is_set = getattr(snapshot, "obj_attr_is_set", None)
        name = getattr(snapshot, "provider_id", None) if is_set is None or is_set("provider_id") else None
    return name if isinstance(name, str) and id_in(name) else None


def by_its_name(snapshot: Any) -> Any:
    """For upstream's methods."""
    name = mapped_name(snapshot)
    return snapshot if name is None else _UnderItsName(snapshot, name)


def id_in(name: str) -> str | None:
    """The id in the name of a snapshot that some Cinder made; mirroring's own and all others have none."""
    found = volume_utils.extract_id_from_snapshot_name(name)
    return found if found and uuidutils.is_uuid_like(found) else None
