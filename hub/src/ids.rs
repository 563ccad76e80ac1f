//! Names of things, as types, so that one cannot stand where another belongs.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a text that is known to be such an id: from the database, or checked by the caller.
            pub fn from_known(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

opaque_id!(
    /// A place where a gateway is installed. CN of its certificates and its MQTT client id.
    SiteId
);
opaque_id!(
    /// A box that filled or fills a site. O of its certificates.
    GatewayId
);
opaque_id!(
    /// Something heard in a village.
    DeviceId
);
opaque_id!(
    /// An alarm; ids sort by the time they were raised.
    AlarmId
);
opaque_id!(
    /// A fault; ids sort by the time they were first seen.
    FaultId
);
opaque_id!(
    /// What answers at an address in a village: a network recorder, or a camera that is its own.
    RecorderId
);
opaque_id!(
    /// A camera: a channel of a recorder.
    CameraId
);
opaque_id!(
    /// What a camera saw of a press; ids sort by the time the hub heard of it.
    EvidenceId
);
opaque_id!(
    /// A stretch taken out of a recording; ids sort by the time it was asked for.
    ExportId
);
opaque_id!(
    /// A loudspeaker.
    SpeakerId
);
opaque_id!(
    /// A notice, and the broadcast that gateways are ordered to play; ids sort by the time they were made.
    NoticeId
);
opaque_id!(
    /// A notice that is kept to be sent again; ids sort by the time they were made.
    TemplateId
);
opaque_id!(
    /// A person who uses the pages.
    AccountId
);

/// A new id that sorts by time (UUID version 7, without hyphens). `now_ms` is UTC.
pub fn sortable(now_ms: i64) -> String {
    let now_ms = u64::try_from(now_ms).unwrap_or(0);
    let timestamp = uuid::Timestamp::from_unix(
        uuid::NoContext,
        now_ms / 1000,
        u32::try_from(now_ms % 1000).expect("below 1000") * 1_000_000,
    );
    uuid::Uuid::new_v7(timestamp).simple().to_string()
}

/// A new opaque id of 16 lower-case letters and digits (80 random bits), safe in topics, paths and certificates.
///
/// # Panics
/// The operating system has no randomness to give; nothing secure can be done then.
pub fn opaque() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

/// A national statistical code: 6 digits county, 9 township, 12 village, 15 group, 18 grid; its parent is a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(transparent)]
pub struct RegionCode(String);

/// A text that is not a region code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("region code {0:?} is not 6, 9, 12, 15 or 18 digits")]
pub struct NotARegionCode(String);

impl RegionCode {
    /// Checks and takes a code.
    ///
    /// # Errors
    /// Anything but 6, 9, 12, 15 or 18 ASCII digits.
    pub fn parse(text: &str) -> Result<Self, NotARegionCode> {
        let right_length = matches!(text.len(), 6 | 9 | 12 | 15 | 18);
        if right_length && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotARegionCode(text.chars().take(32).collect()))
        }
    }

    /// Takes a code from the database, where only checked ones are.
    pub fn from_known(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` is this region or lies in it: "A's code is a prefix of B's".
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// First text after all codes of this region in byte order: `code >= self and code < self.end()` selects a region
    /// by an index range. ':' follows '9' in ASCII.
    pub fn end(&self) -> String {
        format!("{}:", self.0)
    }
}

impl fmt::Display for RegionCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RegionCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_follow_prefixes() {
        let county = RegionCode::parse("411728").unwrap();
        let village = RegionCode::parse("411728102201").unwrap();
        assert!(county.contains(&village));
        assert!(county.contains(&county));
        assert!(!village.contains(&county));
        assert!(village.as_str() >= county.as_str() && village.as_str() < county.end().as_str());
    }

    #[test]
    fn only_codes_are_codes() {
        for wrong in ["", "4117", "41172x", "4117280", "４１１７２８", "411728 "] {
            assert!(RegionCode::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sortable_ids_sort_by_time() {
        assert!(sortable(1_000) < sortable(2_000));
    }
}
