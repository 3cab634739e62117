"""From what was read to what is to be changed. A pure function: the same world gives the same plan."""

from __future__ import annotations

from collections.abc import Iterator

from rekindle_cinder.repair import groups, services, volumes
from rekindle_cinder.repair.facts import Change, Left, Plan, Rules, World


def make(world: World, rules: Rules) -> Plan:
    """Volumes before groups, for a group is as well as its volumes; services last, for they open the backend again."""
    refused = services.at_work(world, rules)
    if refused:
        return Plan(world.host, world.active, refused=refused)
    found = list(_all(world, rules))
    return Plan(
        world.host,
        world.active,
        changes=tuple(entry for entry in found if isinstance(entry, Change)),
        left=tuple(entry for entry in found if isinstance(entry, Left)),
    )


def _all(world: World, rules: Rules) -> Iterator[Change | Left]:
    become = {volume.id: volume.replication_status for volume in world.volumes}
    for volume in world.volumes:
        for entry in volumes.plan(volume, world, rules):
            yield entry
            if isinstance(entry, Change) and entry.kind == "volume":
                become[volume.id] = entry.to["replication_status"]
    for group in world.groups:
        yield from groups.plan(group, world, rules, become)
    yield from services.plan(world)
