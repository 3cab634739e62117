"""What is remembered of a Ceph cluster that did not answer.

Each try to connect to a dead cluster costs its whole timeout. A start with forty half-deleted volumes would take forty
of them, and cinder-volume would be down for as long. So for a short while after a timeout nobody tries again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Hashable

AWAY_FOR = 15.0
"""Seconds. Shorter than the interval of Cinder's own reports, so each of those looks anew."""

_TIMED_OUT = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNREFUSED)


class Away:
    """Clusters that were found away, and until when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Hashable, float] = {}

    def note(self, cluster: Hashable) -> None:
        self._until[cluster] = self._clock() + AWAY_FOR

    def is_away(self, cluster: Hashable) -> bool:
        return self._clock() < self._until.get(cluster, float("-inf"))


def timed_out(error: BaseException) -> bool:
    """Whether a failed connection, or what is behind it, says that nobody answered. A wrong key or pool is no such case."""
    behind: BaseException | None = error
    for _ in range(8):
        if behind is None:
            return False
        if getattr(behind, "errno", None) in _TIMED_OUT:
            return True
        behind = behind.__cause__ or behind.__context__
    return False
