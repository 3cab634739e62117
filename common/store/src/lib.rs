//! The fenced key-value store: etcd, and the same in process.
