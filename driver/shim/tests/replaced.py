"""Cinder's tests of RBDDriver that cannot hold for RekindleRBDDriver, each with the reason. All others have to pass."""

from __future__ import annotations

_ENABLE = "turns mirroring on by librbd, in journal mode; here that is one call to the sidecar (test_types.py)"
_DISABLE = "turns mirroring off by librbd; here that is one call to the sidecar (test_types.py)"
_FAILOVER = "promotes by librbd, one volume after the other; here that is one call to the sidecar (test_failover.py)"
_PARENT = "its image has no parent_info; a replicated image is asked for its parent first (test_types.py)"
_RETYPE = "expects nothing to be done between two replicated types; here the mode changes in place (test_types.py)"
_UPLOAD = "its volume has no fields; whether it is a copy, and which zone it is read in, go by them (test_types.py)"

REPLACED: dict[str, str] = {
    "RBDTestCase.test_enable_replication_1__True__False_": _ENABLE,
    "RBDTestCase.test_enable_replication_2__False__False_": _ENABLE,
    "RBDTestCase.test_enable_replication_3__True__True_": _ENABLE,
    "RBDTestCase.test_disable_replication_1___false____true__": _DISABLE,
    "RBDTestCase.test_disable_replication_2___true____true__": _DISABLE,
    "RBDTestCase.test_disable_replication_3___false____false__": _DISABLE,
    "RBDTestCase.test_failover_host_1_None": _FAILOVER,
    "RBDTestCase.test_failover_host_2_tertiary_backend": _FAILOVER,
    "RBDTestCase.test_failover_host_failback": _FAILOVER,
    "RBDTestCase.test_copy_volume_to_image_1___bare____raw__": _UPLOAD,
    "RBDTestCase.test_copy_volume_to_image_2___bare____qcow2__": _UPLOAD,
    "RBDTestCase.test_copy_volume_to_image_3___compressed____raw__": _UPLOAD,
    "RBDTestCase.test_copy_volume_to_image_4___compressed____qcow2__": _UPLOAD,
    "RBDTestCase.test_manage_existing_replicated_type": _PARENT,
    "RBDTestCase.test_retype_replicated_4": _RETYPE,
}
