//! Figures: flat keys for programs, a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

struct Row {
    key: String,
    value: f64,
    goal: Option<Goal>,
    /// A peer or a limit that was measured in the same run.
    beside: Option<(&'static str, f64)>,
}

/// Everything that was measured, in its order.
#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// A figure that explains others.
    pub(crate) fn add(&mut self, key: impl Into<String>, value: f64) {
        self.0.push(Row { key: key.into(), value, goal: None, beside: None });
    }

    /// A figure with a goal of its own.
    pub(crate) fn judge(&mut self, key: impl Into<String>, value: f64, goal: Goal) {
        self.0.push(Row { key: key.into(), value, goal: Some(goal), beside: None });
    }

    /// A figure beside a peer or a limit of the same run.
    pub(crate) fn compare(
        &mut self,
        key: impl Into<String>,
        value: f64,
        goal: Option<Goal>,
        peer: &'static str,
        peer_value: f64,
    ) {
        self.0.push(Row { key: key.into(), value, goal, beside: Some((peer, peer_value)) });
    }

    /// Writes the flat keys.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let figures: BTreeMap<&str, f64> = self.0.iter().map(|row| (row.key.as_str(), rounded(row.value))).collect();
        std::fs::write(path, serde_json::to_string_pretty(&figures)? + "\n")?;
        Ok(())
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{:<34} {:>12} {:>14} {:>6}  {}\n", "figure", "value", "goal", "", "ratio in this run");
        for row in &self.0 {
            let goal = match row.goal {
                Some(Goal::AtMost(bound)) => format!("≤ {}", number(bound)),
                Some(Goal::AtLeast(bound)) => format!("≥ {}", number(bound)),
                None => String::new(),
            };
            let verdict = row.goal.map_or("", |goal| if goal.is_met(row.value) { "hit" } else { "MISS" });
            let ratio = row.beside.map_or(String::new(), |(peer, value)| {
                format!("{:.2} × {peer} ({})", row.value / value, number(value))
            });
            // A String takes everything.
            let _ = writeln!(text, "{:<34} {:>12} {goal:>14} {verdict:>6}  {ratio}", row.key, number(row.value));
        }
        text
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Durations, and the middle and the end of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration.as_secs_f64() * 1000.0);
    }

    /// Milliseconds that this share of the samples stays within (nearest rank); 0 without samples.
    pub(crate) fn ms(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}
