"""cinder-volume has monkey-patched sockets: a call that waits for the sidecar lets its other green threads run."""

from __future__ import annotations

import subprocess
import sys

import pytest

WAITS = """
import sys
if sys.argv[2] == "green":
    import eventlet
    eventlet.monkey_patch()
import threading, time
from rekindle_cinder.errors import NoAnswer
from rekindle_cinder.transport import exchange

ticks, end = 0, threading.Event()

def tick():
    global ticks
    while not end.wait(0.01):
        ticks += 1

threading.Thread(target=tick, daemon=True).start()
began = time.monotonic()
try:
    exchange(sys.argv[1], "GET", "/v1/cinder/backend", deadline=0.5)
except NoAnswer:
    print(ticks, time.monotonic() - began)
end.set()
"""


@pytest.mark.parametrize("kind", ["green", "native"])
def test_others_go_on_while_one_waits(socket_path, sidecar, kind):
    sidecar.hangs("backend")
    run = [sys.executable, "-W", "ignore", "-c", WAITS, socket_path, kind]
    printed = subprocess.run(run, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    assert int(printed[0]) >= 5
    assert float(printed[1]) < 5
