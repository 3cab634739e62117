"""Makes drivers, and the objects that Cinder's manager hands to them."""

from __future__ import annotations

import uuid
from typing import Any

from cinder import context as cinder_context
from cinder import objects
from cinder.volume import configuration
from cinder.volume import driver as cinder_driver
from oslo_config import cfg

from rekindle_cinder.driver import RekindleRBDDriver
from tests.fake_ceph import FakeCeph

GROUP = "ceph"
FSIDS = {"a.conf": "aaaaaaaa-0000-0000-0000-000000000000", "b.conf": "bbbbbbbb-0000-0000-0000-000000000000"}
REPLICATED = {"replication_enabled": "<is> True", "rekindle:mode": "instant"}


class Maker:
    """On these clusters, with the sidecar at this socket."""

    def __init__(self, ceph: FakeCeph, socket_path: str) -> None:
        self._ceph = ceph
        self._socket_path = socket_path
        self.set_options: set[str] = set()
        self.executed: list[tuple[Any, ...]] = []
        self.context = cinder_context.RequestContext(user_id="u", project_id="p", request_id="req-cinder")

    def driver(self, *, active_backend_id: str | None = None, setup: bool = True, **overrides: Any) -> RekindleRBDDriver:
        settings = {
            "rbd_pool": "volumes",
            "rbd_user": "cinder",
            "rbd_ceph_conf": "a.conf",
            "rbd_secret_uuid": "secret-a",
            "volume_backend_name": "ceph",
            "rados_connection_interval": 0,
            "replication_device": [{"backend_id": "zone-b", "conf": "b.conf", "user": "dr", "secret_uuid": "secret-b"}],
            "rekindle_socket": self._socket_path,
            "rekindle_timeout": 5.0,
            "rekindle_failover_timeout": 6.0,
            **overrides,
        }
        config = configuration.Configuration(cinder_driver.volume_opts, config_group=GROUP)
        config.append_config_values(RekindleRBDDriver.get_driver_options())
        for name, value in settings.items():
            cfg.CONF.set_override(name, value, group=GROUP)
            self.set_options.add(name)
        made = RekindleRBDDriver(
            active_backend_id=active_backend_id,
            configuration=config,
            rados=self._ceph.rados,
            rbd=self._ceph.rbd,
            execute=self._execute,
        )
        if setup:
            made.do_setup(self.context)
            made.check_for_setup_error()
        return made

    def _execute(self, *command: Any, **_kwargs: Any) -> tuple[str, str]:
        self.executed.append(command)
        return '{"mons": [{"addr": "10.0.0.1:6789/0"}]}', ""

    def type(self, specs: dict[str, str] | None) -> Any:
        if specs is None:
            return None
        return objects.VolumeType(id=str(uuid.uuid4()), name="t", extra_specs=specs, qos_specs_id=None)

    def volume(self, specs: dict[str, str] | None = None, **fields: Any) -> Any:
        values = {
            "id": str(uuid.uuid4()),
            "_name_id": None,
            "size": 1,
            "status": "available",
            "previous_status": None,
            "migration_status": None,
            "attach_status": "detached",
            "replication_status": None,
            "replication_driver_data": None,
            "replication_extended_status": None,
            "encryption_key_id": None,
            "use_quota": True,
            "group_id": None,
            "host": "host@ceph#ceph",
            "cluster_name": None,
            "volume_type": self.type(specs),
            "provider_location": None,
            **fields,
        }
        return objects.Volume(self.context, **values)

    def replicated(self, **fields: Any) -> Any:
        return self.volume(REPLICATED, **{"replication_status": "enabled", **fields})

    def snapshot(self, volume: Any) -> Any:
        values = {"id": str(uuid.uuid4()), "volume": volume, "volume_id": volume.id, "volume_size": 1}
        return objects.Snapshot(self.context, encryption_key_id=volume.encryption_key_id, **values)

    def group(self, volumes: list[Any], **fields: Any) -> Any:
        values = {
            "id": str(uuid.uuid4()),
            "host": "host@ceph#ceph",
            "cluster_name": None,
            "replication_status": "enabled",
            **fields,
        }
        made = objects.Group(self.context, volumes=objects.VolumeList(objects=volumes), **values)
        for volume in volumes:
            volume.group_id = made.id
        return made

    def clear(self) -> None:
        """Take back what was set, for the next test."""
        for name in self.set_options:
            cfg.CONF.clear_override(name, group=GROUP)
        if self.set_options:
            # Upstream writes the cluster's fsid there.
            cfg.CONF.clear_default("rbd_secret_uuid", group=configuration.SHARED_CONF_GROUP)
