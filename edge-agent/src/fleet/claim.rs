//! A claim: the one-time right to enrol one gateway for one site.

use crate::config::{HubConfig, parse_fingerprint, parse_https_url};

/// Characters of a claim's code: hubs leave out those that people confuse, but we do not need to know which.
const CODE_CHARACTERS: usize = 8;

/// What the hub shows a technician as QR code and as text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// The hub's HTTPS address, without a path.
    pub url: String,
    /// The one-time code, in capitals.
    pub code: String,
    /// SHA-256 of the hub's CA certificate (DER), as 64 lower-case hexadecimal digits.
    pub ca_fingerprint: String,
}

/// Why a claim cannot be used. The text says what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClaimError {
    /// Neither a claim's text nor a code.
    #[error("{0:?} is neither a claim (tongluo:claim?url=…&code=…&ca=…) nor a code of eight letters and digits")]
    Unreadable(String),
    /// A part of the claim's text is absent or given twice.
    #[error("the claim lacks exactly one {0:?}: copy its whole text, or scan it again")]
    Missing(&'static str),
    /// A part of the claim's text has the wrong form.
    #[error("the claim's {part} {value:?} is not {allowed}")]
    Malformed {
        /// `url`, `code` or `ca`.
        part: &'static str,
        /// What was given.
        value: String,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A bare code, but the configuration does not say which hub it is for.
    #[error("a bare code needs {0} in the configuration; without it, use the whole claim (tongluo:claim?…)")]
    NeedsConfiguration(&'static str),
}

impl Claim {
    /// Reads a claim's text, or a bare code together with the hub that the configuration names.
    ///
    /// # Errors
    /// When the text is neither, or names no usable hub.
    pub fn parse(text: &str, hub: &HubConfig) -> Result<Self, ClaimError> {
        let text = text.trim();
        if let Some(query) = text.strip_prefix("tongluo:claim?") {
            return Self::from_query(query);
        }
        let Some(code) = parse_code(text) else {
            return Err(ClaimError::Unreadable(text.to_owned()));
        };
        let url = hub.url.clone();
        let ca_fingerprint = hub.ca_fingerprint.clone();
        Ok(Self {
            url: url.ok_or(ClaimError::NeedsConfiguration("hub.url"))?,
            code,
            ca_fingerprint: ca_fingerprint.ok_or(ClaimError::NeedsConfiguration("hub.ca_fingerprint"))?,
        })
    }

    fn from_query(query: &str) -> Result<Self, ClaimError> {
        let part = |name: &'static str| {
            let mut values = query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| percent_decode(value));
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(ClaimError::Missing(name)),
            }
        };
        let (url, code, ca) = (part("url")?, part("code")?, part("ca")?);
        let malformed = |part, value: &str, allowed| ClaimError::Malformed { part, value: value.to_owned(), allowed };
        Ok(Self {
            url: parse_https_url(&url)
                .ok_or_else(|| malformed("url", &url, "an address like https://hub.example:8443"))?,
            code: parse_code(&code).ok_or_else(|| malformed("code", &code, "eight letters and digits"))?,
            ca_fingerprint: parse_fingerprint(&ca)
                .ok_or_else(|| malformed("ca", &ca, "a SHA-256 as 64 hexadecimal digits"))?,
        })
    }
}

/// Eight letters or digits; a hyphen or space in the middle, as people write it, is let pass.
fn parse_code(text: &str) -> Option<String> {
    let code: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
    let fits = code.len() == CODE_CHARACTERS && code.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then_some(code)
}

/// Undoes percent-encoding (RFC 3986 §2.1); what is not valid encoding stays as it is.
fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |digit: u8| char::from(digit).to_digit(16);
        if let (b'%', Some(high), Some(low)) =
            (byte, tail.first().copied().and_then(hex), tail.get(1).copied().and_then(hex))
        {
            // Two hexadecimal digits make at most 255.
            decoded.push((high * 16 + low) as u8);
            rest = &tail[2..];
        } else {
            decoded.push(byte);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> HubConfig {
        HubConfig { url: Some("https://hub.example:8443".to_owned()), ca_fingerprint: Some("cd".repeat(32)) }
    }

    #[test]
    fn a_whole_claim_needs_no_configuration() {
        let ca = "AB:".repeat(32);
        let text = format!(
            "tongluo:claim?url=https%3A%2F%2F127.0.0.1%3A8443&code=abcd-2345&ca={}\n",
            ca.trim_end_matches(':')
        );
        let claim = Claim::parse(&text, &HubConfig::default()).unwrap();
        assert_eq!(claim.url, "https://127.0.0.1:8443");
        assert_eq!(claim.code, "ABCD2345");
        assert_eq!(claim.ca_fingerprint, "ab".repeat(32));
    }

    #[test]
    fn a_bare_code_takes_the_hub_from_the_configuration() {
        let claim = Claim::parse(" abcd2345 ", &hub()).unwrap();
        assert_eq!(claim.code, "ABCD2345");
        assert_eq!(claim.url, "https://hub.example:8443");
        let no_fingerprint = HubConfig { ca_fingerprint: None, ..hub() };
        assert_eq!(
            Claim::parse("ABCD2345", &no_fingerprint),
            Err(ClaimError::NeedsConfiguration("hub.ca_fingerprint"))
        );
        assert_eq!(Claim::parse("ABCD2345", &HubConfig::default()), Err(ClaimError::NeedsConfiguration("hub.url")));
    }

    #[test]
    fn bad_claims_are_refused_with_what_is_allowed() {
        let ca = "ab".repeat(32);
        let table = [
            ("ABCD234".to_owned(), "eight letters"),
            ("ABCD234!".to_owned(), "eight letters"),
            ("".to_owned(), "neither"),
            (format!("tongluo:claim?url=https://h&ca={ca}"), "code"),
            (format!("tongluo:claim?url=https://h&code=ABCD2345&code=ABCD2345&ca={ca}"), "code"),
            ("tongluo:claim?url=https://h&code=ABCD2345".to_owned(), "ca"),
            (format!("tongluo:claim?url=http://h&code=ABCD2345&ca={ca}"), "https://"),
            (format!("tongluo:claim?url=https://h/x&code=ABCD2345&ca={ca}"), "https://"),
            ("tongluo:claim?url=https://h&code=ABCD2345&ca=12".to_owned(), "64 hexadecimal"),
            (format!("tongluo:claim?url=https://h&code=AB&ca={ca}"), "eight letters"),
        ];
        for (text, wanted) in table {
            let message = Claim::parse(&text, &hub()).expect_err(&text).to_string();
            assert!(message.contains(wanted), "{text:?} gave {message:?}, which lacks {wanted:?}");
        }
    }

    #[test]
    fn percent_signs_that_encode_nothing_stay() {
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
        assert_eq!(percent_decode("%E9%93%9C"), "铜");
    }
}
