//! The groups' servers.
//!
//! | module | what it does |
//! |---|---|
//! | [`control`] | what is asked of a zone's servers, as a trait |
//! | [`nova`] | a real Nova |
//! | [`translate`] | a record in another zone's names |
//! | [`keeper`] | each server's record is kept, and its stand-by follows it |
//! | `built` | what we built in each zone, as etcd has it |

pub(crate) mod built;
pub mod control;
pub mod keeper;
pub mod nova;
pub mod translate;
