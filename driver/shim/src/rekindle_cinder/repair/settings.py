"""cinder.conf, read as cinder-volume reads it: the backend's host, its pool, its sidecar."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from cinder.common import config as _cinder_options  # noqa: F401  host, enabled_backends, service_down_time
from cinder.volume import configuration
from cinder.volume.drivers import rbd
from oslo_config import cfg

from rekindle_cinder.client import Sidecar
from rekindle_cinder.options import REKINDLE_OPTS
from rekindle_cinder.repair.facts import Rules

_UNITS = {"s": 1, "m": 60, "h": 3600}


class UsageError(Exception):
    """The command line or cinder.conf is wrong."""


@dataclass(frozen=True)
class Settings:
    """Of one backend."""

    host: str
    pool: str
    sidecar: Sidecar
    rules: Rules


def load(config_files: list[str], backend: str | None, older_than: timedelta, away_too: bool) -> Settings:
    for path in config_files:
        try:
            with open(path, encoding="utf-8"):
                pass
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    arguments = [word for path in config_files for word in ("--config-file", path)]
    try:
        cfg.CONF(arguments, project="cinder")
    except cfg.Error as error:
        raise UsageError(f"the configuration cannot be read: {error}") from error
    return of_backend(_chosen(backend), older_than, away_too)


def of_backend(name: str, older_than: timedelta, away_too: bool) -> Settings:
    with suppress(cfg.DuplicateOptError):
        cfg.CONF.register_opt(cfg.StrOpt("backend_host", help="Backend override of host value."), group=name)
    config = configuration.Configuration([*rbd.RBD_OPTS, *REKINDLE_OPTS], config_group=name)
    try:
        host = cfg.CONF[name].backend_host or cfg.CONF.host
        failover = float(config.rekindle_failover_timeout)
        alive = timedelta(seconds=cfg.CONF.service_down_time)
        sidecar = Sidecar(config.rekindle_socket, config.rekindle_timeout, failover)
    except cfg.Error as error:
        raise UsageError(f"[{name}]: {error}") from error
    if older_than < alive:
        raise UsageError(f"--older-than: {older_than.seconds} s is less than service_down_time, {alive.seconds} s")
    # A group's failover may be on its way for as long as the sidecar is given.
    group_age = max(older_than, timedelta(seconds=failover) + alive)
    return Settings(f"{host}@{name}", config.rbd_pool, sidecar, Rules(older_than, group_age, away_too))


def span(text: str) -> timedelta:
    """`90s`, `10m`, `2h`."""
    parts = re.fullmatch(r"([0-9]{1,6})([smh])", text)
    if not parts:
        raise ValueError(f"'{text}' is no length of time: write it as 90s, 10m or 2h")
    return timedelta(seconds=int(parts[1]) * _UNITS[parts[2]])


def _chosen(backend: str | None) -> str:
    names = [name for name in cfg.CONF.enabled_backends or [] if name]
    listed = ", ".join(names) or "none"
    if backend is not None:
        if backend not in names:
            raise UsageError(f"--backend: '{backend}' is not among enabled_backends ({listed})")
        return backend
    if len(names) != 1:
        raise UsageError(f"name the backend with --backend: enabled_backends has {listed}")
    return str(names[0])
