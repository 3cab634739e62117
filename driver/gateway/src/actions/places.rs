//! How many actions each project may have in flight, so that one project's script does not keep the sidecar from the others.
//!
//! An action is in flight until the sidecar has answered, whether its client waits for that or not. The project is the one that Keystone says a
//! token is for, and not the one in the path: that is what its sender writes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The projects that have actions in flight, and how many. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    most: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// One action's. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    project: String,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// For each project.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more of that project; `None` where it has as many as it may. A token that is for no project has those of the empty name.
    pub(crate) fn take(&self, project: Option<&str>) -> Option<Place> {
        let project = project.unwrap_or_default();
        let mut taken = self.taken();
        let count = taken.get(project).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        taken.insert(project.to_owned(), count + 1);
        Some(Place {
            places: self.clone(),
            project: project.to_owned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        let left = taken.get(&self.project).map_or(0, |n| n.saturating_sub(1));
        // Who has none in flight is not kept: the map is as large as what goes on.
        if left == 0 {
            taken.remove(&self.project);
        } else {
            taken.insert(self.project.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_project_has_its_own_and_they_come_back() {
        let places = Places::new(2);
        let one = places.take(Some("a")).unwrap();
        let two = places.take(Some("a")).unwrap();
        assert!(places.take(Some("a")).is_none());
        // Another project's are its own, and so are those of tokens for none.
        let other = places.take(Some("b")).unwrap();
        let none = places.take(None).unwrap();
        drop(one);
        let again = places.take(Some("a")).unwrap();
        assert!(places.take(Some("a")).is_none());
        drop((two, other, none, again));
        assert!(places.taken().is_empty());
    }
}
