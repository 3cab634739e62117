//! A server's user data: opaque, and shown to nobody.

use serde::{Serialize, Serializer};
use std::fmt;

/// The most characters of base64: Nova's schema refuses more.
pub const MAX_USER_DATA: usize = 65_535;

/// What a server's first boot is told, in base64. It may hold passwords: `Debug` prints its length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData(String);

impl UserData {
    /// Checks and takes base64.
    ///
    /// # Errors
    /// The rule that it breaks, in words. Never what it holds.
    pub fn new(base64: impl Into<String>) -> Result<Self, &'static str> {
        let base64 = base64.into();
        if base64.len() > MAX_USER_DATA {
            return Err("is longer than 65535 characters of base64, Nova's bound");
        }
        let padding = base64.len() - base64.trim_end_matches('=').len();
        let body = base64.len() - padding;
        let good = base64.len().is_multiple_of(4)
            && padding <= 2
            && base64
                .bytes()
                .take(body)
                .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        if good {
            Ok(Self(base64))
        } else {
            Err("is no base64 on one line: `base64 -w0 FILE` writes it")
        }
    }

    /// The base64, for Nova alone.
    #[must_use]
    pub fn base64(&self) -> &str {
        &self.0
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let padding = self.0.len() - self.0.trim_end_matches('=').len();
        self.0.len() / 4 * 3 - padding
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserData({} bytes)", self.bytes())
    }
}

impl Serialize for UserData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
