//! The groups' servers.
//!
//! | module | what it does |
//! |---|---|
//! | [`control`] | what is asked of a zone's servers, as a trait |

pub mod control;
