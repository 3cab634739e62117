"""Volumes and their snapshots that a failover put into error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rekindle_cinder import words
from rekindle_cinder.repair import services
from rekindle_cinder.repair.facts import HOME, Change, Left, NotPrimary, Primary, Rules, Unknown, Volume, World

_SETTLED = ("available", "in-use", "reserved", "awaiting-transfer", "maintenance")
"""What a volume can be while nobody works at it, besides Cinder's error_*."""

_SNAPSHOT = (
    "Cinder put all snapshots of its volume into error at that failover. One that was in error before cannot be told "
    "apart, and becomes available with them: look at it before it is used"
)


def plan(volume: Volume, world: World, rules: Rules) -> Iterator[Change | Left]:
    if volume.replication_status in (None, words.DISABLED):
        return
    if volume.replication_status == words.NOT_CAPABLE:
        yield from _unreplicated(volume, world, rules)
    else:
        yield from _replicated(volume, world, rules)


def previous(volume: Volume) -> str | None:
    """The status that the volume can be given back."""
    before = volume.previous_status
    return before if before and (before in _SETTLED or before.startswith("error_")) else None


def not_given_back(volume: Volume) -> str:
    """Why there is none."""
    if not volume.previous_status or volume.previous_status == words.ERROR:
        return "what its status was before is not known"
    return f"it was '{volume.previous_status}' before, and nobody is at that work any more"


def _unreplicated(volume: Volume, world: World, rules: Rules) -> Iterator[Change | Left]:
    """Cinder marks them before it asks the driver: in error, not-capable."""
    if volume.status != words.ERROR:
        return
    before = previous(volume)
    if before is None:
        yield _left(volume, f"{not_given_back(volume)}: look at its image, then `cinder reset-state`")
        return
    if world.active != HOME and not rules.away_too:
        yield _left(
            volume,
            f"it is not replicated, and the backend is served from '{world.active}': its image is not there, and a "
            "deletion would forget it. It is given back after the failback, or now with --away-too",
        )
        return
    to = {"status": before, "previous_status": None, "replication_status": words.DISABLED}
    why = "it is not replicated: Cinder put it into error at a failover, before the driver was asked"
    yield from _snapshots(volume, "snapshots of such a volume are as they were. ")
    yield Change("volume", volume.id, _was(volume), to, why)


def _replicated(volume: Volume, world: World, rules: Rules) -> Iterator[Change | Left]:
    """What its image is in the zone that is served from decides, not what Cinder believes."""
    seen = world.seen.get(volume.id, Unknown("the sidecar was not asked"))
    ill = volume.replication_status not in words.WELL
    if volume.replication_status == words.FAILING_OVER and may_be_moving(volume, world, rules):
        yield _left(volume, "its group is failing over since a short time: that may be at work (--older-than)")
        return
    match seen:
        case Unknown(why):
            if ill:
                yield _left(volume, f"how its image is, is not known: {why}")
        case NotPrimary(said):
            # A volume that Cinder believes to be well may be another zone's copy, and is none of ours to complain of.
            if not ill and not services.stuck(world):
                return
            yield _left(volume, f"its image is no sound primary in the zone that is served from: {said}. {_then(volume)}")
        case Primary():
            yield from _well(volume, seen, world, ill)


def _well(volume: Volume, seen: Primary, world: World, ill: bool) -> Iterator[Change | Left]:
    if not ill:
        if volume.status != words.ERROR and volume.previous_status == words.ERROR:
            yield from _snapshots(volume, "a second failover gave the volume its status back, and not its snapshots. ")
        return
    to: dict[str, Any] = {"replication_status": seen.word, "replication_extended_status": None}
    data = words.with_zone(volume.driver_data, None if seen.backend == world.active else seen.backend)
    if data != volume.driver_data:
        to["replication_driver_data"] = data
    primary = f"its image is primary in the zone of '{seen.backend}'"
    why = "it is the other zone's own volume, and a copy at home" if seen.theirs else primary
    # Cinder's group failover may write the replication status 'error' without keeping what the status was.
    marked = volume.status == words.ERROR
    before = previous(volume) if volume.replication_status in (words.FAILOVER_ERROR, words.FAILING_OVER) else None
    if marked and before:
        to |= {"status": before, "previous_status": None}
        why += f", and it was '{before}' before the failover"
        yield from _snapshots(volume, "the volume's data is whole in that zone. ")
    yield Change("volume", volume.id, _was(volume), to, why)
    if marked and not before:
        reason = not_given_back(volume) if volume.replication_status != words.ERROR else "Cinder keeps none in this case"
        yield _left(volume, f"its status stays 'error': {reason}. It is primary: `cinder reset-state` gives it one")


def may_be_moving(volume: Volume, world: World, rules: Rules) -> bool:
    return volume.changed is None or world.now - volume.changed < rules.group_age


def _snapshots(volume: Volume, why: str) -> Iterator[Change]:
    """Before their volume: if this is cut off between the two, the next run finds the volume marked still."""
    for snapshot in volume.ill_snapshots:
        yield Change(
            "snapshot",
            snapshot.id,
            {"status": words.ERROR},
            {"status": "available"},
            f"{why}{_SNAPSHOT}",
            of_volume=volume.id,
            volume_was=_was(volume),
        )


def _was(volume: Volume) -> dict[str, Any]:
    return {
        "status": volume.status,
        "previous_status": volume.previous_status,
        "replication_status": volume.replication_status,
        "replication_driver_data": volume.driver_data,
    }


def _then(volume: Volume) -> str:
    look = f"`rekindle volume show {volume.image}` has more"
    if volume.replication_status == words.ERROR:
        return look
    groups = volume.group_id and volume.replication_status == words.FAILING_OVER
    return f"Call {'the failover of its group' if groups else 'failover-host'} again; {look}"


def _left(volume: Volume, why: str) -> Left:
    return Left("volume", volume.id, why)
