"""rekindle-cinder-repair as a process: cinder.conf, a database file, and the sidecar's socket."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

PREPARE = """
import datetime, sys
from cinder import context, objects
from cinder.common import config
from cinder.db import api as db
from oslo_config import cfg
cfg.CONF(["--config-file", sys.argv[1]], project="cinder")
objects.register_all()
from cinder.db import migration
migration.db_sync()
admin = context.get_admin_context()
host = {"host": "h@ceph", "binary": "cinder-volume", "topic": "cinder-volume", "replication_status": "enabled"}
db.service_create(admin, host)
kind = db.volume_type_create(admin, {"name": "plain"})
common = {"host": "h@ceph#ceph", "size": 1, "status": "error", "previous_status": "in-use", "volume_type_id": kind["id"]}
plain = db.volume_create(admin, {**common, "replication_status": "not-capable"})
ours = db.volume_create(admin, {**common, "replication_status": "failover-error"})
db.snapshot_create(admin, {"volume_id": plain["id"], "status": "error", "volume_size": 1, "volume_type_id": kind["id"]})
print(plain["id"], ours["id"])
"""


class Cinder:
    """A cinder.conf with its database."""

    def __init__(self, folder: Path, socket_path: str) -> None:
        self.conf = folder / "cinder.conf"
        self.database = folder / "cinder.sqlite"
        self.conf.write_text(
            f"[DEFAULT]\nhost = h\nenabled_backends = ceph\nstate_path = {folder}\n"
            f"[database]\nconnection = sqlite:///{self.database}\n"
            f"[backend_defaults]\nrbd_pool = volumes\n[ceph]\nrekindle_socket = {socket_path}\n"
        )

    def prepare(self) -> list[str]:
        made = self._python("-c", PREPARE, str(self.conf))
        assert made.returncode == 0, made.stderr
        return made.stdout.split()

    def repair(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._python("-m", "rekindle_cinder.repair", "--config-file", str(self.conf), *words)

    def execute(self, statement: str) -> None:
        with contextlib.closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(statement)

    @staticmethod
    def _python(*words: str) -> subprocess.CompletedProcess[str]:
        run = [sys.executable, "-W", "ignore", *words]
        return subprocess.run(run, capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": "/nonexistent"})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The database, and the ids in it: made once, by Cinder itself, for that takes seconds."""
    made = Cinder(tmp_path_factory.mktemp("cinder"), "/nonexistent")
    return made.database, made.prepare()


@pytest.fixture
def cinder(tmp_path, socket_path, prepared):
    made = Cinder(tmp_path, socket_path)
    shutil.copy(prepared[0], made.database)
    return made


@pytest.fixture
def ids(prepared):
    return prepared[1]


def test_a_plan_and_its_carrying_out(cinder, sidecar, ids):
    plain, ours = ids
    planned = cinder.repair()
    assert planned.returncode == 0, planned.stderr
    assert f"would change volume {plain}: status: error -> in-use" in planned.stdout
    assert "--apply carries them out" in planned.stdout
    assert sidecar.asked("status") == [
        {"backend": None, "volumes": [{"id": ours, "image": f"volumes/volume-{ours}"}]},
    ]
    done = cinder.repair("--apply", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["host"], shown["active_backend"], shown["applied"], shown["refused"]) == ("h@ceph", "default", True, None)
    assert sorted((change["kind"], change["done"]) for change in shown["changes"]) == [
        ("snapshot", True),
        ("volume", True),
        ("volume", True),
    ]
    assert "nothing to put right" in cinder.repair("--apply").stdout


def test_a_failover_that_may_be_at_work_is_a_refusal(cinder, sidecar):
    cinder.execute("UPDATE services SET replication_status = 'failing-over', updated_at = datetime('now')")
    refused = cinder.repair("--apply", "--json")
    assert refused.returncode == 3, refused.stderr
    shown = json.loads(refused.stdout)
    assert "may be at work" in shown["refused"]
    assert (shown["changes"], shown["applied"]) == ([], False)


def test_an_absent_sidecar_is_no_reason_to_guess(cinder, ids):
    done = cinder.repair("--apply", "--json")
    assert done.returncode == 6, done.stderr
    [left] = json.loads(done.stdout)["left"]
    assert left["id"] == ids[1]
    assert "rekindle-driver" in left["why"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backend", "lvm"], "not among enabled_backends (ceph)"),
        (["--older-than", "5s"], "less than service_down_time"),
        (["--older-than", "soon"], "no length of time"),
        (["--config-file", "/nonexistent/cinder.conf"], "cannot be read"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(cinder, words, said):
    ended = cinder.repair(*words)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stdout == ""


def test_a_database_without_tables_is_an_error_in_one_line(cinder):
    cinder.execute("DROP TABLE volumes")
    ended = cinder.repair("--json")
    assert ended.returncode == 1
    assert "Cinder's database" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
