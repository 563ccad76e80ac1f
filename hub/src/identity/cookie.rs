//! The session cookie: its name, its attributes, and finding it in a request.

use axum::http::{HeaderMap, HeaderValue, header};

/// On plain HTTP, which is loopback only.
const PLAIN_NAME: &str = "tongluo_session";
/// On HTTPS. The prefix makes browsers insist on `Secure`, on `Path=/`, and on this very host (RFC 6265bis, 4.1.3.2).
const SECURE_NAME: &str = "__Host-tongluo_session";

const fn name(secure: bool) -> &'static str {
    if secure { SECURE_NAME } else { PLAIN_NAME }
}

/// The session token of a request, as it stands in the cookie. `None`: no such cookie, or not 32 bytes in hexadecimal.
pub(super) fn token(headers: &HeaderMap, secure: bool) -> Option<[u8; 32]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(found, value)| if found == name(secure) { from_hexadecimal(value) } else { None })
}

/// `Set-Cookie` for a new session that lasts so long.
pub(super) fn set(token: &[u8; 32], lasts_ms: i64, secure: bool) -> HeaderValue {
    let value: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    written(&value, lasts_ms / 1000, secure)
}

/// `Set-Cookie` that takes the cookie away.
pub(super) fn clear(secure: bool) -> HeaderValue {
    written("", 0, secure)
}

fn written(value: &str, max_age_s: i64, secure: bool) -> HeaderValue {
    let secure_attribute = if secure { "; Secure" } else { "" };
    let text =
        format!("{}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure_attribute}", name(secure));
    HeaderValue::try_from(text).expect("made of ASCII letters, digits and punctuation")
}

fn from_hexadecimal(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).expect("two hexadecimal digits fit a byte");
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::try_from(cookie).unwrap());
        headers
    }

    #[test]
    fn a_cookie_that_was_set_is_found() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 7).unwrap());
        for secure in [false, true] {
            let written = set(&bytes, 60_000, secure);
            let written = written.to_str().unwrap();
            assert!(written.contains("; HttpOnly") && written.contains("; SameSite=Strict"));
            assert!(written.contains("; Path=/; Max-Age=60;"));
            assert_eq!(written.ends_with("; Secure"), secure);
            let pair = written.split(';').next().unwrap();
            assert_eq!(token(&request(&format!("other=1; {pair}")), secure), Some(bytes));
            assert_eq!(token(&request(pair), !secure), None, "each kind of connection has its own name");
        }
    }

    #[test]
    fn nonsense_is_no_cookie() {
        for wrong in ["", "tongluo_session", "tongluo_session=", "tongluo_session=zz", "x=y; ;=;;"] {
            assert_eq!(token(&request(wrong), false), None, "{wrong}");
        }
        let not_hexadecimal = format!("tongluo_session={}", "g".repeat(64));
        assert_eq!(token(&request(&not_hexadecimal), false), None);
    }
}
