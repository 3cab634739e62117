"""A call ends within its deadline whatever the sidecar does, and says what may be concluded."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from rekindle_cinder.client import Sidecar, VolumeRef
from rekindle_cinder.errors import BadAnswer, NoAnswer, Refused, Unreachable
from rekindle_cinder.transport import exchange

VOLUME = VolumeRef("id-1", "volumes/volume-id-1")


def http(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 " + status.encode() + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


def call(path: str, timeout: float = 5.0) -> Sidecar:
    return Sidecar(path, timeout, timeout)


def test_an_absent_sidecar_is_a_clear_error_at_once(socket_path):
    began = time.monotonic()
    with pytest.raises(Unreachable, match="Is rekindle-driver running") as caught:
        call(socket_path).guard(None, "delete", "volumes/x")
    assert time.monotonic() - began < 1
    assert caught.value.nothing_was_done
    assert socket_path in str(caught.value)


def test_a_socket_that_nobody_listens_on(socket_path):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(socket_path)
    with pytest.raises(Unreachable, match="refused"):
        call(socket_path).thaw(None)


def test_a_listener_that_accepts_nobody(socket_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_path)
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(socket_path)
        began = time.monotonic()
        with pytest.raises((Unreachable, NoAnswer)):
            exchange(socket_path, "GET", "/", deadline=0.5, connect_timeout=0.2)
        assert time.monotonic() - began < 3
        for one in waiting:
            one.close()


def test_a_path_that_is_too_long_for_a_socket():
    with pytest.raises(Unreachable, match="too long"):
        call("/run/" + "x" * 200).thaw(None)


def test_it_comes_back_by_itself(socket_path, make, sidecar):
    sidecar.hangs("thaw")
    client = call(socket_path, 0.2)
    with pytest.raises(NoAnswer):
        client.thaw(None)
    sidecar.recovers()
    client.thaw(None)


def test_a_sidecar_that_hangs_is_left_at_the_deadline(socket_path, sidecar):
    sidecar.hangs("failover")
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="none within 0") as caught:
        Sidecar(socket_path, 30.0, 0.3).failover(None, "zone-b", [VOLUME])
    assert time.monotonic() - began < 3
    assert not caught.value.nothing_was_done


def test_an_answer_that_comes_byte_by_byte_does_not_stretch_the_deadline(socket_path):
    """Each byte comes well within a socket's timeout."""
    stop = threading.Event()

    def drip(listener):
        connection, _ = listener.accept()
        with connection:
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_path)
        listener.listen(1)
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            exchange(socket_path, "GET", "/", deadline=0.5)
        assert time.monotonic() - began < 3
        stop.set()
        thread.join(5)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", NoAnswer),
        (http(b'{"a": 1}')[:-3], NoAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Le", BadAnswer),
        (b"SSH-2.0-OpenSSH\r\n", BadAnswer),
        (http(b"no json"), BadAnswer),
        (http(b"[]"), BadAnswer),
        (http(b"\xff\xfe"), BadAnswer),
        (http(b"{}"), BadAnswer),
        (http(b'{"volumes": [7]}'), BadAnswer),
        (http(b'{"volumes": []}'), BadAnswer),
        (http(b'{"volumes": [{"id": "id-1", "image": "i", "result": "maybe"}]}'), BadAnswer),
        (http(b'{"volumes": [{"id": "id-1", "image": "i", "result": "ok", "replication_status": null}]}'), BadAnswer),
        (http(b'{"volumes": [{"id": "id-1", "image": "i", "result": "failed"}]}'), BadAnswer),
        (http(b'{"detail": "of another program"}', "500 No"), BadAnswer),
    ],
)
def test_a_bad_answer_is_named_and_nothing_is_concluded_from_it(socket_path, sidecar, raw, error):
    sidecar.sends("status", raw)
    with pytest.raises(error) as caught:
        call(socket_path).status(None, [VOLUME])
    assert not caught.value.nothing_was_done


def test_an_answer_without_end_is_cut(socket_path, sidecar):
    sidecar.sends("backend", http(b"x" * 100_000))
    with pytest.raises(BadAnswer, match="longer than 50000"):
        exchange(socket_path, "GET", "/v1/cinder/backend", deadline=5, max_answer=50_000)


def test_a_refusal_carries_code_words_field_and_request(socket_path, sidecar):
    sidecar.refuses("check", 400, "invalid_field", "5x is no duration", "rekindle:interval")
    with pytest.raises(Refused) as caught:
        call(socket_path).check({})
    error = caught.value
    found = (error.status, error.code, error.message, error.field, error.request_id)
    assert found == (400, "invalid_field", "5x is no duration", "rekindle:interval", "req-1")
    assert error.nothing_was_done


def test_an_error_of_the_server_leaves_open_what_was_done(socket_path, sidecar):
    sidecar.refuses("replicate", 500, "internal", "a fault of ours")
    with pytest.raises(Refused) as caught:
        call(socket_path).replicate(None, {}, [VOLUME])
    assert not caught.value.nothing_was_done


def test_any_unicode_goes_through(socket_path, sidecar):
    call(socket_path).freeze("zone-ü", "»Ärger« \U0001f525 \x00")
    assert sidecar.asked("freeze") == [{"backend": "zone-ü", "reason": "»Ärger« \U0001f525 \x00"}]
    call(socket_path).backend("zone ü&b=c")
    assert sidecar.asked("backend") == [{"query": "backend=zone+%C3%BC%26b%3Dc"}]


def test_two_thousand_volumes_in_one_call(socket_path, sidecar):
    volumes = [VolumeRef(f"id-{n}", f"volumes/volume-{n}") for n in range(2000)]
    results = call(socket_path).failover(None, "zone-b", volumes).volumes
    assert [result.id for result in results] == [volume.id for volume in volumes]
    assert len(json.dumps(sidecar.asked("failover")[0])) > 90_000


def test_results_are_matched_by_id_not_by_place(socket_path, sidecar):
    volumes = [VolumeRef("id-1", "v/1"), VolumeRef("id-2", "v/2")]
    sidecar.fails_volume("id-2", "busy", "busy")
    well = sidecar._well
    sidecar.answers("status", lambda body: (200, {"volumes": well(body)[1]["volumes"][::-1]}))
    results = call(socket_path).status(None, volumes)
    assert [(result.id, result.failure is not None) for result in results] == [("id-1", False), ("id-2", True)]
