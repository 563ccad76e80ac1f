//! RTSP requests as bytes (RFC 2326): what a client sends on its connection, between its RTCP reports.

use anyhow::{Context, Result, ensure};

/// A request's lines; a client that sends more is not one of ours.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A request's body. Clients have none worth reading.
const BODY_BYTES_MAX: usize = 4 << 10;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As it was written, which the digest covers.
    pub(crate) url: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Value of a header, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The URL's path without its first slash, and with its query.
    pub(crate) fn path(&self) -> &str {
        let after_scheme = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        after_scheme.split_once('/').map_or("", |(_, path)| path)
    }
}

/// Takes the next request from the front of `bytes`, and whatever interleaved packets precede it. `None`: more is needed.
///
/// # Errors
/// What came is no RTSP.
pub(crate) fn take(bytes: &mut Vec<u8>) -> Result<Option<Request>> {
    while bytes.first() == Some(&b'$') {
        let Some(length) = bytes.get(2..4) else { return Ok(None) };
        let end = 4 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        if bytes.len() < end {
            return Ok(None);
        }
        bytes.drain(..end);
    }
    let Some(head_bytes) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(bytes.len() <= HEAD_BYTES_MAX, "a request without an end");
        return Ok(None);
    };
    let request = parse(std::str::from_utf8(&bytes[..head_bytes]).context("a request that is not text")?)?;
    let body_bytes: usize = match request.header("content-length") {
        Some(length) => length.parse().context("a length that is no number")?,
        None => 0,
    };
    ensure!(body_bytes <= BODY_BYTES_MAX, "a body of {body_bytes} bytes");
    let end = head_bytes + 4 + body_bytes;
    if bytes.len() < end {
        return Ok(None);
    }
    bytes.drain(..end);
    Ok(Some(request))
}

fn parse(head: &str) -> Result<Request> {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let (method, url, version) = (words.next(), words.next(), words.next());
    ensure!(version == Some("RTSP/1.0"), "{first:?} is no request of RTSP 1.0");
    let header = |line: &str| {
        let (name, value) = line.split_once(':').with_context(|| format!("{line:?} is no header"))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    Ok(Request {
        method: method.context("a method")?.to_owned(),
        url: url.context("a URL")?.to_owned(),
        headers: lines.map(header).collect::<Result<_>>()?,
    })
}
