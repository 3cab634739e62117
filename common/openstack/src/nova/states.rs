//! Nova's own words for where a server is. A word that we do not know is kept as it came: unknown is a value.
//!
//! ```text
//!   status       what users see: made of vm_state and task_state        SHUTOFF
//!   vm_state     where it is at rest                                    stopped
//!   task_state   what is being done to it, if anything                  powering-on
//!   power_state  what the hypervisor last said                          4
//! ```

use serde::{Deserialize, Deserializer};
use std::fmt;

/// An enum of words, each with its text, and room for any other.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$why:meta])* $word:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$why])* $word,)+
            /// One that we do not know.
            Other(String),
        }

        impl $name {
            /// All that we know.
            pub const KNOWN: &'static [Self] = &[$(Self::$word,)+];

            /// As Nova writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$word => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$word,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d).map(|text| Self::from(text.as_str()))
            }
        }
    };
}

words! {
    /// What users see.
    Status {
        /// It runs, or should.
        Active = "ACTIVE",
        /// It is being made.
        Build = "BUILD",
        /// It is gone; only administrators who ask for them see these.
        Deleted = "DELETED",
        /// Something failed: see its fault.
        Error = "ERROR",
        /// It is being started anew by force.
        HardReboot = "HARD_REBOOT",
        /// It is being moved to another host.
        Migrating = "MIGRATING",
        /// Its password is being set.
        Password = "PASSWORD",
        /// It is held in memory.
        Paused = "PAUSED",
        /// It is being started anew.
        Reboot = "REBOOT",
        /// It is being made anew.
        Rebuild = "REBUILD",
        /// It runs from another disk, with its own beside.
        Rescue = "RESCUE",
        /// It is being given another flavor.
        Resize = "RESIZE",
        /// It is being given its old flavor back.
        RevertResize = "REVERT_RESIZE",
        /// It is off, and still has its place on a host.
        Shelved = "SHELVED",
        /// It is off and on no host.
        ShelvedOffloaded = "SHELVED_OFFLOADED",
        /// It is off.
        Shutoff = "SHUTOFF",
        /// It is deleted and may still be restored.
        SoftDeleted = "SOFT_DELETED",
        /// Its memory is on disk.
        Suspended = "SUSPENDED",
        /// Nova does not know: its cell does not answer.
        Unknown = "UNKNOWN",
        /// It has another flavor, and waits for a confirmation.
        VerifyResize = "VERIFY_RESIZE",
    }
}

words! {
    /// Where it is at rest.
    VmState {
        /// It runs, or should.
        Active = "active",
        /// It is being made.
        Building = "building",
        /// It is held in memory.
        Paused = "paused",
        /// Its memory is on disk.
        Suspended = "suspended",
        /// It is off.
        Stopped = "stopped",
        /// It runs from another disk.
        Rescued = "rescued",
        /// It has another flavor, and waits for a confirmation.
        Resized = "resized",
        /// It is deleted and may still be restored.
        SoftDeleted = "soft-delete",
        /// It is gone.
        Deleted = "deleted",
        /// Something failed.
        Error = "error",
        /// It is off, and still has its place on a host.
        Shelved = "shelved",
        /// It is off and on no host.
        ShelvedOffloaded = "shelved_offloaded",
    }
}

words! {
    /// What is being done to it.
    TaskState {
        /// A host is looked for.
        Scheduling = "scheduling",
        /// Its volumes are being attached.
        BlockDeviceMapping = "block_device_mapping",
        /// Its ports are being bound.
        Networking = "networking",
        /// The hypervisor is at it.
        Spawning = "spawning",
        /// An image is made of it.
        ImageSnapshot = "image_snapshot",
        /// The same, not begun.
        ImageSnapshotPending = "image_snapshot_pending",
        /// The same, before it is sent.
        ImagePendingUpload = "image_pending_upload",
        /// The same, being sent.
        ImageUploading = "image_uploading",
        /// A backup is made of it.
        ImageBackup = "image_backup",
        /// Its password is being set.
        UpdatingPassword = "updating_password",
        /// Another flavor is being prepared.
        ResizePrep = "resize_prep",
        /// It is being moved for it.
        ResizeMigrating = "resize_migrating",
        /// It was moved for it.
        ResizeMigrated = "resize_migrated",
        /// It is started with it.
        ResizeFinish = "resize_finish",
        /// The old flavor is given back.
        ResizeReverting = "resize_reverting",
        /// The new flavor is confirmed.
        ResizeConfirming = "resize_confirming",
        /// It is asked to start anew.
        Rebooting = "rebooting",
        /// The same, not begun.
        RebootPending = "reboot_pending",
        /// The same, begun.
        RebootStarted = "reboot_started",
        /// It is started anew by force.
        RebootingHard = "rebooting_hard",
        /// The same, not begun.
        RebootPendingHard = "reboot_pending_hard",
        /// The same, begun.
        RebootStartedHard = "reboot_started_hard",
        /// It is being held in memory.
        Pausing = "pausing",
        /// It is let go on.
        Unpausing = "unpausing",
        /// Its memory is being written to disk.
        Suspending = "suspending",
        /// Its memory is being read from disk.
        Resuming = "resuming",
        /// It is being stopped.
        PoweringOff = "powering-off",
        /// It is being started.
        PoweringOn = "powering-on",
        /// It is started from another disk.
        Rescuing = "rescuing",
        /// It is started from its own disk again.
        Unrescuing = "unrescuing",
        /// It is being made anew.
        Rebuilding = "rebuilding",
        /// The same: its volumes.
        RebuildBlockDeviceMapping = "rebuild_block_device_mapping",
        /// The same: the hypervisor.
        RebuildSpawning = "rebuild_spawning",
        /// It is being moved.
        Migrating = "migrating",
        /// It is being deleted.
        Deleting = "deleting",
        /// The same, so that it may be restored.
        SoftDeleting = "soft-deleting",
        /// It is being restored.
        Restoring = "restoring",
        /// It is being shelved.
        Shelving = "shelving",
        /// The same, before its image is sent.
        ShelvingImagePendingUpload = "shelving_image_pending_upload",
        /// The same, its image being sent.
        ShelvingImageUploading = "shelving_image_uploading",
        /// Its host is being freed.
        ShelvingOffloading = "shelving_offloading",
        /// It is given a host again.
        Unshelving = "unshelving",
    }
}

/// What the hypervisor last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PowerState {
    /// Nothing yet.
    NoState,
    /// It runs.
    Running,
    /// It is held.
    Paused,
    /// It is off.
    Shutdown,
    /// It fell over.
    Crashed,
    /// Its memory is on disk.
    Suspended,
    /// One that we do not know.
    Other(i64),
}

impl From<i64> for PowerState {
    fn from(n: i64) -> Self {
        match n {
            0 => Self::NoState,
            1 => Self::Running,
            3 => Self::Paused,
            4 => Self::Shutdown,
            6 => Self::Crashed,
            7 => Self::Suspended,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoState => f.write_str("no power state"),
            Self::Running => f.write_str("running"),
            Self::Paused => f.write_str("paused"),
            Self::Shutdown => f.write_str("powered off"),
            Self::Crashed => f.write_str("crashed"),
            Self::Suspended => f.write_str("suspended"),
            Self::Other(n) => write!(f, "power state {n}"),
        }
    }
}

impl<'de> Deserialize<'de> for PowerState {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        i64::deserialize(d).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_known_word_is_read_as_itself() {
        fn all<T: for<'a> From<&'a str> + PartialEq + fmt::Debug>(
            known: &[T],
            text: impl Fn(&T) -> &str,
        ) {
            let mut texts: Vec<&str> = known.iter().map(&text).collect();
            for word in known {
                assert_eq!(&T::from(text(word)), word);
            }
            texts.sort_unstable();
            texts.dedup();
            assert_eq!(texts.len(), known.len());
        }
        all(Status::KNOWN, Status::as_str);
        all(VmState::KNOWN, VmState::as_str);
        all(TaskState::KNOWN, TaskState::as_str);
        assert_eq!(
            (
                Status::KNOWN.len(),
                VmState::KNOWN.len(),
                TaskState::KNOWN.len()
            ),
            (20, 12, 42)
        );
    }

    proptest! {
        #[test]
        fn any_word_is_kept(text in "\\PC{0,40}", n in any::<i64>()) {
            let json = serde_json::Value::from(text.clone());
            prop_assert_eq!(Status::deserialize(&json).unwrap().to_string(), text.clone());
            prop_assert_eq!(VmState::deserialize(&json).unwrap().to_string(), text.clone());
            prop_assert_eq!(TaskState::deserialize(&json).unwrap().to_string(), text);
            let power = PowerState::deserialize(&serde_json::Value::from(n)).unwrap();
            prop_assert!(!power.to_string().is_empty());
        }
    }
}
