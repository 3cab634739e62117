"""A member of a cluster (active/active), where Cinder does not bring it its cluster's words.

One member carries a failover out, and its end is broadcast to those that live then: each writes it into its own row. Who
starts later reads that row alone. It would serve from the zone that the others have left, and Cinder would write its stale
word over the cluster's. So the row takes the cluster's words first. And a thaw enables only the member that took the call.

No I/O but Cinder's database, which the caller may find silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cinder import objects
from oslo_log import log as logging

from rekindle_cinder import words

LOG = logging.getLogger(__name__)

HOME = words.HOME
_BINARY = "cinder-volume"
_FROZEN = "frozen"
_SETTLED = words.WELL
"""A cluster that says anything else is at a failover, whose broadcast is still to come, or for repair to put right."""
_WORDS = ("replication_status", "active_backend_id", "disabled", "disabled_reason", "frozen")
"""What the broadcast brings, and what Cinder copies for a member that is new."""


def served_from(context: Any, cluster_name: str | None, host: str) -> str | None:
    """The backend that the member's cluster serves from, once the member's row says so too. None where there is no cluster,
    or none whose word holds."""
    if not cluster_name:
        return None
    cluster = objects.Cluster.get_by_id(context, None, name=cluster_name, binary=_BINARY)
    if cluster.replication_status not in _SETTLED:
        return None
    service = objects.Service.get_by_args(context, host, _BINARY)
    if _where(service) != _where(cluster):
        LOG.warning(
            "%s says '%s', served from '%s', and its cluster %s '%s', served from '%s': it takes the cluster's words. It "
            "was not there when they changed.",
            *(host, *_where(service), cluster_name, *_where(cluster)),
        )
        service.update({word: getattr(cluster, word) for word in _WORDS})
        service.save()
    return _where(cluster)[1]


def enable_thawed(context: Any, cluster_name: str | None) -> None:
    """Enable what was disabled for being frozen and is not frozen any more, of the whole cluster."""
    if not cluster_name:
        return
    for row in _rows(context, cluster_name):
        if row.disabled and row.disabled_reason == _FROZEN and not row.frozen:
            row.disabled = False
            row.disabled_reason = ""
            row.save()


def _rows(context: Any, cluster_name: str) -> Iterator[Any]:
    yield objects.Cluster.get_by_id(context, None, name=cluster_name, binary=_BINARY)
    yield from objects.ServiceList.get_all(context, {"cluster_name": cluster_name, "binary": _BINARY})


def _where(row: Any) -> tuple[str, str]:
    """Cinder has two words for home: none, and an empty one after a failback."""
    return str(row.replication_status), row.active_backend_id or HOME
