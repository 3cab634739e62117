//! What is asked of a zone's Cinder.

use futures::future::BoxFuture;
use rekindle_core::catalogue::{Change, Records, mapping::Project};
use std::{collections::BTreeMap, fmt};

/// What cannot be seen or was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct CinderError {
    /// In words, with what to do.
    pub why: String,
    /// How far it reaches.
    pub reach: Reach,
}

/// How far a failure reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The cloud as a whole does not answer, or not us: no other call fares better now.
    Cloud,
    /// This call alone.
    Call,
}

/// A zone's Cinder, with its Keystone. Every call has a deadline of its own.
pub trait Cinder: Send + Sync + fmt::Debug {
    /// RBD pool -> its host.
    fn hosts(&self) -> BTreeMap<String, String>;
    /// All volumes on those hosts and their snapshots, of all projects: whole, or an error.
    fn records(&self) -> BoxFuture<'_, Result<Records, CinderError>>;
    /// All projects.
    fn projects(&self) -> BoxFuture<'_, Result<Vec<Project>, CinderError>>;
    /// Writes. `image` is the RBD image's name. A `Describe` is no business of a Cinder.
    fn write<'a>(
        &'a self,
        image: &'a str,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), CinderError>>;
}
