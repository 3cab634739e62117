//! The groups' servers.
//!
//! | module | what it does |
//! |---|---|
//! | [`control`] | what is asked of a zone's servers, as a trait |
//! | [`nova`] | a real Nova |
//! | [`translate`] | a record in another zone's names |

pub mod control;
pub mod nova;
pub mod translate;
