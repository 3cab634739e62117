"""What each command asks for, and what it says to a refusal."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import pytest
from openstack import exceptions as sdk
from osc_lib import exceptions

from rekindle_osc import actions, show
from tests.fake_endpoint import VOLUMES, FakeEndpoint

DB, WEB = VOLUMES["db"], VOLUMES["web"]
FIELDS = {
    "rekindle:status": "active - secondary",
    "rekindle:mode": "periodic",
    "rekindle:peer": "zone-b",
    "rekindle:last_sync": "2026-11-26T10:00:00Z",
    "rekindle:lag": "1m 30s",
}


def run(command: Any, endpoint: FakeEndpoint, *args: str) -> Any:
    made = command(endpoint.app, None)
    parser = made.get_parser("openstack")
    return made.take_action(parser.parse_args(list(args)))


@pytest.mark.parametrize(
    ("command", "args", "body"),
    [
        (actions.Replicate, ("db",), {"os-replicate": {"mode": "instant"}}),
        (actions.Replicate, ("--mode", "once", "db"), {"os-replicate": {"mode": "once"}}),
        (
            actions.Replicate,
            ("--mode", "periodic", "--start", "2026-01-01T00:00:00Z", "--interval", "15m", "--group", "g", "db"),
            {"os-replicate": {"mode": "periodic", "group": "g", "start": "2026-01-01T00:00:00Z", "interval": "15m"}},
        ),
        (
            actions.Replicate,
            ("--mode", "once", "--leave-group", "db"),
            {"os-replicate": {"mode": "once", "leave_group": True}},
        ),
        (actions.Unreplicate, ("db",), {"os-unreplicate": None}),
        (actions.Promote, ("db",), {"os-promote": {}}),
        (actions.Promote, ("--force", DB), {"os-promote": {"force": True}}),
        (actions.Demote, ("db",), {"os-demote": None}),
        (actions.Resync, ("db",), {"os-resync": None}),
    ],
)
def test_each_command_is_one_action(command: Any, args: tuple[str, ...], body: Any) -> None:
    endpoint = FakeEndpoint()
    run(command, endpoint, *args)
    assert endpoint.asked == [(f"/volumes/{DB}/action", body)]


@pytest.mark.parametrize(
    "args",
    [
        ("--mode", "periodic", "db"),
        ("--mode", "periodic", "--interval", "15m", "db"),
        ("--interval", "15m", "db"),
        ("--mode", "once", "--start", "2026-01-01T00:00:00Z", "db"),
    ],
)
def test_times_go_with_the_periodic_mode_alone(args: tuple[str, ...]) -> None:
    endpoint = FakeEndpoint()
    with pytest.raises(exceptions.CommandError, match="--mode periodic"):
        run(actions.Replicate, endpoint, *args)
    assert endpoint.asked == []


def test_a_group_is_joined_or_left_and_not_both(capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = FakeEndpoint()
    with pytest.raises(SystemExit):
        run(actions.Replicate, endpoint, "--group", "g", "--leave-group", "db")
    assert "not allowed with" in capsys.readouterr().err
    assert endpoint.asked == []


def test_one_that_is_refused_keeps_no_other_from_its_turn() -> None:
    endpoint = FakeEndpoint()
    endpoint.refuses[DB] = (409, "the volume is a copy: its primary is in zone-b")
    with pytest.raises(exceptions.CommandError) as refused:
        run(actions.Demote, endpoint, "db", "none", "web")
    said = str(refused.value)
    assert said.startswith("2 of 3 were refused:\ndb: the volume is a copy: its primary is in zone-b\n")
    assert "none: No Volume found for none" in said
    assert [path for path, _ in endpoint.asked] == [f"/volumes/{DB}/action", f"/volumes/{WEB}/action"]


def test_a_single_refusal_is_the_gateways_words_alone() -> None:
    endpoint = FakeEndpoint()
    endpoint.refuses[DB] = (403, "os-promote needs one of the roles admin")
    with pytest.raises(exceptions.CommandError) as refused:
        run(actions.Promote, endpoint, "db")
    assert str(refused.value) == "db: os-promote needs one of the roles admin"


def test_the_status_is_shown_as_the_gateway_has_it() -> None:
    endpoint = FakeEndpoint()
    endpoint.fields = dict(FIELDS)
    columns, values = run(show.ShowReplication, endpoint, "db")
    assert dict(zip(columns, values, strict=True)) == {
        "id": DB,
        "name": "db",
        "status": "active - secondary",
        "mode": "periodic",
        "peer": "zone-b",
        "last_sync": "2026-11-26T10:00:00Z",
        "lag": "1m 30s",
    }
    endpoint.fields = dict.fromkeys(FIELDS)
    _, values = run(show.ShowReplication, endpoint, DB)
    assert values == (DB, "db", None, None, None, None, None)


def test_an_endpoint_that_is_no_gateway_is_told() -> None:
    with pytest.raises(exceptions.CommandError, match="no replication status"):
        run(show.ShowReplication, FakeEndpoint(), "db")
    with pytest.raises(sdk.NotFoundException):
        run(show.ShowReplication, FakeEndpoint(), "none")


def test_openstackclient_finds_all_of_them() -> None:
    found = {e.name: e.load() for e in entry_points(group="openstack.volume.v3") if e.value.startswith("rekindle_osc")}
    assert found == {
        "volume_replicate": actions.Replicate,
        "volume_unreplicate": actions.Unreplicate,
        "volume_promote": actions.Promote,
        "volume_demote": actions.Demote,
        "volume_resync": actions.Resync,
        "volume_replication_show": show.ShowReplication,
    }
