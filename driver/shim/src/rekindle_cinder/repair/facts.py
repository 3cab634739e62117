"""What repair reads, and what it makes of it. Data alone: no Cinder and no I/O in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

HOME = "default"
"""Cinder's word for a backend's own zone."""


@dataclass(frozen=True)
class Service:
    """A cinder-volume of the backend. `heartbeat` is when it last said that it is alive."""

    id: int
    host: str
    replication_status: str | None
    active_backend_id: str | None
    heartbeat: datetime | None


@dataclass(frozen=True)
class Cluster:
    """The services' cluster, where they are active/active: its words stand above theirs."""

    id: int
    name: str
    replication_status: str | None
    active_backend_id: str | None


@dataclass(frozen=True)
class Snapshot:
    id: str
    status: str | None


@dataclass(frozen=True)
class Volume:
    """A row of Cinder's, and of its snapshots those that are in error."""

    id: str
    image: str
    status: str | None
    previous_status: str | None
    replication_status: str | None
    driver_data: str | None
    group_id: str | None
    changed: datetime | None
    ill_snapshots: tuple[Snapshot, ...] = ()
    taken_in: bool = False


@dataclass(frozen=True)
class Group:
    id: str
    status: str | None
    replication_status: str | None
    changed: datetime | None


@dataclass(frozen=True)
class Primary:
    """The image can be written to in the zone of this backend, and Cinder's word for that is `word`. `theirs`: it is the
    other zone's own, in use there, and this Cinder's record is of the copy at home."""

    backend: str
    word: str
    theirs: bool = False


@dataclass(frozen=True)
class NotPrimary:
    """The zone's own answer: not primary there. `said` is its words."""

    said: str


@dataclass(frozen=True)
class Unknown:
    """Nobody could say."""

    why: str


Seen = Primary | NotPrimary | Unknown


@dataclass(frozen=True)
class World:
    """All that a plan is made from, as it was at `now`."""

    host: str
    now: datetime
    services: tuple[Service, ...]
    cluster: Cluster | None
    volumes: tuple[Volume, ...]
    groups: tuple[Group, ...]
    seen: Mapping[str, Seen]

    @property
    def active(self) -> str:
        """The backend that is served from, as Cinder has it."""
        if self.cluster:
            return self.cluster.active_backend_id or HOME
        return next((s.active_backend_id for s in self.services if s.active_backend_id), HOME)


@dataclass(frozen=True)
class Rules:
    """How long a silence counts as the end of a failover, and whether volumes are given back whose zone was left."""

    service_age: timedelta
    group_age: timedelta
    away_too: bool = False


@dataclass(frozen=True)
class Change:
    """One row: what it has to be still, what it becomes, and why."""

    kind: str
    id: str
    was: Mapping[str, Any]
    to: Mapping[str, Any]
    why: str
    of_volume: str | None = None
    """A snapshot's volume, and `volume_was` what that has to be still."""
    volume_was: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Left:
    """What is not well and stays so, and why."""

    kind: str
    id: str
    why: str


@dataclass(frozen=True)
class Plan:
    """In the order in which it is carried out. `refused`: nothing may be done now."""

    host: str
    active: str
    changes: tuple[Change, ...] = ()
    left: tuple[Left, ...] = ()
    refused: str | None = None
