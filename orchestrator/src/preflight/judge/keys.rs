//! Encrypted volumes: whether the key of each has its counterpart, and whether that is there and opens anything.

use super::{Judge, Way};
use crate::preflight::{GapKind, keys::MOST};
use rekindle_openstack::{CloudError, Volume};
use std::collections::BTreeSet;

impl Judge<'_> {
    /// Of these volumes alone, wherever they serve.
    pub(in crate::preflight) fn keys_of(&mut self, volumes: &BTreeSet<String>) {
        for way in self.ways() {
            for volume in way.here.replicated().into_iter().flatten() {
                if volumes.contains(&volume.id) {
                    self.key(way, volume);
                }
            }
        }
    }

    pub(super) fn key(&mut self, way: Way<'_>, volume: &Volume) {
        if !volume.encrypted && volume.encryption_key_id.is_none() {
            return;
        }
        let about = format!("volume {} of {} is encrypted", volume.id, way.from);
        let Some(key) = &volume.encryption_key_id else {
            return self.unchecked(way.from, about, "Cinder does not show its key's id");
        };
        match self.mapping.key(way.from, key, way.to) {
            Err(e) => self.unmapped(GapKind::UnmappedKey, &e, &about),
            Ok(key) => {
                let key = key.to_owned();
                self.key_there(way, volume, &key, &about);
            }
        }
    }

    fn key_there(&mut self, way: Way<'_>, volume: &Volume, key: &str, about: &str) {
        // A cloud that does not let us in is named by who looked at it.
        let Some(rest) = way.there.rest() else {
            return;
        };
        let to = way.to;
        let (from, there) = (way.here.side(way.from), way.there.side(to));
        let Ok(project) = self.mapping.project(from, &volume.project_id, there) else {
            let why = "its project has no counterpart there that is known";
            return self.unchecked(to, format!("{about}: its key there, {key}"), why);
        };
        let what = format!(
            "{about}: its key there, {key} of project {}:{}",
            project.domain, project.name
        );
        match rest.keys.get(&(project.id.clone(), key.to_owned())) {
            None => self.unchecked(to, what, format!("more than {MOST} keys are not asked for")),
            Some(Ok(None)) => {}
            Some(Ok(Some(why))) => {
                let advice = "nothing can be opened with it: store the key there once more, and map to that one under [[keys]]";
                self.gap(
                    GapKind::MissingKey,
                    Some(to),
                    format!("{what}, {why}"),
                    advice,
                );
            }
            Some(Err(CloudError::NotFound { .. })) => {
                let advice = "copy the key into that project's keys there, and map to the copy's id under [[keys]]";
                self.gap(
                    GapKind::MissingKey,
                    Some(to),
                    format!("{what}, is not there"),
                    advice,
                );
            }
            Some(Err(e @ CloudError::Config { .. })) => {
                let advice = "nothing there has Barbican's API: let it run and enter it as `key-manager`. Where keys are kept without it (in Vault, say) look for them there, by hand";
                let what = format!(
                    "{about}: its key there, {key}, cannot be looked for: {}",
                    e.in_full()
                );
                self.gap(GapKind::KeyManager, Some(to), what, advice);
            }
            Some(Err(e @ (CloudError::Forbidden { .. } | CloudError::Unauthorized { .. }))) => {
                let advice = "give our user a role in that project that may read its keys (Barbican's `creator`, or what its policy asks for): servers are built under our token, and Nova reads the key with it";
                let what = format!("{what}, is not shown to us: {}", e.in_full());
                self.gap(GapKind::KeyManager, Some(to), what, advice);
            }
            Some(Err(
                e @ (CloudError::Unreachable { .. }
                | CloudError::Untrusted { .. }
                | CloudError::Broken { .. }
                | CloudError::TimedOut { .. }
                | CloudError::Unavailable { .. }
                | CloudError::Throttled { .. }
                | CloudError::Invalid { .. }
                | CloudError::Conflict { .. }
                | CloudError::OverQuota { .. }
                | CloudError::TooMany { .. }
                | CloudError::Unexpected { .. }),
            )) => self.unchecked(to, what, e.in_full()),
        }
    }
}
