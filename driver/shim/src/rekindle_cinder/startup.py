"""RBDDriver that comes up, and reports, while its Ceph cluster is dead.

Upstream's asks the cluster for its fsid, connects as a check, and lets an exception out of the stats: with a dead cluster
the driver is never initialised, the service never reports up, and `failover-host` is refused in the one case that it
is for (hard case 45). Here each of the three is tried once, within a bound, and taken up later when it failed.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

from cinder import exception, utils
from cinder.volume.drivers import rbd
from eventlet import tpool
from oslo_log import log as logging

from rekindle_cinder import options, words
from rekindle_cinder.away import Away, timed_out
from rekindle_cinder.client import Sidecar
from rekindle_cinder.errors import SidecarError

LOG = logging.getLogger(__name__)


class _OneTry:
    """A backend's configuration, with one try for each connection."""

    rados_connection_retries = 1

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration

    def __getattr__(self, name: str) -> Any:
        return getattr(self._configuration, name)


class _Nobody:
    """Stands for the connection to a cluster that does not answer, where only its closing is asked for."""

    def close(self) -> None:
        pass

    def shutdown(self) -> None:
        pass


class _Cooperative:
    """librados as newer releases of Cinder use it: connecting happens in a thread, and others go on meanwhile."""

    def __init__(self, rados: Any) -> None:
        self._rados = rados

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rados, name)

    def Rados(self, *args: Any, **kwargs: Any) -> Any:
        return tpool.Proxy(self._rados.Rados(*args, **kwargs))


class PatientRBDDriver(rbd.RBDDriver):
    """Upstream's driver, less its need for a living cluster."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(options.REKINDLE_OPTS)
        self.configuration.set_default("rados_connect_timeout", options.RADOS_CONNECT_TIMEOUT)
        if not hasattr(utils, "tpool_wrap"):
            self.rados: Any = _Cooperative(self.rados)
        self._starting = False
        # Both are shared with the views of the driver that are made below.
        self._away = Away()
        self._fsids: dict[str | None, str] = {}

    @classmethod
    def get_driver_options(cls) -> list[Any]:
        return [*super().get_driver_options(), *options.REKINDLE_OPTS]

    @property
    def _sidecar(self) -> Sidecar:
        return Sidecar(
            self.configuration.rekindle_socket,
            float(self.configuration.rekindle_timeout),
            float(self.configuration.rekindle_failover_timeout),
        )

    def check_for_setup_error(self) -> None:
        self._starting = True
        try:
            super().check_for_setup_error()
        finally:
            self._starting = False
        for target in self._replication_targets:
            why = None if target.get("secret_uuid") else self._why_its_fsid_stays_unknown(target)
            if why:
                LOG.warning(
                    "replication_device '%s' has no secret_uuid, rbd_secret_uuid is not set, and the cluster cannot be "
                    "asked for its fsid, which would stand for it: %s. After a failover to it nothing could be attached.",
                    target["name"],
                    why,
                )

    def _why_its_fsid_stays_unknown(self, target: Mapping[str, Any]) -> str | None:
        """What this host lacks to reach a target's cluster. Nobody is connected to: it may be away and still be well."""
        try:
            client = self.rados.Rados(rados_id=target["user"], clustername=target["name"], conffile=target["conf"])
        except self.rados.Error as error:
            return f"its configuration {target['conf']} cannot be read ({error})"
        try:
            if any(client.conf_get(option) for option in ("key", "keyfile")):
                return None
            keyrings = str(client.conf_get("keyring") or "")
        finally:
            client.shutdown()
        readable = any(os.access(path.strip(), os.R_OK) for path in keyrings.split(",") if path.strip())
        return None if readable else f"none of its keyrings can be read ({keyrings})"

    def _connect_to_rados(self, pool: str | None = None, remote: Any = None, timeout: int | None = None) -> Any:
        cluster = tuple(self._get_config_tuple(remote)[:3])
        view: Any = self._hasty() if self._starting else self
        try:
            if self._away.is_away(cluster):
                # Not tried, and so not noted again: the time away ends by itself.
                raise exception.VolumeBackendAPIException(
                    data=f"the Ceph cluster '{cluster[0]}' did not answer a moment ago and is not asked again yet"
                )
            return super(PatientRBDDriver, view)._connect_to_rados(pool, remote, timeout)
        except exception.VolumeBackendAPIException as error:
            if timed_out(error):
                self._away.note(cluster)
            if self._starting and self._away.is_away(cluster):
                LOG.error(
                    "The Ceph cluster '%s' does not answer. The driver starts without it, reports the backend as down "
                    "and takes failover-host.",
                    cluster[0],
                )
                return _Nobody(), _Nobody()
            raise
        except self.rados.Error as error:
            # Upstream reads the configuration before it begins to catch anything.
            raise exception.VolumeBackendAPIException(
                data=f"the configuration '{cluster[1]}' of the Ceph cluster '{cluster[0]}' cannot be used: {error}"
            ) from error

    def _set_default_secret_uuid(self) -> None:
        """Upstream's default for secret_uuid, the cluster's fsid, if the cluster says it now."""
        if self._active_config.get("secret_uuid"):
            return
        try:
            if self._active_backend_id in words.AT_HOME:
                super(PatientRBDDriver, self._hasty())._set_default_secret_uuid()
            else:
                # Upstream writes it to the configuration too, where it would become the primary's on the way back.
                self._active_config["secret_uuid"] = self._hasty()._get_fsid()
        except exception.VolumeBackendAPIException as error:
            if not timed_out(error) and not self._is_away():
                raise
            LOG.warning("rbd_secret_uuid is not set and the cluster does not answer; its fsid is asked for later.")

    def initialize_connection(self, volume: Any, connector: Any) -> Any:
        self._set_default_secret_uuid()
        return super().initialize_connection(volume, connector)

    def _get_mon_addrs(self) -> Any:
        """Upstream asks the `ceph` command, which waits for a dead cluster for five minutes."""
        configured = self.configuration.rados_connect_timeout
        seconds = configured if isinstance(configured, int) and configured > 0 else options.RADOS_CONNECT_TIMEOUT
        view = copy.copy(self)
        view._ceph_args = lambda: [*self._ceph_args(), "--connect-timeout", str(seconds)]
        return super(PatientRBDDriver, view)._get_mon_addrs()

    def _update_volume_stats(self) -> None:
        self._stats = self._stats_of_cluster() or self._stats_without_cluster()

    def _stats_of_cluster(self) -> dict[str, Any] | None:
        """Upstream's stats, or None where they would end in an exception that takes the service down."""
        if self._sidecar_says_down():
            return None
        view = self._hasty()
        try:
            super(PatientRBDDriver, view)._update_volume_stats()
            if self._active_config:
                self._set_default_secret_uuid()
        except exception.VolumeBackendAPIException as error:
            LOG.error("The Ceph cluster of backend '%s' does not answer: %s", self._backend_name, error)
            return None
        stats: dict[str, Any] = view._stats
        return stats

    def _get_fsid(self) -> str:
        fsid: str = super()._get_fsid()
        self._fsids[self._active_config.get("conf")] = fsid
        return fsid

    def _stats_without_cluster(self) -> dict[str, Any]:
        """Upstream's stats as it makes them when the pool cannot be read, also where the fsid cannot be."""
        view = copy.copy(self)
        known = self._fsids.get(self._active_config.get("conf"), "")

        def no_answer() -> None:
            raise self.rados.Error("the cluster does not answer")

        view._get_fsid = lambda: known  # type: ignore[method-assign]
        view._get_pool_stats = no_answer
        super(PatientRBDDriver, view)._update_volume_stats()
        stats: dict[str, Any] = view._stats
        if not known:
            # With an empty fsid two dead clusters would look like one.
            stats["location_info"] = None
        return stats

    def _sidecar_says_down(self) -> bool:
        """The sidecar watches the cluster all the time: with its word nobody has to run into a timeout."""
        try:
            return self._sidecar.backend(self._active_backend_id).reachable == "no"
        except SidecarError as error:
            LOG.warning("The sidecar cannot be asked about backend '%s': %s", self._backend_name, error)
            return False

    def _is_away(self) -> bool:
        return self._away.is_away(tuple(self._get_config_tuple(None)[:3]))

    def _hasty(self) -> Any:
        """The same driver with one try for each connection: for what is asked again anyway."""
        view = copy.copy(self)
        view.configuration = _OneTry(self.configuration)
        return view
