"""Whether an image is mirrored, asked of the image itself: what Cinder's record says is not all.

`os-replicate` and `rekindle volume replicate` put a volume under replication and leave its record as it was. Only librbd
is asked: a plain volume needs no sidecar.
"""

from __future__ import annotations

from typing import Any

from cinder import exception
from cinder.volume.drivers import rbd

from rekindle_cinder.errors import Refused

_CODE = "cluster_unreachable"
"""As the sidecar says it."""


def is_mirrored(driver: Any, name: str) -> bool:
    """As the cluster says that `driver` is connected to. An image that is not there is not mirrored; where it is not
    known, a SidecarError, for what is done to a mirrored image by mistake is done to its copy too."""
    try:
        with rbd.RBDVolumeProxy(driver, name, read_only=True) as image:
            state = image.mirror_image_get_info()["state"]
    except driver.rbd.ImageNotFound:
        return False
    except (driver.rbd.Error, exception.CinderException) as error:
        raise Refused(
            503, _CODE, f"whether image {name} is mirrored is not known, and so nothing is done to it: {error}"
        ) from error
    return bool(state != driver.rbd.RBD_MIRROR_IMAGE_DISABLED)
