//! What the application was told: one line for each acknowledged record, kept outside the zones.
//!
//! A record in the ledger was acknowledged by its zone, and whoever wrote it counts on it. It is the yardstick for what a
//! failover lost and that a planned move lost nothing. One file for each volume; a line is written whole, so a writer that is
//! killed leaves whole lines.

use super::record::Record;
use rekindle_common::ImageSpec;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The folder of ledgers.
#[derive(Debug, Clone)]
pub struct Ledger {
    dir: PathBuf,
}

/// A line of an acknowledgement: `generation seq time_us acked_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// What was written.
    pub record: Record,
    /// When it was acknowledged, microseconds since the epoch.
    pub acked_us: i64,
}

impl Ledger {
    /// In that folder, which is made where need be.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn at(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }
    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    fn path(&self, volume: &ImageSpec) -> PathBuf {
        self.dir
            .join(format!("{}.{}.acks", volume.pool(), volume.image()))
    }

    /// Opens a volume's ledger to go on in it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn writer(&self, volume: &ImageSpec) -> io::Result<LedgerWriter> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(self.path(volume))?;
        Ok(LedgerWriter { file })
    }

    /// All acknowledgements of a volume, in order. A volume that nobody wrote to has none.
    ///
    /// # Errors
    /// It cannot be read, or holds a line that is none of ours.
    pub fn read(&self, volume: &ImageSpec) -> io::Result<Vec<Ack>> {
        let text = match fs::read_to_string(self.path(volume)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        // What follows the last line end was being written just now.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(parse).collect()
    }
}

fn parse(line: &str) -> io::Result<Ack> {
    let bad = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{line:?} is no acknowledgement"),
        )
    };
    let words: Vec<&str> = line.split(' ').collect();
    let [generation, seq, at_us, acked_us] = words[..] else {
        return Err(bad());
    };
    Ok(Ack {
        record: Record {
            seq: seq.parse().map_err(|_| bad())?,
            generation: generation.parse().map_err(|_| bad())?,
            at_us: at_us.parse().map_err(|_| bad())?,
        },
        acked_us: acked_us.parse().map_err(|_| bad())?,
    })
}

/// A volume's ledger, open.
#[derive(Debug)]
pub struct LedgerWriter {
    file: File,
}

impl LedgerWriter {
    /// Adds one line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, ack: &Ack) -> io::Result<()> {
        let r = &ack.record;
        let line = format!("{} {} {} {}\n", r.generation, r.seq, r.at_us, ack.acked_us);
        self.file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_reads_back_without_a_half_line() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(dir.path().join("l")).unwrap();
        let v = ImageSpec::new("volumes", "v").unwrap();
        assert_eq!(ledger.read(&v).unwrap(), []);
        let acks: Vec<Ack> = (0..3)
            .map(|seq| Ack {
                record: Record {
                    seq,
                    generation: 2,
                    at_us: 5,
                },
                acked_us: 7,
            })
            .collect();
        let mut w = ledger.writer(&v).unwrap();
        for a in &acks {
            w.add(a).unwrap();
        }
        w.file.write_all(b"2 3 5").unwrap();
        assert_eq!(ledger.read(&v).unwrap(), acks);
        w.file.write_all(b" x y\n").unwrap();
        assert!(ledger.read(&v).is_err());
    }
}
