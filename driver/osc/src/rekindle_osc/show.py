"""How a volume is replicated."""

from __future__ import annotations

import argparse
from typing import Any

from osc_lib.command import command

from rekindle_osc import gateway

FIELDS = ("status", "mode", "peer", "last_sync", "lag")


class ShowReplication(command.ShowOne):
    """Show how a volume is replicated"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("volume", metavar="<volume>", help="Volume by name or ID")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        client = gateway.of(self.app)
        shown = gateway.show(client, gateway.find(client, parsed_args.volume))
        values = (shown["id"], shown["name"], *(shown[f"rekindle:{field}"] for field in FIELDS))
        return ("id", "name", *FIELDS), values
