"""The world as it is: Cinder's rows, and the sidecar's word on each replicated volume's image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from cinder import objects
from oslo_utils import timeutils

from rekindle_cinder import words
from rekindle_cinder.client import Sidecar, VolumeRef, VolumeResult, in_parts
from rekindle_cinder.errors import SidecarError
from rekindle_cinder.repair.facts import (
    HOME,
    Cluster,
    Group,
    NotPrimary,
    Primary,
    Seen,
    Service,
    Snapshot,
    Unknown,
    Volume,
    World,
)
from rekindle_cinder.repair.settings import Settings, UsageError

_PAGE = 500
_MOST = 100_000
"""Rows of one kind. A backend with more is none that this was made for."""


def world(context: Any, settings: Settings) -> World:
    services, cluster = _services(context, settings.host)
    mine = {"cluster_name": cluster.name} if cluster else {"host": settings.host}
    found = World(
        host=settings.host,
        now=timeutils.utcnow(with_timezone=True),
        services=services,
        cluster=cluster,
        volumes=tuple(_volume(volume, settings.pool) for volume in _pages(objects.VolumeList, context, mine)),
        groups=tuple(_group(group) for group in _pages(objects.GroupList, context, mine)),
        seen={},
    )
    return _with_seen(found, settings.sidecar)


def _services(context: Any, host: str) -> tuple[tuple[Service, ...], Cluster | None]:
    found = list(objects.ServiceList.get_all(context, {"host": host, "binary": "cinder-volume"}))
    if not found:
        raise UsageError(
            f"Cinder knows no cinder-volume on '{host}'. Is this the cinder.conf that it runs with, on its host?"
        )
    name = found[0].cluster_name
    if not name:
        return tuple(map(_service, found)), None
    row = objects.Cluster.get_by_id(context, None, name=name, binary="cinder-volume")
    members = objects.ServiceList.get_all(context, {"cluster_name": name, "binary": "cinder-volume"})
    return tuple(map(_service, members)), Cluster(row.id, row.name, row.replication_status, row.active_backend_id)


def _pages(kind: Any, context: Any, mine: dict[str, Any]) -> Iterator[Any]:
    """Cinder's filters take `host@backend` for all of its pools. They are changed by Cinder: each page has its own."""
    for offset in range(0, _MOST, _PAGE):
        page = list(
            kind.get_all(context, filters=dict(mine), limit=_PAGE, offset=offset, sort_keys=["id"], sort_dirs=["asc"])
        )
        yield from page
        if len(page) < _PAGE:
            return
    raise UsageError(f"more than {_MOST} rows of {kind.__name__}: this is not made for so many")


def _service(row: Any) -> Service:
    return Service(row.id, row.host, row.replication_status, row.active_backend_id, row.updated_at)


def _volume(row: Any, pool: str) -> Volume:
    return Volume(
        id=row.id,
        image=f"{pool}/{row.name}",
        status=row.status,
        previous_status=row.previous_status,
        replication_status=row.replication_status,
        driver_data=row.replication_driver_data,
        group_id=row.group_id,
        changed=row.updated_at,
        ill_snapshots=tuple(_ill_snapshots(row)),
        taken_in=words.is_taken_in(row),
    )


def _ill_snapshots(row: Any) -> Iterable[Snapshot]:
    """Only of volumes whose plan could have to do with them: it is a query for each."""
    if words.ERROR not in (row.status, row.previous_status):
        return []
    return [Snapshot(found.id, found.status) for found in row.snapshots if found.status == words.ERROR]


def _group(row: Any) -> Group:
    return Group(row.id, row.status, row.replication_status, row.updated_at)


def _with_seen(found: World, sidecar: Sidecar) -> World:
    seen: dict[str, Seen] = {}
    replicated = [volume for volume in found.volumes if volume.replication_status not in words.NOT_REPLICATED]
    by_backend: dict[str, list[Volume]] = {}
    for volume in replicated:
        by_backend.setdefault(_believed(volume, found.active), []).append(volume)
    for backend, volumes in by_backend.items():
        seen |= _ask(sidecar, backend, volumes)
    if found.active == HOME:
        # A group's failover that died may have moved some of its volumes and not have said so.
        lost = [v for v in replicated if v.replication_status == words.FAILING_OVER and isinstance(seen[v.id], NotPrimary)]
        for backend in _others(sidecar) if lost else []:
            there = _ask(sidecar, backend, lost)
            seen |= {id: answer for id, answer in there.items() if not isinstance(answer, NotPrimary)}
            lost = [volume for volume in lost if isinstance(there[volume.id], NotPrimary)]
    return World(found.host, found.now, found.services, found.cluster, found.volumes, found.groups, seen)


def _believed(volume: Volume, active: str) -> str:
    """Where the driver takes a volume to be (GuardedRBDDriver._at)."""
    if active != HOME and words.zone_of(volume.driver_data) == HOME:
        return HOME
    if active != HOME or volume.replication_status in (words.ENABLED, *words.NOT_REPLICATED):
        return active
    return words.zone_of(volume.driver_data) or HOME


def _others(sidecar: Sidecar) -> list[str]:
    try:
        return sidecar.backend(None).targets
    except SidecarError:
        # The volumes stay "not primary here", and are left.
        return []


def _ask(sidecar: Sidecar, backend: str, volumes: list[Volume]) -> dict[str, Seen]:
    call: Callable[[Any], list[VolumeResult]] = partial(sidecar.status, None if backend == HOME else backend)
    seen: dict[str, Seen] = {}
    for part in in_parts([VolumeRef(volume.id, volume.image, taken_in=volume.taken_in) for volume in volumes]):
        try:
            seen |= {result.id: _seen(backend, result) for result in call(part)}
        except SidecarError as error:
            seen |= {ref.id: Unknown(str(error)) for ref in part}
    return seen


def _seen(backend: str, result: VolumeResult) -> Seen:
    if result.failure:
        return Unknown(str(result.failure))
    if result.replication_status in words.WELL:
        if backend != HOME and result.replication_status == words.ENABLED:
            return Primary(HOME, words.ENABLED, theirs=True)
        return Primary(backend, words.ENABLED if backend == HOME else words.FAILED_OVER)
    if result.status == words.UNKNOWN:
        return Unknown(f"the zone of '{backend}' does not answer")
    return NotPrimary(result.status or f"it is {result.replication_status} there")
