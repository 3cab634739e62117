"""Services, and their cluster, that a failover left in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from rekindle_cinder import words
from rekindle_cinder.repair.facts import HOME, Change, Rules, World

_STUCK = (words.FAILING_OVER, words.FAILOVER_ERROR)
"""In both, Cinder's API refuses failover-host for good."""


def at_work(world: World, rules: Rules) -> str | None:
    """Why nothing may be done now. Cinder writes down no beginning of a failover: as long as one of the services that
    could be carrying it out is alive, it is not known to be over."""
    if words.FAILING_OVER not in _statuses(world):
        return None
    beats = [service.heartbeat for service in world.services]
    known = [beat for beat in beats if beat is not None]
    if len(known) < len(beats) or not known:
        return f"{world.host} is failing over, and when its cinder-volume was last alive is not known"
    silent = world.now - max(known)
    if silent >= rules.service_age:
        return None
    return (
        f"{world.host} is failing over, and its cinder-volume was alive {_seconds(silent)} s ago: the failover may be at "
        f"work. If it is not, stop every cinder-volume of this backend and ask again after {_seconds(rules.service_age)} s "
        "(--older-than)"
    )


def plan(world: World) -> Iterator[Change]:
    """The cluster by its active_backend_id, a service of no cluster by its own. One of a cluster takes the cluster's words:
    the broadcast that should have brought them got lost."""
    to = _to(world.active)
    if world.cluster and world.cluster.replication_status in _STUCK:
        cluster = world.cluster
        was: dict[str, Any] = {
            "replication_status": cluster.replication_status,
            "active_backend_id": cluster.active_backend_id,
        }
        yield Change("cluster", str(cluster.id), was, to, _why(cluster.name, str(cluster.replication_status), world.active))
    for service in world.services:
        if service.replication_status not in _STUCK:
            continue
        was = {
            "replication_status": service.replication_status,
            "active_backend_id": service.active_backend_id,
        }
        if service.replication_status == words.FAILING_OVER:
            # A heartbeat in between: it is alive, and this is not known to be over.
            was["updated_at"] = service.heartbeat
        becomes = dict(to)
        if world.cluster and (service.active_backend_id or HOME) != world.active:
            becomes["active_backend_id"] = world.cluster.active_backend_id
        why = _why(service.host, str(service.replication_status), world.active)
        yield Change("service", str(service.id), was, becomes, why)


def stuck(world: World) -> bool:
    """Whether a failover of the whole backend died or failed."""
    return any(status in _STUCK for status in _statuses(world))


def _statuses(world: World) -> list[str | None]:
    of_cluster = [world.cluster.replication_status] if world.cluster else []
    return of_cluster + [service.replication_status for service in world.services]


def _to(active: str) -> dict[str, Any]:
    return {"replication_status": words.ENABLED if active == HOME else words.FAILED_OVER}


def _why(name: str, status: str, active: str) -> str:
    began = "the failover ended half-way" if status == words.FAILING_OVER else "the failover as a whole failed"
    return (
        f"{name}: {began}, and it is served from '{active}'. failover-host may be called again: it takes up where it "
        "stopped. Whether it is disabled stays as it is"
    )


def _seconds(span: timedelta) -> int:
    return round(span.total_seconds())
