//! Records as files.

use crate::error::CliError;
use rekindle_common::{
    GroupName, ServerKey,
    servers::{
        ServerRecord,
        diff::diff,
        record::MAX_RECORD,
        script::{self, Defaults},
    },
};
use serde::Serialize;
use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// The most bytes of a record's file: with its user data, and blanks.
const MAX_FILE: u64 = 8 * MAX_RECORD as u64;

/// A file's text.
///
/// # Errors
/// [`io::Error`]; also where it is longer than `most`.
pub(super) fn bytes(mut from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.by_ref().take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a record.
///
/// # Errors
/// [`CliError::Usage`], with the field at fault.
pub(super) fn read(file: &Path) -> Result<ServerRecord, CliError> {
    let at = file.display();
    let unreadable = |e: io::Error| CliError::usage(format!("{at} cannot be read")).caused_by(e);
    let text = bytes(File::open(file).map_err(unreadable)?, MAX_FILE).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(CliError::usage(format!(
            "{at} is no server's record: it is larger than {MAX_FILE} bytes"
        )));
    }
    let no_text = |_| CliError::usage(format!("{at} is no server's record: it is no UTF-8 text"));
    let text = String::from_utf8(text).map_err(no_text)?;
    ServerRecord::parse(&text).map_err(|e| {
        let advice = if is_script(&text) {
            "it has several servers: `rekindle record import --from script` makes a file of each"
        } else {
            "docs/schemas/server-record.json says what a record is"
        };
        CliError::usage(format!("{at} is no server's record"))
            .caused_by(e)
            .advise(advice)
    })
}

fn is_script(text: &str) -> bool {
    let defaults = Defaults {
        zone: None,
        taken_at: jiff::Timestamp::UNIX_EPOCH,
    };
    script::read(text, &defaults).is_ok_and(|servers| servers.len() > 1)
}

/// What came of a record's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stored {
    /// There was none.
    New,
    /// There was another record of the same server.
    Changed,
    /// The same record was there.
    Unchanged,
}

/// Where a record stands.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Place {
    /// In a file.
    File {
        /// Which.
        file: PathBuf,
    },
    /// In etcd, as a group's own.
    Group {
        /// Whose.
        group: GroupName,
        /// Which of its servers.
        server: ServerKey,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file } => write!(f, "{}", file.display()),
            Self::Group { group, server } => write!(f, "kept as {server} of group {group}"),
        }
    }
}

/// A record that was written, or need not be.
#[derive(Debug, Serialize)]
pub(super) struct StoredRecord {
    pub(super) name: String,
    pub(super) id: Option<String>,
    #[serde(flatten)]
    pub(super) at: Place,
    pub(super) stored: Stored,
    /// What changed, in words.
    pub(super) changes: Vec<String>,
}

/// Writes a record into its folder, over an older one of the same server and over nothing else.
///
/// # Errors
/// Why it was not written, in words.
pub(super) fn store(folder: &Path, record: &ServerRecord) -> Result<StoredRecord, String> {
    let file = folder.join(record.file_name());
    let at = file.display();
    let mut changes = Vec::new();
    let stored = match fs::symlink_metadata(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Stored::New,
        Err(e) => return Err(format!("{at} cannot be looked at: {e}")),
        Ok(_) => {
            let old = read(&file).map_err(|_| {
                format!(
                    "{at} is there and is no server's record; it was left as it is: move it away"
                )
            })?;
            if old.identity() != record.identity() {
                return Err(format!(
                    "{at} is another server's record; it was left as it is: move it away"
                ));
            }
            if old.taken_at > record.taken_at {
                return Err(format!(
                    "{at} is as of {}, later than this; it was left as it is: take it away, or say --taken-at",
                    old.taken_at
                ));
            }
            if old == *record {
                Stored::Unchanged
            } else {
                changes = diff(&old, record).iter().map(ToString::to_string).collect();
                Stored::Changed
            }
        }
    };
    match stored {
        Stored::Unchanged => {}
        Stored::New | Stored::Changed => write(folder, &file, &record.to_json())
            .map_err(|e| format!("{at} cannot be written: {e}"))?,
    }
    Ok(StoredRecord {
        name: record.name.clone(),
        id: record.id.clone(),
        at: Place::File { file },
        stored,
        changes,
    })
}

/// Whole or not at all, and for nobody else to read: a record may hold user data.
fn write(folder: &Path, file: &Path, text: &str) -> io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|e| e.error)?;
    File::open(folder)?.sync_all()
}
