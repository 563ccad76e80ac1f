//! RTSP addresses as people type them, taken apart: where, which stream, and with what credentials.
//!
//! Nothing that opens a camera stays in what is stored as its address, shown or logged. Credentials stand before the host
//! (`rtsp://name:password@host/…`), or in the path of cheaper cameras (`/user=admin&password=…&channel=1`); either way
//! they are taken out, and in the path a placeholder shows where they were, so that the gateway's copy can be made whole
//! again. A refusal never repeats what was typed.

use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::web::Problem;

/// Where RTSP is served when an address does not say.
pub(super) const RTSP_PORT: u16 = 554;
/// Longest address, in bytes. Real ones are below 200.
const URL_BYTES_MAX: usize = 1_024;
/// Longest user name or password, in characters.
const CREDENTIAL_CHARS_MAX: usize = 128;
/// Longest host name (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

const USERNAME_PLACE: &str = "{username}";
const PASSWORD_PLACE: &str = "{password}";
/// What stands for a user name in the paths of cameras.
const USERNAME_KEYS: [&str; 4] = ["user", "username", "usr", "loginuse"];
/// What stands for a password in the paths of cameras.
const PASSWORD_KEYS: [&str; 6] = ["password", "passwd", "pass", "pwd", "psw", "loginpas"];
/// What is written plainly when credentials go back into a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What opens a recorder. Never shown: its debug form says that there is one, and no more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Where in a village's network a recorder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Lower case; an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Place {
    /// The address of a stream there, as it may be shown.
    pub(super) fn url(&self, path: &str) -> String {
        format!("rtsp://{}{path}", self.authority())
    }

    /// Host, and port if it is not the usual one: the name by which people know a recorder.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.parse::<Ipv6Addr>().is_ok() { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == RTSP_PORT { host } else { format!("{host}:{}", self.port) }
    }
}

/// An address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) place: Place,
    /// Path and query, with placeholders where credentials stood.
    pub(super) path: String,
    /// Those that stood in it.
    pub(super) credentials: Option<Credentials>,
}

/// Why an address is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    TooLong,
    NotRtsp,
    Encrypted,
    Malformed,
    NoHost,
    CredentialsTooLong,
}

impl Refusal {
    /// The refusal of the field that held the address.
    pub(super) fn problem(self, field: &str) -> Problem {
        let (zh, en) = match self {
            Self::TooLong => ("最长 1024 个字节", "at most 1,024 bytes"),
            Self::NotRtsp => ("应以 rtsp:// 开头", "it must begin with rtsp://"),
            Self::Encrypted => (
                "暂不支持 rtsps://，请在摄像机上开启 rtsp://",
                "rtsps:// is not supported; turn on rtsp:// on the camera",
            ),
            Self::Malformed => (
                "看不懂这个地址；密码里有特殊字符时，请把用户名和密码填在单独的栏里",
                "it cannot be read; if the password has special characters, give user name and password in their own fields",
            ),
            Self::NoHost => ("缺少摄像机或录像机的地址", "the host of the camera or recorder is missing"),
            Self::CredentialsTooLong => (
                "用户名和密码最多 128 个字，不能有控制字符",
                "user name and password have at most 128 characters, none of them control characters",
            ),
        };
        Problem::invalid(field, zh, en)
    }
}

impl Address {
    /// Takes an address apart.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("rtsp") => {}
            Some("rtsps") => return Err(Refusal::Encrypted),
            _ => return Err(Refusal::NotRtsp),
        }
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::EmptyHost => Refusal::NoHost,
            _ => Refusal::Malformed,
        })?;
        // An address has no fragment: a "#" is one of a password that was not written as "%23".
        if url.fragment().is_some() {
            return Err(Refusal::Malformed);
        }
        let place = Place { host: host(&url)?, port: url.port().unwrap_or(RTSP_PORT) };
        if place.port == 0 {
            return Err(Refusal::Malformed);
        }
        let (path, in_path) = without_credentials(&path_and_query(&url));
        let before_host = (!url.username().is_empty() || url.password().is_some())
            .then(|| Some((decoded(url.username())?, decoded(url.password().unwrap_or_default())?)));
        let credentials = match before_host {
            Some(pair) => pair.map(Some).ok_or(Refusal::Malformed)?,
            None => in_path,
        };
        let credentials = credentials.map(|(username, password)| Credentials { username, password });
        if credentials.as_ref().is_some_and(|credentials| !credentials.are_bounded()) {
            return Err(Refusal::CredentialsTooLong);
        }
        Ok(Self { place, path, credentials })
    }
}

impl Credentials {
    /// Whether they are of a length, and of letters, that are stored.
    pub(super) fn are_bounded(&self) -> bool {
        let is_bounded =
            |text: &str| text.chars().count() <= CREDENTIAL_CHARS_MAX && !text.chars().any(char::is_control);
        is_bounded(&self.username) && is_bounded(&self.password)
    }
}

/// The path as the camera wants it: credentials where their placeholders are.
pub(super) fn filled(path: &str, credentials: Option<&Credentials>) -> String {
    let (username, password) = credentials.map_or(("", ""), |known| (&known.username, &known.password));
    path.replace(USERNAME_PLACE, &utf8_percent_encode(username, PLAIN).to_string())
        .replace(PASSWORD_PLACE, &utf8_percent_encode(password, PLAIN).to_string())
}

fn host(url: &Url) -> Result<String, Refusal> {
    let host = url.host_str().ok_or(Refusal::NoHost)?.to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_name = !bare.is_empty()
        && bare.len() <= HOST_BYTES_MAX
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    match is_name || bare.parse::<Ipv6Addr>().is_ok() {
        true => Ok(bare.to_owned()),
        false if bare.is_empty() => Err(Refusal::NoHost),
        false => Err(Refusal::Malformed),
    }
}

fn path_and_query(url: &Url) -> String {
    let path = url.path();
    let whole = match url.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // Braces of placeholders that somebody typed were encoded on the way.
    whole.replace("%7Busername%7D", USERNAME_PLACE).replace("%7Bpassword%7D", PASSWORD_PLACE)
}

/// The path with placeholders instead of credentials, and those, decoded, if there were any.
fn without_credentials(path: &str) -> (String, Option<(String, String)>) {
    let (path, username) = without_value(path, &USERNAME_KEYS, USERNAME_PLACE);
    let (path, password) = without_value(&path, &PASSWORD_KEYS, PASSWORD_PLACE);
    let found = match (username, password) {
        (None, None) => None,
        (username, password) => Some((username.unwrap_or_default(), password.unwrap_or_default())),
    };
    (path, found)
}

fn without_value(path: &str, keys: &[&str], placeholder: &str) -> (String, Option<String>) {
    let Some((start, end)) = keys.iter().find_map(|key| value_of(path, key)) else {
        return (path.to_owned(), None);
    };
    let value = &path[start..end];
    // A placeholder that somebody typed is none of its own: the credentials are given elsewhere.
    let found = (value != placeholder).then(|| decoded(value).unwrap_or_else(|| value.to_owned()));
    (format!("{}{placeholder}{}", &path[..start], &path[end..]), found)
}

/// Where the value of `key=` stands, the key beginning after a separator.
fn value_of(path: &str, key: &str) -> Option<(usize, usize)> {
    let lower = path.to_ascii_lowercase();
    let wanted = format!("{key}=");
    let at = lower
        .match_indices(&wanted)
        .find(|(at, _)| *at == 0 || b"/?&;_".contains(&path.as_bytes()[*at - 1]))
        .map(|(at, _)| at)?;
    let start = at + wanted.len();
    let bytes = path.as_bytes();
    let end = (start..bytes.len())
        .find(|at| match bytes[*at] {
            b'&' | b'?' | b'/' | b';' => true,
            // Some write `user=admin_password=x_channel=1`: an underscore ends a value if a key follows it.
            b'_' => begins_with_a_key(&path[at + 1..]),
            _ => false,
        })
        .unwrap_or(bytes.len());
    Some((start, end))
}

fn begins_with_a_key(rest: &str) -> bool {
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    letters > 0 && rest.as_bytes().get(letters) == Some(&b'=')
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credentials(username: &str, password: &str) -> Option<Credentials> {
        Some(Credentials { username: username.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn addresses_are_taken_apart() {
        let table = [
            // typed, shown, path, credentials
            ("rtsp://192.168.1.64/Streaming/Channels/101", "rtsp://192.168.1.64/Streaming/Channels/101", None),
            (" RTSP://Camera.LAN:554/a?b=1 ", "rtsp://camera.lan/a?b=1", None),
            ("rtsp://10.0.0.1:8554/cam", "rtsp://10.0.0.1:8554/cam", None),
            ("rtsp://admin:p%40ss%23%E9%94%A3@10.0.0.1/x", "rtsp://10.0.0.1/x", credentials("admin", "p@ss#锣")),
            ("rtsp://admin:p@ss@10.0.0.1/x", "rtsp://10.0.0.1/x", credentials("admin", "p@ss")),
            ("rtsp://admin@10.0.0.1/x", "rtsp://10.0.0.1/x", credentials("admin", "")),
            ("rtsp://[fe80::1]:554/x", "rtsp://[fe80::1]/x", None),
            (
                "rtsp://10.0.0.1/user=admin&password=tlJwpbo6&channel=1&stream=0.sdp?real_stream",
                "rtsp://10.0.0.1/user={username}&password={password}&channel=1&stream=0.sdp?real_stream",
                credentials("admin", "tlJwpbo6"),
            ),
            (
                "rtsp://10.0.0.1/user=admin_password=a_b_channel=1_stream=0.sdp",
                "rtsp://10.0.0.1/user={username}_password={password}_channel=1_stream=0.sdp",
                credentials("admin", "a_b"),
            ),
            (
                "rtsp://10.0.0.1/live?Channel=1&Usr=op&PWD=a%26b",
                "rtsp://10.0.0.1/live?Channel=1&Usr={username}&PWD={password}",
                credentials("op", "a&b"),
            ),
            (
                "rtsp://u:p@10.0.0.1/x?password={password}",
                "rtsp://10.0.0.1/x?password={password}",
                credentials("u", "p"),
            ),
            ("rtsp://10.0.0.1/bypass=1", "rtsp://10.0.0.1/bypass=1", None),
        ];
        for (typed, shown, expected) in table {
            let address = Address::parse(typed).unwrap_or_else(|refusal| panic!("{typed}: {refusal:?}"));
            assert_eq!(address.place.url(&address.path), shown, "{typed}");
            assert_eq!(address.credentials, expected, "{typed}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_reason() {
        let long = format!("rtsp://host/{}", "x".repeat(1_100));
        let long_password = format!("rtsp://a:{}@host/", "x".repeat(200));
        let table = [
            ("", Refusal::NotRtsp),
            ("192.168.1.64", Refusal::NotRtsp),
            ("http://192.168.1.64/", Refusal::NotRtsp),
            ("rtsps://192.168.1.64/", Refusal::Encrypted),
            ("rtsp:///path", Refusal::NoHost),
            ("rtsp://", Refusal::NoHost),
            ("rtsp://admin:secret@/x", Refusal::NoHost),
            ("rtsp://host:99999/", Refusal::Malformed),
            ("rtsp://host:0/", Refusal::Malformed),
            ("rtsp://admin:a#b@host/", Refusal::Malformed),
            ("rtsp://ho st/", Refusal::Malformed),
            ("rtsp://ho%00st/", Refusal::Malformed),
            ("rtsp://铜锣/", Refusal::Malformed),
            (long.as_str(), Refusal::TooLong),
            (long_password.as_str(), Refusal::CredentialsTooLong),
        ];
        for (typed, refusal) in table {
            assert_eq!(Address::parse(typed), Err(refusal), "{typed}");
        }
    }

    #[test]
    fn placeholders_are_filled_for_the_gateway_only() {
        let known = Credentials { username: "ad min".to_owned(), password: "a&b/锣".to_owned() };
        let path = "/u={username}&password={password}&c=1";
        assert_eq!(filled(path, Some(&known)), "/u=ad%20min&password=a%26b%2F%E9%94%A3&c=1");
        assert_eq!(filled("/plain", Some(&known)), "/plain");
        assert_eq!(filled(path, None), "/u=&password=&c=1");
    }

    #[test]
    fn credentials_do_not_show_themselves() {
        let address = Address::parse("rtsp://admin:hunter2@host/x?password=hunter2").unwrap();
        let shown = format!("{address:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("admin"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = Address::parse(&text);
            let _ = Address::parse(&format!("rtsp://{text}"));
            let _ = Address::parse(&format!("rtsp://host/{text}"));
        }

        #[test]
        fn a_password_is_nowhere_in_what_is_stored(password in "[A-Za-z0-9]{9,20}", key in 0_usize..PASSWORD_KEYS.len()) {
            let key = PASSWORD_KEYS[key];
            for typed in [
                format!("rtsp://admin:{password}@host/x"),
                format!("rtsp://host/x?{key}={password}&channel=1"),
                format!("rtsp://host/user=admin_{key}={password}_channel=1"),
            ] {
                let address = Address::parse(&typed).unwrap();
                prop_assert!(!address.place.url(&address.path).contains(&password));
                let known = address.credentials.unwrap();
                prop_assert_eq!(&known.password, &password);
            }
        }
    }
}
