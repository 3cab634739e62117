"""The exceptions that Cinder sees. Which one it is decides what Cinder does with the volume: the names are Cinder's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cinder import exception

from rekindle_cinder.errors import SidecarError


class RekindleFault(exception.VolumeDriverException):
    """A call to the sidecar that brought no good answer. Cinder's manager knows the parent."""

    message = "Rekindle: %(reason)s"


class UnusableType(exception.MetadataUpdateFailure):
    """A volume type that asks for something that cannot be.

    The parent is one of the few exceptions after which Cinder does not try to create the volume elsewhere: in each
    place the type would be as wrong as here.
    """

    message = "The volume type cannot be used: %(reason)s"


@contextmanager
def as_fault() -> Iterator[None]:
    """Turn the client's errors into Cinder's."""
    try:
        yield
    except SidecarError as error:
        raise RekindleFault(reason=str(error)) from error


@contextmanager
def with_reason(volume: Any) -> Iterator[None]:
    """Keep the reason: Cinder's own RBD driver replaces it by 'Failed to enable image replication'."""
    try:
        yield
    except exception.ReplicationError as error:
        reason = _reason_behind(error)
        if reason is None:
            raise
        raise exception.ReplicationError(reason=reason, volume_id=volume.id) from error


def _reason_behind(error: BaseException) -> str | None:
    behind = error.__cause__ or error.__context__
    for _ in range(8):
        if behind is None:
            return None
        if isinstance(behind, RekindleFault):
            return str(behind)
        behind = behind.__cause__ or behind.__context__
    return None
