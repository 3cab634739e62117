"""A volume endpoint: what is between a command and the wire."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import requests
from openstack import exceptions as sdk

VOLUMES = {"db": "9d2a4c1e-0000-4000-8000-000000000001", "web": "9d2a4c1e-0000-4000-8000-000000000002"}


class FakeEndpoint:
    """Has two volumes, notes what is asked of them, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.refuses: dict[str, tuple[int, str]] = {}
        self.fields: dict[str, Any] = {}

    @property
    def app(self) -> Any:
        """What openstackclient hands to a command."""
        connection = SimpleNamespace(volume=self)
        return SimpleNamespace(client_manager=SimpleNamespace(sdk_connection=connection))

    def find_volume(self, name_or_id: str, ignore_missing: bool = True) -> Any:
        assert not ignore_missing
        found = VOLUMES.get(name_or_id, name_or_id)
        if found not in VOLUMES.values():
            raise sdk.NotFoundException(f"No Volume found for {name_or_id}")
        return SimpleNamespace(id=found)

    def post(self, path: str, json: Any) -> requests.Response:
        self.asked.append((path, json))
        refused = self.refuses.get(path.split("/")[2])
        if refused is None:
            return answer(202, None)
        status, message = refused
        return answer(status, {"conflictingRequest": {"code": status, "message": message}})

    def get(self, path: str) -> requests.Response:
        volume = {"id": path.split("/")[2], "name": "db", "size": 1, **self.fields}
        return answer(200, {"volume": volume})


def answer(status: int, body: Any) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.url = "http://gateway.example/"
    made.request = requests.Request("POST", made.url).prepare()
    if body is not None:
        made.headers["content-type"] = "application/json"
        made._content = json.dumps(body).encode()
    else:
        made._content = b""
    return made
