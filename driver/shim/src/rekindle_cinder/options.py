"""The driver's options, in the backend's section of cinder.conf."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

REKINDLE_OPTS = [
    cfg.StrOpt(
        "rekindle_socket",
        default="/run/rekindle/driver.sock",
        help="The unix socket of the Rekindle sidecar on this host. The user of cinder-volume needs to be able to "
        "connect to it.",
    ),
    cfg.FloatOpt(
        "rekindle_timeout",
        default=45.0,
        min=1.0,
        max=600.0,
        help="Seconds that a call to the Rekindle sidecar may take, failover apart. It should be longer than the "
        "sidecar's own deadlines for one action (30 s) and for a call (35 s), so that its words are heard.",
    ),
    cfg.FloatOpt(
        "rekindle_failover_timeout",
        default=300.0,
        min=5.0,
        max=3600.0,
        help="Seconds that a failover or failback by the Rekindle sidecar may take, for up to 2000 volumes. When it "
        "is over, Cinder's statuses are put back and failover-host may be called again: it takes up where the "
        "sidecar stopped.",
    ),
]

RADOS_CONNECT_TIMEOUT = 10
"""Seconds: this driver's default of rados_connect_timeout. Cinder's own, -1, waits for a dead cluster for ever."""


def list_opts() -> list[tuple[str, list[Any]]]:
    """For oslo-config-generator."""
    return [("backend_defaults", list(REKINDLE_OPTS))]
