//! Servers: what is needed to build one again, and how that is read from and written to other formats.
//!
//! ```text
//!   a Terraform state --> terraform --+                  +--> our JSON
//!   a script's JSON   --> script    --+--> ServerRecord --+--> export: Terraform, Heat, a shell script
//!   Nova              (by its client) +                  +--> diff, in words
//! ```
//!
//! All of it is pure: a text goes in, a record or a text comes out. **No secret goes through**: passwords, private keys and what
//! Terraform marks as sensitive are dropped where they are read, and no error carries a value of what it refuses. A server's user
//! data may hold secrets too. It is kept, for a server is built with it, and it is shown nowhere but in the record's own JSON.

mod check;
pub mod diff;
pub mod export;
mod file_name;
mod kept;
mod quote;
mod read;
pub mod record;
pub mod script;
pub mod shown;
pub mod terraform;
mod user_data;

pub use kept::{Build, Instance, KeptServer};
pub use read::InvalidRecord;
pub use record::{
    AddressPair, DiskRecord, FixedIp, FlavorRecord, PortRecord, PortSecurity, PowerWish,
    RecordSource, ServerRecord, VolumeRef,
};
pub use user_data::{MAX_USER_DATA, UserData};

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
