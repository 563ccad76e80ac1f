//! The change log as a page follows it: server-sent events (HTML Living Standard, §9.2).

use anyhow::{Context, Result, bail};
use reqwest::Response;
use serde_json::Value;

use crate::wait;

/// One event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the log.
    pub sequence: i64,
    /// `alarm`, `site`, `device`, `fault`, `beat` or `reset`.
    pub kind: String,
    /// What it says.
    pub data: Value,
}

/// An open stream.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    unread: Vec<u8>,
}

impl EventStream {
    pub(crate) fn new(response: Response) -> Self {
        Self { response, unread: Vec::new() }
    }

    /// The next event of any kind.
    ///
    /// # Errors
    /// The stream ended, said something that is not an event, or nothing within the usual patience.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                match parse(std::str::from_utf8(&block)?)? {
                    Some(event) => return Ok(event),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(wait::PATIENCE, self.response.chunk()).await;
            match chunk.context("the change log is silent")?? {
                Some(bytes) => self.unread.extend_from_slice(&bytes),
                None => bail!("the change log ended"),
            }
        }
    }

    /// The next event that is not merely a beat.
    ///
    /// # Errors
    /// As [`EventStream::next`].
    pub async fn next_change(&mut self) -> Result<Event> {
        self.next_that(|event| event.kind != "beat").await
    }

    /// Reads on to the next event of which `wanted` holds.
    ///
    /// # Errors
    /// As [`EventStream::next`].
    pub async fn next_that(&mut self, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        let deadline = crate::clock::now() + wait::PATIENCE;
        while crate::clock::now() < deadline {
            let event = self.next().await?;
            if wanted(&event) {
                return Ok(event);
            }
        }
        bail!("the change log does not bring what was awaited")
    }
}

/// One block between blank lines; `None` for a comment.
fn parse(block: &str) -> Result<Option<Event>> {
    let field = |name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|value| value.trim_start())
    };
    let Some(data) = field("data") else {
        return Ok(None);
    };
    let sequence = field("id").with_context(|| format!("an event without an id: {block:?}"))?.parse()?;
    let kind = field("event").unwrap_or("message").to_owned();
    Ok(Some(Event { sequence, kind, data: serde_json::from_str(data)? }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_and_comments_passed_over() {
        let event = parse("event: alarm\nid: 7\ndata: {\"id\":\"a\"}\n\n").unwrap();
        assert_eq!(event, Some(Event { sequence: 7, kind: "alarm".to_owned(), data: json!({ "id": "a" }) }));
        assert_eq!(parse(": nothing\n\n").unwrap(), None);
        assert!(parse("data: {}\n\n").is_err(), "an event without an id cannot be resumed from");
    }
}
