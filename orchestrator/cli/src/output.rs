//! The only place that writes to standard output and standard error.
//!
//! A command's result goes to standard output: text for a person, or one JSON document. Everything on the way there
//! (progress, notes) and errors go to standard error, so that `rekindle … --output json | jq` always works.

use crate::error::CliError;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// A command's result. Its JSON form is its `Serialize`; this is its form for a person.
pub trait Document: Serialize {
    /// Writes it for a person, complete with line ends.
    fn text(&self, page: &mut Page);
}

/// Text under construction.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    bold: bool,
}

impl Page {
    /// An empty page; `bold` where the reader is a terminal.
    #[must_use]
    pub fn new(bold: bool) -> Self {
        Self {
            text: String::new(),
            bold,
        }
    }
    /// One line.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }
    /// A line that must not be overlooked: red and bold on a terminal.
    pub fn loud(&mut self, line: impl AsRef<str>) {
        if self.bold {
            self.line(format!("\u{1b}[1;31m{}\u{1b}[0m", line.as_ref()));
        } else {
            self.line(line);
        }
    }
    /// A heading.
    pub fn heading(&mut self, line: impl AsRef<str>) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        if self.bold {
            self.line(format!("\u{1b}[1m{}\u{1b}[0m", line.as_ref()));
        } else {
            self.line(line);
        }
    }
    /// Rows in columns, two blanks apart, each as wide as its widest cell. The first row is the heading.
    pub fn table(&mut self, indent: usize, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|c| {
                let cells = rows.iter().filter_map(|r| r.get(c));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for row in rows {
            let mut line = " ".repeat(indent);
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width - cell.chars().count() + 2));
            }
            self.line(line.trim_end());
        }
    }
    /// What was written.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Where a command's words go.
pub struct Output {
    format: Format,
    terminal: bool,
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// To this process's standard output and error.
    #[must_use]
    pub fn standard(format: Format) -> Self {
        Self {
            format,
            terminal: io::stdout().is_terminal() && io::stderr().is_terminal(),
            out: Mutex::new(Box::new(io::stdout())),
            err: Mutex::new(Box::new(io::stderr())),
        }
    }

    /// To two writers; never a terminal.
    #[must_use]
    pub fn captured(
        format: Format,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        Self {
            format,
            terminal: false,
            out: Mutex::new(Box::new(out)),
            err: Mutex::new(Box::new(err)),
        }
    }

    /// Text or JSON.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether a person watches: progress may be drawn.
    #[must_use]
    pub fn live(&self) -> bool {
        self.terminal && self.format == Format::Text
    }

    /// Writes a command's result.
    ///
    /// # Errors
    /// [`CliError::Output`]: standard output cannot be written. A reader that went away early (`| head`) is no error.
    pub fn document(&self, document: &impl Document) -> Result<(), CliError> {
        let text = match self.format {
            Format::Text => {
                let mut page = Page::new(self.terminal);
                document.text(&mut page);
                page.into_text()
            }
            Format::Json => {
                let mut text = serde_json::to_string_pretty(document).map_err(CliError::Json)?;
                text.push('\n');
                text
            }
        };
        self.raw(&text)
    }

    /// Writes text to standard output as it is: completions, generated files, the demo's last line.
    ///
    /// # Errors
    /// As [`Self::document`].
    pub fn raw(&self, text: &str) -> Result<(), CliError> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A note on the way, for a person only.
    pub fn note(&self, line: impl AsRef<str>) {
        if self.format == Format::Text {
            self.to_err(line.as_ref());
        }
    }

    /// An error: for a person with its causes and what to do, or as JSON.
    pub fn error(&self, error: &CliError) {
        match self.format {
            Format::Text => self.to_err(&error.for_a_person()),
            Format::Json => {
                let text = serde_json::json!({ "error": error.document() });
                self.to_err(&text.to_string());
            }
        }
    }

    fn to_err(&self, line: &str) {
        let mut err = self.err.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to be told when standard error is gone.
        let _ = writeln!(err, "{line}");
        let _ = err.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl Write for Buffer {
        fn write(&mut self, b: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(b);
            Ok(b.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Serialize)]
    struct Two {
        a: u32,
        b: &'static str,
    }
    impl Document for Two {
        fn text(&self, page: &mut Page) {
            page.table(
                2,
                &[
                    vec!["A".into(), "B".into()],
                    vec![self.a.to_string(), self.b.into()],
                ],
            );
        }
    }

    #[test]
    fn a_document_is_a_table_or_one_json_document() {
        let two = Two { a: 100, b: "x" };
        for (format, expected) in [
            (Format::Text, "  A    B\n  100  x\n"),
            (Format::Json, "{\n  \"a\": 100,\n  \"b\": \"x\"\n}\n"),
        ] {
            let out = Buffer::default();
            let output = Output::captured(format, out.clone(), io::sink());
            output.document(&two).unwrap();
            assert_eq!(out.text(), expected);
        }
    }

    #[test]
    fn notes_never_reach_a_json_reader_and_errors_are_json_for_it() {
        let err = Buffer::default();
        let output = Output::captured(Format::Json, io::sink(), err.clone());
        output.note("working");
        output.error(&CliError::usage("no such thing"));
        let value: serde_json::Value = serde_json::from_str(&err.text()).unwrap();
        assert_eq!(value["error"]["message"], "no such thing");
        assert_eq!(value["error"]["exit_code"], 2);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let output = Output::captured(Format::Text, Closed, io::sink());
        assert!(output.raw("text").is_ok());
    }
}
