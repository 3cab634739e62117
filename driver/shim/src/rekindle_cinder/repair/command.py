"""rekindle-cinder-repair: reads, plans, prints, and with --apply carries out."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any

from cinder import context as cinder_context
from cinder import exception, objects
from oslo_db import exception as db_exception

from rekindle_cinder.repair import carry_out, plan, read, settings, show
from rekindle_cinder.repair.facts import Rules


class Exit(IntEnum):
    """The numbers of `rekindle --help`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 5
    PARTIAL = 6


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    # Libraries that complain of themselves on the way would hide our words.
    logging.disable(logging.CRITICAL)
    try:
        objects.register_all()
        found = settings.load(asked.config_file, asked.backend, asked.older_than, asked.away_too)
        shown, code = run(cinder_context.get_admin_context(), found, asked.apply)
    except settings.UsageError as error:
        return _failed(Exit.USAGE, str(error))
    except db_exception.DBConnectionError as error:
        return _failed(Exit.UNREACHABLE, f"Cinder's database does not answer: {_first_line(error)}")
    except (db_exception.DBError, exception.CinderException) as error:
        return _failed(Exit.FAILED, f"Cinder's database: {_first_line(error)}")
    print(show.as_json(shown) if asked.json else show.as_text(shown))
    return code


def run(context: Any, found: settings.Settings, apply: bool) -> tuple[dict[str, Any], Exit]:
    rules: Rules = found.rules
    made = plan.make(read.world(context, found), rules)
    outcomes = list(carry_out.each(context, made)) if apply and not made.refused else None
    shown = show.document(made, outcomes)
    if made.refused:
        return shown, Exit.REFUSED
    if outcomes is not None and (made.left or any(problem for _change, problem in outcomes)):
        return shown, Exit.PARTIAL
    return shown, Exit.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rekindle-cinder-repair",
        description="Puts right what Cinder's manager marked at a failover. Without --apply it only says what it would do.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused: a failover may be at work, 5 the database does "
        "not answer, 6 done in part.",
    )
    parser.add_argument("--apply", action="store_true", help="carry the plan out")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="cinder.conf, once or more often [as cinder-volume]",
    )
    parser.add_argument("--backend", metavar="NAME", help="one of enabled_backends [the only one]")
    parser.add_argument(
        "--older-than",
        type=_span,
        default=timedelta(minutes=10),
        metavar="TIME",
        help="a failover is over when its cinder-volume has been silent for so long [10m]",
    )
    parser.add_argument(
        "--away-too",
        action="store_true",
        help="give back volumes that are not replicated also while the backend is failed over, without their images",
    )
    return parser


def _span(text: str) -> timedelta:
    try:
        return settings.span(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _failed(code: Exit, why: str) -> Exit:
    print(f"rekindle-cinder-repair: {why}", file=sys.stderr)
    return code


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
