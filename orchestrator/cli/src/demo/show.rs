//! How the story is shown: on a terminal a spinner and a line for each zone that change in place, elsewhere plain lines.

use crate::output::Output;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The stage that the story is told on.
#[derive(Debug)]
pub struct Stage<'a> {
    output: &'a Output,
    begun: Instant,
    live: Option<Live>,
    /// What each changing line says.
    lines: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug)]
struct Live {
    all: MultiProgress,
    now: ProgressBar,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl<'a> Stage<'a> {
    /// An empty stage; the clock starts.
    #[must_use]
    pub fn new(output: &'a Output) -> Self {
        let live = output.live().then(|| {
            let all = MultiProgress::new();
            let now = all.add(ProgressBar::new_spinner());
            now.set_style(style("{spinner} [{elapsed}] {msg}"));
            now.enable_steady_tick(Duration::from_millis(120));
            Live {
                all,
                now,
                bars: Mutex::default(),
            }
        });
        Self {
            output,
            begun: Instant::now(),
            live,
            lines: Mutex::default(),
        }
    }

    /// Time since the story began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A new chapter.
    pub fn phase(&self, title: &str) {
        self.print(&format!(
            "\n[{:6.1} s] == {title}",
            self.elapsed().as_secs_f64()
        ));
        if let Some(live) = &self.live {
            live.now.reset_elapsed();
            live.now.set_message(title.to_owned());
        }
    }

    /// A line that stays.
    pub fn say(&self, line: impl AsRef<str>) {
        self.print(&format!(
            "[{:6.1} s]    {}",
            self.elapsed().as_secs_f64(),
            line.as_ref()
        ));
    }

    /// What is being waited for, beside the spinner; nothing off a terminal.
    pub fn doing(&self, what: &str) {
        if let Some(live) = &self.live {
            live.now.set_message(what.to_owned());
        }
    }

    /// A line that changes in place, under a name; off a terminal it is printed when it has changed. A number that only counts
    /// down is no change there.
    pub fn set(&self, name: &str, text: &str) {
        let gist = match self.live {
            Some(_) => text.to_owned(),
            None => without_numbers(text),
        };
        let old = self
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), gist.clone());
        if old.as_ref() == Some(&gist) {
            return;
        }
        match &self.live {
            None => self.say(format!("{name}: {text}")),
            Some(live) => {
                let mut bars = live.bars.lock().unwrap_or_else(PoisonError::into_inner);
                let bar = bars.entry(name.to_owned()).or_insert_with(|| {
                    let bar = live.all.add(ProgressBar::new_spinner());
                    bar.set_style(style("            {msg}"));
                    bar
                });
                bar.set_message(format!("{name}: {text}"));
                bar.tick();
            }
        }
    }

    /// Takes a changing line away.
    pub fn clear(&self, name: &str) {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        if let Some(live) = &self.live {
            let bar = live
                .bars
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(name);
            if let Some(bar) = bar {
                bar.finish_and_clear();
                live.all.remove(&bar);
            }
        }
    }

    fn print(&self, line: &str) {
        match &self.live {
            // A line that cannot be drawn is a line that nobody sees.
            Some(live) => drop(live.all.println(line)),
            None => self.output.note(line),
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            live.now.finish_and_clear();
            // Draw errors at the very end have nobody to tell.
            let _ = live.all.clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A text without the words that begin with a digit, unless it begins with one: a count at the beginning is news.
fn without_numbers(text: &str) -> String {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.to_owned();
    }
    let words = text
        .split(' ')
        .filter(|w| !w.starts_with(|c: char| c.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}
