"""As much of librados and librbd, in memory, as upstream's data path needs: images, snapshots, clones, a dead cluster."""

from __future__ import annotations

import errno
import types
from typing import Any


class Error(Exception):
    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number


class ImageNotFound(Error):
    pass


class ImageExists(Error):
    pass


class ImageBusy(Error):
    pass


class ImageHasSnapshots(Error):
    pass


class InvalidArgument(Error):
    pass


DISABLING, ENABLED, DISABLED = range(3)


class FakeImage:
    def __init__(self, size: int, parent: tuple[str, str, str] | None = None) -> None:
        self.size = size
        self.parent = parent
        self.snaps: dict[str, bool] = {}
        self.mirroring: int | Error = DISABLED
        """As librbd says it, or what it fails with."""


class FakeCluster:
    def __init__(self, fsid: str) -> None:
        self.fsid = fsid
        self.dead = False
        self.refuses_key = False
        self.unreadable = False
        self.keyring = "/dev/null"
        self.connections = 0
        self.opened: list[str] = []
        self.images: dict[str, FakeImage] = {}


class FakeCeph:
    """Clusters by the path of their configuration file."""

    def __init__(self, clusters: dict[str, FakeCluster]) -> None:
        self.clusters = clusters
        self.rados = types.SimpleNamespace(Error=Error, Rados=self._rados)
        names = ("Error", "ImageNotFound", "ImageExists", "ImageBusy", "ImageHasSnapshots", "InvalidArgument")
        self.rbd = types.SimpleNamespace(
            **{name: globals()[name] for name in names},
            OSError=Error,
            RBD=_Rbd,
            Image=_Image,
            RBD_FEATURE_LAYERING=1,
            RBD_FEATURE_EXCLUSIVE_LOCK=4,
            RBD_FEATURE_OBJECT_MAP=8,
            RBD_FEATURE_FAST_DIFF=16,
            RBD_FEATURE_JOURNALING=64,
            RBD_MIRROR_IMAGE_DISABLED=DISABLED,
        )

    def _rados(self, rados_id: str, clustername: str, conffile: str) -> _Rados:
        if self.clusters[conffile].unreadable:
            raise Error("error calling conf_read_file", errno.ENOENT)
        return _Rados(self.clusters[conffile])


class _Rados:
    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.conf: dict[str, str] = {}

    def conf_set(self, key: str, value: str) -> None:
        self.conf[key] = value

    def conf_get(self, key: str) -> str:
        return {"keyring": self.cluster.keyring, "key": "", "keyfile": ""}.get(key, "61")

    def connect(self) -> None:
        self.cluster.connections += 1
        if self.cluster.refuses_key:
            raise Error("permission denied", errno.EACCES)
        if self.cluster.dead:
            if "client_mount_timeout" not in self.conf:
                raise AssertionError("a dead cluster was asked without a bound")
            raise Error("RADOS timed out", errno.ETIMEDOUT)

    def open_ioctx(self, pool: str) -> _Ioctx:
        return _Ioctx(self.cluster)

    def get_fsid(self) -> str:
        return self.cluster.fsid

    def mon_command(self, command: str, _data: bytes) -> tuple[int, bytes, str]:
        if "get-quota" in command:
            return 0, b'{"quota_max_bytes": 0}', ""
        pool = b'{"name": "volumes", "stats": {"bytes_used": 0, "stored": 0, "max_avail": 10737418240}}'
        return 0, b'{"pools": [' + pool + b'], "stats": {"total_bytes": 10737418240}}', ""

    def shutdown(self) -> None:
        pass


class _Ioctx:
    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster

    def close(self) -> None:
        pass


class _Rbd:
    def version(self) -> tuple[int, int, int]:
        return (1, 16, 0)

    def create(self, ioctx: Any, name: str, size: int, *_args: Any, **_kwargs: Any) -> None:
        if name in ioctx.cluster.images:
            raise ImageExists(name)
        ioctx.cluster.images[name] = FakeImage(size)

    def clone(self, parent_ioctx: Any, parent: str, snap: str, ioctx: Any, name: str, **_kwargs: Any) -> None:
        size = parent_ioctx.cluster.images[parent].size
        ioctx.cluster.images[name] = FakeImage(size, ("volumes", parent, snap))

    def remove(self, ioctx: Any, name: str) -> None:
        if name not in ioctx.cluster.images:
            raise ImageNotFound(name)
        if ioctx.cluster.images[name].snaps:
            raise ImageHasSnapshots(name)
        del ioctx.cluster.images[name]

    def list(self, ioctx: Any) -> list[str]:
        return list(ioctx.cluster.images)

    def rename(self, ioctx: Any, name: str, new_name: str) -> None:
        if name not in ioctx.cluster.images:
            raise ImageNotFound(name)
        ioctx.cluster.images[new_name] = ioctx.cluster.images.pop(name)


class _Image:
    def __init__(self, ioctx: Any, name: str, snapshot: str | None = None, read_only: bool = False) -> None:
        if name not in ioctx.cluster.images:
            raise ImageNotFound(name)
        if snapshot is not None and snapshot not in ioctx.cluster.images[name].snaps:
            raise ImageNotFound(f"{name}@{snapshot}")
        ioctx.cluster.opened.append(name)
        self._cluster = ioctx.cluster
        self._name = name
        self._image: FakeImage = ioctx.cluster.images[name]

    def close(self) -> None:
        pass

    def size(self) -> int:
        return self._image.size

    def mirror_image_get_info(self) -> dict[str, Any]:
        if isinstance(self._image.mirroring, Error):
            raise self._image.mirroring
        return {"global_id": "", "state": self._image.mirroring, "primary": False}

    def stripe_unit(self) -> int:
        return 4 * 1024 * 1024

    def resize(self, size: int) -> None:
        self._image.size = size

    def parent_info(self) -> list[str]:
        if self._image.parent is None:
            raise ImageNotFound("no parent")
        return list(self._image.parent)

    def flatten(self) -> None:
        if self._image.parent is None:
            raise InvalidArgument("image has no parent")
        self._image.parent = None

    def copy(self, ioctx: Any, name: str) -> None:
        ioctx.cluster.images[name] = FakeImage(self._image.size)

    @property
    def ioctx(self) -> _Ioctx:
        return _Ioctx(self._cluster)

    def set_snap(self, snap: str | None) -> None:
        if snap is not None:
            self._snap(snap)

    def create_snap(self, snap: str) -> None:
        self._image.snaps[snap] = False

    def protect_snap(self, snap: str) -> None:
        self._image.snaps[snap] = True

    def unprotect_snap(self, snap: str) -> None:
        self._snap(snap)
        if any(image.parent == ("volumes", self._name, snap) for image in self._cluster.images.values()):
            raise ImageBusy(snap)
        self._image.snaps[snap] = False

    def is_protected_snap(self, snap: str) -> bool:
        self._snap(snap)
        return self._image.snaps[snap]

    def rename_snap(self, snap: str, new_name: str) -> None:
        self._snap(snap)
        self._image.snaps[new_name] = self._image.snaps.pop(snap)

    def remove_snap(self, snap: str) -> None:
        self._snap(snap)
        if self._image.snaps[snap]:
            raise ImageBusy(snap)
        del self._image.snaps[snap]

    def rollback_to_snap(self, snap: str) -> None:
        self._snap(snap)

    def list_snaps(self) -> list[dict[str, Any]]:
        return [{"name": snap, "size": self._image.size} for snap in self._image.snaps]

    def list_children(self) -> list[tuple[str, str]]:
        return []

    def _snap(self, snap: str) -> None:
        if snap not in self._image.snaps:
            raise ImageNotFound(snap)
