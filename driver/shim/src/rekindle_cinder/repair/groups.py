"""Generic groups whose failover died, or failed and is mended now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rekindle_cinder import words
from rekindle_cinder.repair.facts import HOME, Change, Group, Left, Rules, World

_ILL = (words.FAILING_OVER, words.FAILOVER_ERROR, words.ERROR)


def plan(group: Group, world: World, rules: Rules, become: Mapping[str, str | None]) -> Iterator[Change | Left]:
    """`become`: each volume's replication status once its own changes are made."""
    if group.replication_status not in _ILL:
        return
    if group.replication_status == words.FAILING_OVER and (
        group.changed is None or world.now - group.changed < rules.group_age
    ):
        yield Left("group", group.id, "it is failing over since a short time: that may be at work (--older-than)")
        return
    found = [(v.id, become.get(v.id)) for v in world.volumes if v.group_id == group.id]
    ill = [f"{volume} ({word})" for volume, word in found if word not in words.WELL]
    if ill:
        yield Left("group", group.id, f"{len(ill)} of its {len(found)} volumes are not well; the first: {ill[0]}")
        return
    away = [volume for volume, word in found if word == words.FAILED_OVER]
    at_home = not away if found else world.active == HOME
    to: dict[str, Any] = {"replication_status": words.ENABLED if at_home else words.FAILED_OVER}
    why = f"all of its {len(found)} volumes are well"
    if away and len(away) < len(found):
        why = (
            f"{len(away)} of its {len(found)} volumes are failed over and the others are not: fail the group over again, "
            "one way or the other"
        )
    if group.status == words.ERROR and group.replication_status in (words.ERROR, words.FAILOVER_ERROR):
        to["status"] = "available"
    was = {"status": group.status, "replication_status": group.replication_status}
    yield Change("group", group.id, was, to, why)
