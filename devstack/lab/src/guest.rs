//! What a test guest says of itself: on its console, on its page, on its disk. The forms stand at the top of `devstack/guest/init`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Where the first record stands on a guest's disk.
const FIRST: u64 = 64 << 20;
/// Bytes of a record.
const SECTOR: usize = 512;
/// So many records are read at once.
const AT_ONCE: usize = 2048;
/// For the answer of a guest that took the connection.
const ANSWER: Duration = Duration::from_secs(2);
/// A page is one line.
const PAGE: u64 = 4096;

/// A record that a guest wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestRecord {
    /// Its number on its disk, from 0 on.
    pub number: u64,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// By which start of which guest.
    pub boot: String,
}

impl GuestRecord {
    /// `N SECONDS.MICROSECONDS BOOT`
    fn of(words: &[&str]) -> Option<Self> {
        let [number, at, boot, ..] = *words else {
            return None;
        };
        let (seconds, micros) = at.split_once('.')?;
        let seconds: i64 = seconds.parse().ok()?;
        let micros: i64 = micros
            .parse()
            .ok()
            .filter(|us| (0..1_000_000).contains(us) && micros.len() == 6)?;
        Some(Self {
            number: number.parse().ok()?,
            at_us: seconds.checked_mul(1_000_000)?.checked_add(micros)?,
            boot: boot.to_owned(),
        })
    }

    /// The one on a page, or on a line of a disk without its checksum.
    #[must_use]
    pub fn on_page(text: &str) -> Option<Self> {
        let (_, record) = text.split_once("RKG1 ")?;
        let line = record.lines().next()?;
        Self::of(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// The one in a sector of a disk; none where nothing was ever written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn on_disk(sector: &[u8]) -> Result<Option<Self>, String> {
        if sector.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let text = std::str::from_utf8(sector).map_err(|_| "it is no text".to_owned())?;
        let (record, crc) = text
            .trim_end()
            .rsplit_once(' ')
            .ok_or_else(|| "it has no checksum".to_owned())?;
        let sum = format!("{:08x}", crc32(record.as_bytes()));
        if sum != crc {
            return Err(format!("its checksum is {crc} and should be {sum}"));
        }
        Self::on_page(record)
            .map(Some)
            .ok_or_else(|| format!("it is no record: {record:?}"))
    }

    /// Asks a guest for its last record.
    ///
    /// # Errors
    /// It does not answer, or says that it has none: its disk refuses records, say.
    pub fn ask(mut guest: TcpStream) -> io::Result<Self> {
        guest.set_read_timeout(Some(ANSWER))?;
        guest.set_write_timeout(Some(ANSWER))?;
        guest.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        guest.take(PAGE).read_to_string(&mut text)?;
        Self::on_page(&text).ok_or_else(|| {
            let line = text.lines().next().unwrap_or("nothing");
            io::Error::new(io::ErrorKind::InvalidData, format!("it says {line:?}"))
        })
    }
}

/// What a guest's newest start has said on its console.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct GuestConsole {
    /// The number of the last record that it found.
    pub last: Option<u64>,
    /// When that was written.
    pub last_at_us: Option<i64>,
    /// The number of its first.
    pub ready: Option<u64>,
    /// How far it was lately.
    pub at: Option<u64>,
    /// The number of its last: it was asked to end, and did.
    pub stopped: Option<u64>,
    /// The record that its disk refuses.
    pub refused: Option<u64>,
}

impl GuestConsole {
    /// By the whole of the console's text.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut console = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = words.get(1).and_then(|word| word.parse().ok());
            match words.first().copied().unwrap_or_default() {
                // The boot loader's control characters may stand before the first line.
                word if word.ends_with("LAST") => {
                    let record = GuestRecord::of(&words[1..]);
                    console = Self {
                        last: number,
                        last_at_us: record.map(|r| r.at_us),
                        ..Self::default()
                    };
                }
                "READY" => console.ready = number,
                "AT" => console.at = number,
                "STOPPED" => console.stopped = number,
                "WRITE" => {
                    let number = words.get(2).and_then(|word| word.parse().ok());
                    console.refused = number.filter(|_| words.get(1) == Some(&"FAILED"));
                }
                _ => {}
            }
        }
        console
    }
}

/// All that guests wrote to a disk.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct GuestDisk {
    /// Its records from number 0 on, up to the first that is not there.
    pub records: Vec<GuestRecord>,
    /// What is wrong, in words; empty: every record is whole, and none is missing before another.
    pub faults: Vec<String>,
}

impl GuestDisk {
    /// Reads a disk of that many bytes; `read` fills a buffer from an offset on.
    ///
    /// # Errors
    /// That of `read`.
    pub fn read<E>(
        size: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut disk = Self::default();
        let mut buffer = vec![0; SECTOR * AT_ONCE];
        let mut ended = false;
        let mut at = FIRST;
        while at + buffer.len() as u64 <= size {
            read(at, &mut buffer)?;
            let mut blank = true;
            for sector in buffer.chunks_exact(SECTOR) {
                let number = (at - FIRST) / SECTOR as u64;
                at += SECTOR as u64;
                let found = GuestRecord::on_disk(sector);
                blank &= found == Ok(None);
                disk.take(number, found, &mut ended);
            }
            // A guest writes one after the other: nothing follows a blank stretch of that length.
            if blank {
                break;
            }
        }
        Ok(disk)
    }

    fn take(&mut self, number: u64, found: Result<Option<GuestRecord>, String>, ended: &mut bool) {
        match found {
            Ok(None) => *ended = true,
            Ok(Some(_)) if *ended => self
                .faults
                .push(format!("record {number} follows one that is missing")),
            Ok(Some(record)) if record.number != number => {
                self.faults.push(format!(
                    "record {} stands in the place of {number}",
                    record.number
                ));
            }
            Ok(Some(record)) => self.records.push(record),
            Err(why) => self.faults.push(format!("record {number}: {why}")),
        }
    }
}

/// CRC-32 (IEEE).
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = 0_u32.wrapping_sub(crc & 1);
            crc = (crc >> 1) ^ (0xEDB8_8320 & low);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const BOOT: &str = "5f3e7a10-0000-4000-8000-000000000000";

    fn sector(number: u64) -> Vec<u8> {
        let text = format!("RKG1 {number} 1795648069.308150 {BOOT}");
        let crc = crc32(text.as_bytes());
        format!("{:<511}\n", format!("{text} {crc:08x}")).into_bytes()
    }

    fn disk(sectors: &[(u64, Vec<u8>)]) -> GuestDisk {
        let mut bytes = vec![0; SECTOR * AT_ONCE * 2];
        for (place, sector) in sectors {
            let at = usize::try_from(*place).unwrap() * SECTOR;
            bytes[at..at + SECTOR].copy_from_slice(sector);
        }
        let size = FIRST + bytes.len() as u64;
        let read = |at: u64, buffer: &mut [u8]| {
            let from = usize::try_from(at - FIRST).unwrap();
            buffer.copy_from_slice(&bytes[from..from + buffer.len()]);
            Ok::<_, Infallible>(())
        };
        GuestDisk::read(size, read).unwrap()
    }

    #[test]
    fn a_console_tells_of_its_newest_start_alone() {
        let text = "\u{1b}[?7l\u{1b}[2JLAST none\nREADY 0\nAT 10\nSTOPPED 12\n\
                    rubbish\nLAST 12 1795648069.308150 d1cc\nREADY 13\n";
        let console = GuestConsole::read(text);
        assert_eq!((console.last, console.ready), (Some(12), Some(13)));
        assert_eq!(console.last_at_us, Some(1_795_648_069_308_150));
        assert_eq!((console.at, console.stopped), (None, None));
        let new = GuestConsole::read("LAST none\nREADY 0\n");
        assert_eq!((new.last, new.ready), (None, Some(0)));
        let refused = GuestConsole::read("LAST none\nWRITE FAILED 0\n");
        assert_eq!(refused.refused, Some(0));
        let taken = GuestConsole::read("LAST none\nWRITE FAILED 0\nWRITE OK 0\n");
        assert_eq!(taken.refused, None);
    }

    #[test]
    fn a_page_has_one_record_or_none() {
        let page = format!("HTTP/1.0 200 OK\r\n\r\nRKG1 7 1795648069.000150 {BOOT}\n");
        let record = GuestRecord::on_page(&page).unwrap();
        assert_eq!((record.number, record.boot.as_str()), (7, BOOT));
        assert_eq!(record.at_us, 1_795_648_069_000_150);
        for none in [
            "",
            "HTTP/1.0 404 Not Found\r\n\r\n",
            "RKG1 7 1795648069.15 b",
        ] {
            assert_eq!(GuestRecord::on_page(none), None, "{none}");
        }
    }

    #[test]
    fn a_disk_is_whole_or_its_faults_are_named() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let whole = disk(&[(0, sector(0)), (1, sector(1)), (2, sector(2))]);
        assert_eq!((whole.records.len(), whole.faults.len()), (3, 0));
        assert_eq!(disk(&[]), GuestDisk::default());

        let gap = disk(&[(0, sector(0)), (2, sector(2))]);
        assert_eq!(gap.records.len(), 1);
        assert!(gap.faults[0].contains("record 2 follows"), "{gap:?}");
        let mut torn = sector(1);
        torn[5] = b'8';
        let torn = disk(&[(0, sector(0)), (1, torn)]);
        assert!(
            torn.faults[0].contains("record 1: its checksum"),
            "{torn:?}"
        );
        let moved = disk(&[(0, sector(4))]);
        assert!(
            moved.faults[0].contains("stands in the place of 0"),
            "{moved:?}"
        );
    }
}
