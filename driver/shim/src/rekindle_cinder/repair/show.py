"""A plan and what came of it, for a person or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rekindle_cinder.repair.carry_out import Outcome
from rekindle_cinder.repair.facts import Plan


def document(plan: Plan, outcomes: Sequence[Outcome] | None) -> dict[str, Any]:
    """`outcomes`: None where nothing was to be carried out."""
    problems = [None] * len(plan.changes) if outcomes is None else [problem for _change, problem in outcomes]
    return {
        "host": plan.host,
        "active_backend": plan.active,
        "applied": outcomes is not None,
        "refused": plan.refused,
        "changes": [
            {
                "kind": change.kind,
                "id": change.id,
                "from": _plain({key: change.was.get(key) for key in change.to if key in change.was}),
                "to": _plain(change.to),
                "why": change.why,
                "done": None if outcomes is None else problem is None,
                "problem": problem,
            }
            for change, problem in zip(plan.changes, problems, strict=True)
        ],
        "left": [{"kind": left.kind, "id": left.id, "why": left.why} for left in plan.left],
    }


def as_json(shown: Mapping[str, Any]) -> str:
    return json.dumps(shown, indent=2)


def as_text(shown: Mapping[str, Any]) -> str:
    if shown["refused"]:
        return f"refused: {shown['refused']}"
    lines = [f"{shown['host']}, served from '{shown['active_backend']}'"]
    for change in shown["changes"]:
        steps = ", ".join(f"{key}: {_word(change['from'].get(key))} -> {_word(to)}" for key, to in change["to"].items())
        mark = {None: "would change", True: "changed", False: "NOT changed"}[change["done"]]
        lines += [f"{mark} {change['kind']} {change['id']}: {steps}", f"    {change['problem'] or change['why']}"]
    lines += [f"left {left['kind']} {left['id']}: {left['why']}" for left in shown["left"]]
    if not shown["changes"] and not shown["left"]:
        lines.append("nothing to put right")
    elif shown["changes"] and not shown["applied"]:
        lines.append(f"{len(shown['changes'])} changes; nothing was changed. --apply carries them out")
    return "\n".join(lines)


def _word(value: Any) -> str:
    return "-" if value is None else str(value)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}
