//! Who is primary: roles and modes of a pool's mirrored images, a call for each page of them.
//!
//! librbd reads an object of each image of the page, and does not come back where one is silent. So where it is known which are (silence.rs),
//! a page is a run between two of them, and no other image has to be opened for its role.

use super::{
    RbdBackend, Result,
    details::{Failed, Listing},
    hung::What,
    list::PARALLEL,
    silence::Silence,
    source::{Bulk, Source, Told},
};
use crate::backend::error::{BackendErrorKind, Op};
use futures::{StreamExt, stream};
use rbd_rs as rbd;
use std::collections::{BTreeMap, HashSet};

/// Roles and modes, by image id.
#[derive(Default)]
pub(super) struct Roles {
    pub(super) told: Told,
    /// Who was not told of: their page did not answer, or they are silent themselves.
    pub(super) silent: HashSet<String>,
}

impl Roles {
    fn silent(ids: Vec<String>) -> Self {
        Self {
            silent: ids.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// What is asked for in one call: so many images after that one.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    after: String,
    most: usize,
    /// Those that are expected.
    ids: Vec<String>,
}

/// All images, page by page.
fn pages<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<Page> {
    let ids: Vec<String> = ids.cloned().collect();
    let mut after = String::new();
    let page = |page: &[String]| {
        let last = page.last().cloned().unwrap_or_default();
        Page {
            after: std::mem::replace(&mut after, last),
            most: rbd::MIRROR_PAGE,
            ids: page.to_vec(),
        }
    };
    ids.chunks(rbd::MIRROR_PAGE).map(page).collect()
}

/// Those between the ones that are left out. A call goes on until it has as many as it is to give, so a page ends before each of which
/// it gives nothing, too: one whose mirroring is not enabled.
fn runs(
    statuses: &BTreeMap<String, rbd::ImageStatus>,
    left_out: impl Fn(&String) -> bool,
) -> Vec<Page> {
    let mut all: Vec<Page> = Vec::new();
    let mut open = false;
    let mut after = String::new();
    for (id, status) in statuses {
        if left_out(id) || status.state != rbd::MirrorState::Enabled {
            open = false;
        } else {
            match all.last_mut() {
                Some(run) if open && run.most < rbd::MIRROR_PAGE => {
                    run.most += 1;
                    run.ids.push(id.clone());
                }
                Some(_) | None => all.push(Page {
                    after: after.clone(),
                    most: 1,
                    ids: vec![id.clone()],
                }),
            }
            open = true;
        }
        after.clone_from(id);
    }
    all
}

impl RbdBackend {
    pub(super) async fn roles<S: Source>(
        &self,
        list: &Listing<'_, S>,
        bulk: &Bulk,
        silence: &Silence,
    ) -> Result<Roles> {
        let statuses = &bulk.statuses;
        let hangs = |id: &String| {
            let (pool, id) = (list.pool.to_owned(), id.clone());
            self.shared.reads.hangs(&What::Image { pool, id })
        };
        let mut all = Roles::default();
        let pages = match &silence.silent {
            None => pages(statuses.keys()),
            Some(silent) => {
                let left_out = |id: &String| silent.contains_key(id) || hangs(id);
                all.silent
                    .extend(statuses.keys().filter(|id| left_out(id)).cloned());
                // Nor does a call give anything of what is left of an image that is gone.
                let gone = |id: &String| !bulk.names.contains_key(id);
                runs(statuses, |id| all.silent.contains(id) || gone(id))
            }
        };
        let pages: Vec<Result<Roles>> = stream::iter(pages)
            .map(|page| async {
                // The call would read that one too. Pages begin elsewhere whenever an image comes or goes: they cannot be told by their own
                // hanging alone.
                if page.ids.iter().any(hangs) {
                    return Ok(Roles::silent(page.ids));
                }
                // Another one has just hung: first it is asked which do.
                if !silence.troubled && self.shared.reads.is_troubled(list.pool) {
                    return Ok(Roles::silent(page.ids));
                }
                self.page(list, page).await
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        for page in pages {
            let page = page?;
            all.told.extend(page.told);
            all.silent.extend(page.silent);
        }
        Ok(all)
    }

    async fn page<S: Source>(&self, list: &Listing<'_, S>, page: Page) -> Result<Roles> {
        let Page { after, most, ids } = page;
        let what = What::Page {
            pool: list.pool.to_owned(),
            after: after.clone(),
            most,
        };
        let call = || {
            let (io, after) = (list.io.clone(), after.clone());
            move || io.infos_after(&after, most)
        };
        match self.part(list, Op::List, None, &what, call).await {
            Ok(told) => {
                // One that came meanwhile pushes the last of them out of a full page, and the next page begins behind that.
                let full = told.len() >= most;
                let pushed_out = ids.into_iter().filter(|id| !told.contains_key(id));
                Ok(Roles {
                    silent: pushed_out.filter(|_| full).collect(),
                    told,
                })
            }
            Err(Failed::Own(e)) if e.kind == BackendErrorKind::Deadline => {
                tracing::debug!(pool = list.pool, after, error = %e, "a page of the mirrored images does not answer: each is asked by itself");
                Ok(Roles::silent(ids))
            }
            Err(Failed::Crowded(_)) => Ok(Roles::silent(ids)),
            Err(Failed::Own(e) | Failed::List(e)) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests;
