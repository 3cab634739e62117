"""From the sidecar's results to the updates that Cinder's manager expects. No I/O, and no decision: only translation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rekindle_cinder.client import VolumeResult
from rekindle_cinder.errors import SidecarError, cut

ENABLED = "enabled"
FAILED_OVER = "failed-over"
FAILING_OVER = "failing-over"
FAILOVER_ERROR = "failover-error"
DISABLED = "disabled"
NOT_CAPABLE = "not-capable"
ERROR = "error"

NOT_REPLICATED = (None, DISABLED, NOT_CAPABLE)
"""Statuses of a volume that the sidecar has nothing to do with."""

AT_WORK = ("attaching", "backing-up", "detaching", "extending", "retyping", "uploading")
"""What a volume is while Cinder works at it, where its image is there before and after. The work's end sets the status; a
failover that failed meanwhile writes over that, and nobody sets it again."""

WELL = (ENABLED, FAILED_OVER)
"""Statuses of a replicated volume that is served from where it should be."""

HOME = "default"
"""Cinder's name for the backend that a service was configured with."""

AT_HOME = (None, "", HOME)
"""What stands for it in an `active_backend_id`."""

UNKNOWN = "error - unknown"
"""The sidecar's word for a volume whose cluster does not answer."""

_IMAGE = "rekindle:image"
"""What the catalogue writes into the metadata of the records that it makes."""

_ZONE_KEY = "rekindle_backend"
"""Where a volume is that is not where its service is: one whose group moved alone, or one of the other zone's that stayed a
copy at home."""
_DRIVER_DATA_LIMIT = 255


def failed(volume: Any, why: SidecarError) -> dict[str, Any]:
    """The update for a volume whose failover failed.

    Cinder's manager takes the volume's status for its previous_status, whatever is said here (for a group it takes what is
    said). On a second failure that would be 'error', and what the volume was before would be lost: so the object that the
    manager holds gets its old status back first.
    """
    if was_marked(volume):
        volume.status = before(volume)
    return {
        "status": ERROR,
        "previous_status": volume.status,
        "replication_status": FAILOVER_ERROR,
        "replication_extended_status": cut(str(why)),
    }


def stayed(why: SidecarError, away: bool) -> dict[str, Any]:
    """The update for a volume of a group whose failover was refused. The manager has put `failing-over` there."""
    return {"replication_status": FAILED_OVER if away else ENABLED, "replication_extended_status": cut(str(why))}


def moved(volume: Any, replication_status: str, zone: str | None) -> dict[str, Any]:
    """The update for a volume that is where it should be now. `zone` is set where it alone moved, or its service alone."""
    update: dict[str, Any] = {"replication_status": replication_status, "replication_extended_status": None}
    if was_marked(volume):
        update["status"] = before(volume)
    data = with_zone(volume.replication_driver_data, zone)
    if data != volume.replication_driver_data:
        update["replication_driver_data"] = data
    return update


def was_marked(volume: Any) -> bool:
    """Whether an earlier failover put this volume into error, and what it was before is known."""
    return bool(
        volume.status == ERROR
        and volume.replication_status in (FAILOVER_ERROR, FAILING_OVER)
        and volume.previous_status
        and volume.previous_status != ERROR
    )


def before(volume: Any) -> str:
    """What the volume was before the failover that marked it. That it was being retyped, say, is over since: whether it is
    attached tells then."""
    status: str = volume.previous_status
    if status not in AT_WORK:
        return status
    return "in-use" if volume.attach_status == "attached" else "available"


def left_alone() -> dict[str, Any]:
    """For a volume without replication: Cinder's manager would call it failed-over if nothing were said."""
    return {"replication_status": NOT_CAPABLE}


def group_word(results: Sequence[VolumeResult], well: str, ill: str) -> str:
    """A group is as well as its worst volume."""
    return ill if any(result.failure for result in results) else well


def is_taken_in(volume: Any) -> bool:
    """Whether the record was made for an image of the other zone's. The image of a volume made here has its id."""
    if volume.name_id == volume.id:
        return False
    return zone_of(volume.replication_driver_data) == HOME or is_the_catalogues(volume)


def is_the_catalogues(volume: Any) -> bool:
    """Whether the catalogue made the record."""
    return volume.obj_attr_is_set("metadata") and _IMAGE in (volume.metadata or {})


def zone_of(driver_data: Any) -> str | None:
    """The backend that a volume is in without its service, by replication_driver_data: None, nonsense and other drivers'
    words are all "none"."""
    data = _parsed(driver_data)
    zone = data.get(_ZONE_KEY)
    return zone if isinstance(zone, str) and zone else None


def with_zone(driver_data: Any, zone: str | None) -> Any:
    """The same with another zone. What is not ours is kept as it is, unless there is a zone to write."""
    data = _parsed(driver_data)
    if zone is None:
        if _ZONE_KEY not in data:
            return driver_data
        rest = {key: value for key, value in data.items() if key != _ZONE_KEY}
        return _dumps(rest) if rest else None
    text = _dumps({**data, _ZONE_KEY: zone})
    return text if len(text) <= _DRIVER_DATA_LIMIT else _dumps({_ZONE_KEY: zone})


def _parsed(driver_data: Any) -> Mapping[str, Any]:
    if not isinstance(driver_data, str):
        return {}
    try:
        data = json.loads(driver_data)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _dumps(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), sort_keys=True)
