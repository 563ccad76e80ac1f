//! The two languages the hub speaks.

use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A language of pages and messages. Chinese unless the reader asks otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Language {
    /// Simplified Chinese.
    #[default]
    #[serde(rename = "zh-CN")]
    Chinese,
    /// English.
    #[serde(rename = "en")]
    English,
}

impl Language {
    /// The BCP 47 tag, as stored.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh-CN",
            Self::English => "en",
        }
    }

    /// The language of a stored tag; Chinese for anything else.
    pub fn from_tag(tag: &str) -> Self {
        if tag.starts_with("en") { Self::English } else { Self::Chinese }
    }

    /// The first language of `Accept-Language` that the hub speaks. Quality values are ignored: browsers list the
    /// preferred language first.
    pub fn of_request(headers: &HeaderMap) -> Self {
        let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        wanted
            .split(',')
            .map(str::trim)
            .find_map(|tag| match tag.as_bytes() {
                [b'z' | b'Z', b'h' | b'H', ..] => Some(Self::Chinese),
                [b'e' | b'E', b'n' | b'N', ..] => Some(Self::English),
                _ => None,
            })
            .unwrap_or_default()
    }
}
