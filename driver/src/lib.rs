//! The sidecar beside cinder-volume: volume actions over RBD mirroring.
