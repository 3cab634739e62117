//! Log set-up, once for each program.

use tracing_subscriber::{EnvFilter, fmt};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For a terminal or the journal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A program's `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// What is logged, where `REKINDLE_LOG` does not say.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Starts logging to standard error. The filter comes from `REKINDLE_LOG`, else `default`.
///
/// A second call does nothing: tests may start several programs in one process.
pub fn init(format: LogFormat, default: &str) {
    let filter =
        EnvFilter::try_from_env("REKINDLE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let base = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An already set subscriber is fine: the first one stays.
    let _ = match format {
        LogFormat::Text => base.try_init(),
        LogFormat::Json => base.json().try_init(),
    };
}
