"""A plan's changes, one conditional update each: only if the row still is as it was read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sql
from cinder import objects

from rekindle_cinder.repair.facts import Change, Plan

Outcome = tuple[Change, str | None]
"""The change, and what kept it from being made."""

_CHANGED = "it was changed by somebody else meanwhile; ask again"


def each(context: Any, plan: Plan) -> Iterator[Outcome]:
    """Goes on after a change that could not be made: each is whole by itself."""
    for change in plan.changes:
        yield change, None if _made(context, change) else _CHANGED


def _made(context: Any, change: Change) -> bool:
    kind = {
        "service": objects.Service,
        "cluster": objects.Cluster,
        "volume": objects.Volume,
        "snapshot": objects.Snapshot,
        "group": objects.Group,
    }[change.kind]
    number = change.kind in ("service", "cluster")
    row = kind(context, id=int(change.id) if number else change.id)
    values = dict(change.to)
    if change.kind == "service":
        # Else this would look like its heartbeat.
        values["updated_at"] = kind.model.updated_at
    was = {key: _as_stored(value) for key, value in change.was.items()}
    filters = [_volume_is(change)] if change.of_volume else []
    return bool(row.conditional_update(values, was, filters, reflect_changes=False))


def _volume_is(change: Change) -> Any:
    model = objects.Volume.model
    same = [
        getattr(model, key).is_(None) if value is None else getattr(model, key) == value
        for key, value in change.volume_was.items()
    ]
    return sql.exists().where(sql.and_(model.id == change.of_volume, ~model.deleted, *same))


def _as_stored(value: Any) -> Any:
    """Cinder's objects say UTC; its database's times say no zone."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
