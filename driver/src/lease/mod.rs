//! The zone's primary leases: the right to write, taken, renewed and given up in time.

pub mod keeper;
