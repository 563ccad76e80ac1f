//! The rules of claims: codes that people can read aloud, and who may use one when. No database here.

use qrcode::QrCode;
use qrcode::render::svg;
use sha2::{Digest, Sha256};

/// How long a claim waits: long enough to climb down, type it and try again; short enough that a photograph of the
/// screen is soon worthless.
pub(super) const CLAIM_MS: i64 = 15 * 60 * 1000;
/// Characters of a code: 40 random bits, for a quarter of an hour, with tries limited per address.
const CODE_CHARACTERS: usize = 8;
/// Without I and 1, O and 0, which people confuse. 32 characters, so that 5 random bits pick one evenly.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// A claim as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) id: String,
    pub(super) site_id: String,
    pub(super) expires_ms: i64,
    pub(super) withdrawn_ms: Option<i64>,
    /// The key that used it, and the serial of what it was given.
    pub(super) used: Option<(Vec<u8>, String)>,
}

/// What a claim is worth to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// A certificate.
    Certificate,
    /// The same certificate again: the answer may have been lost on the way.
    Again {
        /// Its serial.
        serial: String,
    },
    /// Nothing.
    Nothing(WhyNot),
}

/// Why a claim is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhyNot {
    /// No claim has this code.
    Unknown,
    /// Another key has used it.
    Used,
    /// Its quarter of an hour is over.
    Expired,
    /// A newer claim or a person took it back.
    Withdrawn,
}

impl Claim {
    /// What this claim is worth to a key. The key that used it may ask for as long as its certificate is good, because
    /// the certificate is worth nothing without that key.
    pub(super) fn worth(&self, key_sha256: &[u8; 32], now_ms: i64) -> Worth {
        match &self.used {
            Some((key, serial)) if key == key_sha256 => Worth::Again { serial: serial.clone() },
            Some(_) => Worth::Nothing(WhyNot::Used),
            None if self.withdrawn_ms.is_some() => Worth::Nothing(WhyNot::Withdrawn),
            None if now_ms >= self.expires_ms => Worth::Nothing(WhyNot::Expired),
            None => Worth::Certificate,
        }
    }
}

/// A new code.
pub(super) fn new_code() -> String {
    let mut bytes = [0_u8; CODE_CHARACTERS];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

/// A code as a person typed it: any case, with spaces or hyphens. `None`: it cannot be one.
pub(super) fn read_code(text: &str) -> Option<String> {
    let code: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '-'))
        .map(|c| c.to_ascii_uppercase())
        .take(CODE_CHARACTERS + 1)
        .collect();
    let fits = code.len() == CODE_CHARACTERS && code.bytes().all(|byte| ALPHABET.contains(&byte));
    fits.then_some(code)
}

/// What is stored of a code.
pub(super) fn hash(code: &str) -> [u8; 32] {
    Sha256::digest(code.as_bytes()).into()
}

/// The claim as one text, which a gateway takes from a QR code or a command line.
pub(super) fn text(url: &str, code: &str, ca_fingerprint: &str) -> String {
    let url = url.replace('%', "%25").replace(':', "%3A").replace('/', "%2F").replace('[', "%5B").replace(']', "%5D");
    format!("tongluo:claim?url={url}&code={code}&ca={ca_fingerprint}")
}

/// A text as a QR code: an SVG element with a quiet zone, dark on white whatever the page's colours are.
pub(super) fn qr_svg(text: &str) -> String {
    let code = QrCode::new(text).expect("a claim's text is far below a QR code's 2,953 bytes");
    let document = code.render::<svg::Color<'_>>().min_dimensions(256, 256).build();
    // Without the XML declaration, so that it can stand inside a page.
    document.find("<svg").map_or_else(String::new, |start| document[start..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [1; 32];

    fn open() -> Claim {
        Claim { id: "c".to_owned(), site_id: "s".to_owned(), expires_ms: 1_000, withdrawn_ms: None, used: None }
    }

    #[test]
    fn what_a_claim_is_worth() {
        let used = |key: [u8; 32]| Claim { used: Some((key.to_vec(), "7f".to_owned())), ..open() };
        let again = Worth::Again { serial: "7f".to_owned() };
        let withdrawn = Claim { withdrawn_ms: Some(1), ..open() };
        for (claim, now_ms, worth) in [
            (open(), 999, Worth::Certificate),
            (open(), 1_000, Worth::Nothing(WhyNot::Expired)),
            (withdrawn.clone(), 0, Worth::Nothing(WhyNot::Withdrawn)),
            (used([2; 32]), 0, Worth::Nothing(WhyNot::Used)),
            (used(KEY), 0, again.clone()),
            (used(KEY), 9_999, again.clone()),
            (Claim { withdrawn_ms: Some(1), ..used(KEY) }, 0, again),
        ] {
            assert_eq!(claim.worth(&KEY, now_ms), worth, "{claim:?} at {now_ms}");
        }
    }

    #[test]
    fn codes_survive_being_typed() {
        let code = new_code();
        assert_eq!(read_code(&code), Some(code.clone()));
        let typed = format!(" {}-{} ", code[..4].to_lowercase(), &code[4..]);
        assert_eq!(read_code(&typed), Some(code));
        for wrong in ["", "ABCD234", "ABCD23456", "ABCD234O", "ABCD2341", "锣锣锣锣锣锣锣锣"] {
            assert_eq!(read_code(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_text_carries_all_a_gateway_needs() {
        let text = text("https://hub.example:8443", "ABCD2345", "cafe");
        assert_eq!(text, "tongluo:claim?url=https%3A%2F%2Fhub.example%3A8443&code=ABCD2345&ca=cafe");
        let picture = qr_svg(&text);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>"), "{picture}");
    }
}
