"""One command for each action."""

from __future__ import annotations

import argparse
from typing import Any

from openstack import exceptions as sdk
from osc_lib import exceptions
from osc_lib.command import command

from rekindle_osc import gateway

MODES = ("instant", "once", "periodic")


class _Action(command.Command):
    """One action on one or more volumes, each for itself: one that is refused keeps no other from its turn."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("volumes", metavar="<volume>", nargs="+", help="Volume(s) by name or ID")
        return parser

    def action(self, parsed_args: argparse.Namespace) -> dict[str, Any]:
        """The request's body."""
        raise NotImplementedError

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        action = self.action(parsed_args)
        client = gateway.of(self.app)
        refused = []
        for volume in parsed_args.volumes:
            try:
                gateway.act(client, gateway.find(client, volume), action)
            except sdk.SDKException as error:
                refused.append(f"{volume}: {_words(error)}")
        if refused:
            of = len(parsed_args.volumes)
            text = "\n".join(refused)
            raise exceptions.CommandError(text if of == 1 else f"{len(refused)} of {of} were refused:\n{text}")


def _words(error: sdk.SDKException) -> str:
    """What the server said, rather than the client's way to say that it said something."""
    return str(getattr(error, "details", None) or error)


class Replicate(_Action):
    """Put volume(s) under replication, or change how they are replicated

    It has begun when the command ends: `volume replication show` tells how it goes.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--mode",
            choices=MODES,
            default="instant",
            help="Every write (instant), the volume as it is now (once), or a snapshot every so often (periodic)",
        )
        parser.add_argument(
            "--start", metavar="<time>", help="With --mode periodic: the first snapshot, like 2026-01-01T00:00:00Z"
        )
        parser.add_argument("--interval", metavar="<time>", help="With --mode periodic: how often, like 15m")
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            "--group",
            metavar="<group>",
            help="Into this protection group (by default admin only); without it, the volume stays in the one it is in",
        )
        group.add_argument(
            "--leave-group",
            action="store_true",
            help="Out of its protection group: no failover promotes it any more (by default admin only)",
        )
        return parser

    def action(self, parsed_args: argparse.Namespace) -> dict[str, Any]:
        periodic = parsed_args.mode == "periodic"
        times = {"start": parsed_args.start, "interval": parsed_args.interval}
        if periodic and not all(times.values()):
            raise exceptions.CommandError("--mode periodic needs --start and --interval")
        if not periodic and any(times.values()):
            raise exceptions.CommandError("--start and --interval go with --mode periodic")
        groups = {"group": parsed_args.group, "leave_group": parsed_args.leave_group}
        fields = {"mode": parsed_args.mode, **groups, **times}
        return {"os-replicate": {key: value for key, value in fields.items() if value}}


class Unreplicate(_Action):
    """Take replication off volume(s): the other zone's copy is deleted"""

    def action(self, parsed_args: argparse.Namespace) -> dict[str, Any]:
        return {"os-unreplicate": None}


class Promote(_Action):
    """Make this zone's image of volume(s) the one that is written to (by default admin only)"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--force",
            action="store_true",
            help="Also where the other zone's may be written to: what was not replicated is lost",
        )
        return parser

    def action(self, parsed_args: argparse.Namespace) -> dict[str, Any]:
        return {"os-promote": {"force": True} if parsed_args.force else {}}


class Demote(_Action):
    """Stop writes to this zone's image of volume(s) (by default admin only)"""

    def action(self, parsed_args: argparse.Namespace) -> dict[str, Any]:
        return {"os-demote": None}


class Resync(_Action):
    """Discard this zone's copy of volume(s) and make it anew; what it held is kept as an image beside"""

    def action(self, parsed_args: argparse.Namespace) -> dict[str, Any]:
        return {"os-resync": None}
