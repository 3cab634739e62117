"""The volume endpoint of the user's own cloud, in the session that openstackclient has already."""

from __future__ import annotations

from typing import Any

from openstack import exceptions as sdk
from osc_lib import exceptions

STATUS = "rekindle:status"


def of(app: Any) -> Any:
    """The client that openstackclient's own volume commands use."""
    return app.client_manager.sdk_connection.volume


def find(client: Any, name_or_id: str) -> str:
    """A volume's id. Names are looked up as openstackclient does."""
    return str(client.find_volume(name_or_id, ignore_missing=False).id)


def act(client: Any, volume: str, action: dict[str, Any]) -> None:
    """One action. What the gateway says against it is the error."""
    sdk.raise_from_response(client.post(f"/volumes/{volume}/action", json=action))


def show(client: Any, volume: str) -> dict[str, Any]:
    """The volume as the endpoint shows it, with the gateway's fields."""
    answer = client.get(f"/volumes/{volume}")
    sdk.raise_from_response(answer)
    shown: dict[str, Any] = answer.json()["volume"]
    if STATUS not in shown:
        raise exceptions.CommandError(
            "the volume endpoint shows no replication status: it is Cinder's own, or a gateway that is told not to"
        )
    return shown
