"""What can come of a call to the sidecar, besides an answer.

The difference that counts is what the caller may conclude: nothing was done (Unreachable, a 4xx), or it is not known
what was done (NoAnswer, BadAnswer, a 5xx). No Cinder in here.
"""

from __future__ import annotations

REASON_LIMIT = 255
"""What Cinder's columns for a reason hold."""


class SidecarError(Exception):
    """A call that brought no good answer."""

    nothing_was_done = False

    def __init__(self, code: str, message: str, field: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class Unreachable(SidecarError):
    """No connection: the request was not sent."""

    nothing_was_done = True

    def __init__(self, socket_path: str, why: str) -> None:
        super().__init__(
            "sidecar_unreachable",
            f"the Rekindle sidecar does not answer at {socket_path}: {why}. Is rekindle-driver running on this host?",
        )


class NoAnswer(SidecarError):
    """The request was sent and no whole answer came: it may have taken effect, or may still."""

    def __init__(self, why: str) -> None:
        super().__init__("no_answer", f"the Rekindle sidecar gave no answer: {why}. Look before asking again")


class BadAnswer(SidecarError):
    """An answer that is none of the contract's: another version, or another program on the socket."""

    def __init__(self, why: str) -> None:
        super().__init__("bad_answer", f"the Rekindle sidecar's answer cannot be read: {why}")


class Refused(SidecarError):
    """The sidecar's own refusal, with its words."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(code, message, field, request_id)
        self.status = status
        self.nothing_was_done = 400 <= status < 500


def cut(reason: str, limit: int = REASON_LIMIT) -> str:
    """A reason that fits into Cinder's column."""
    return reason if len(reason) <= limit else reason[: limit - 3] + "..."
