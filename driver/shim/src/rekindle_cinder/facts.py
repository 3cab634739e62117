"""What cinder-volume knows of a volume, for the other zone's catalogue. The sidecar keeps it with the image.

That something cannot be read is no reason to fail: the orchestrator mends the facts later, from Cinder's API.
"""

from __future__ import annotations

from typing import Any

from oslo_log import log as logging

LOG = logging.getLogger(__name__)


def of(volume: Any, volume_type: Any) -> dict[str, Any] | None:
    """The facts, without its snapshots: those that are known stay. `volume_type` is the one that it is getting."""
    try:
        return {
            "project_id": str(volume.project_id),
            "name": volume.display_name,
            "description": volume.display_description,
            "volume_type": getattr(volume_type, "name", None),
            "size_gib": int(volume.size),
            "bootable": bool(volume.bootable),
            "image_metadata": _image_metadata(volume),
            "encryption_key_id": volume.encryption_key_id or None,
        }
    except Exception as error:
        LOG.warning("What Cinder knows of volume %s is not told to the other zone yet: %s", volume.id, error)
        return None


def _image_metadata(volume: Any) -> dict[str, str]:
    """Read from the database where it was not loaded."""
    try:
        return {str(key): str(value) for key, value in volume.glance_metadata.items()}
    except Exception as error:
        LOG.warning("The image metadata of volume %s cannot be read now: %s", volume.id, error)
        return {}
