//! Both zones on one machine: real Ceph, real etcd.
