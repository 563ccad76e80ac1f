//! The seven topics of a site, and who may touch which: the whole access rule of the broker in one pure file.
//!
//! A gateway may publish to four of its own topics and subscribe to three, named exactly; a wildcard is never needed, so
//! none is granted, not even inside its own subtree.

use crate::ids::SiteId;

/// Every topic starts with this; the number is the version of the link's protocol.
pub(super) const ROOT: &str = "tl/1/";

/// MQTT client id and certificate CN under which a hub meets an external broker. Never a site.
pub const HUB_CLIENT_ID: &str = "tongluo-hub";

/// A longer site id is refused. It has to fit into a certificate's common name, which X.520 bounds to 64 characters.
pub const SITE_ID_BYTES_MAX: usize = 64;

/// What a gateway publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpLeaf {
    /// `up`: a batch of its journal. QoS 1.
    Up,
    /// `down/ack`: what it has committed of the hub's journal. QoS 1.
    DownAck,
    /// `beat`: its heartbeat. QoS 0.
    Beat,
    /// `state`: on line or off line, retained; also its last will. QoS 1.
    State,
}

/// What the hub publishes to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DownLeaf {
    /// `up/ack`: what the hub has committed of the gateway's journal. QoS 1.
    UpAck,
    /// `down`: a batch of the hub's journal. QoS 1.
    Down,
    /// `call`: open the media connection, or keep this watch lease. QoS 0, repeated while it lasts.
    Call,
}

impl UpLeaf {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Up, Self::DownAck, Self::Beat, Self::State];

    /// The part of the topic after the site.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::DownAck => "down/ack",
            Self::Beat => "beat",
            Self::State => "state",
        }
    }

    /// The whole topic.
    pub fn topic(self, site: &SiteId) -> String {
        format!("{ROOT}{site}/{}", self.suffix())
    }
}

impl DownLeaf {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::UpAck, Self::Down, Self::Call];

    /// The part of the topic after the site.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::UpAck => "up/ack",
            Self::Down => "down",
            Self::Call => "call",
        }
    }

    /// The whole topic.
    pub fn topic(self, site: &SiteId) -> String {
        format!("{ROOT}{site}/{}", self.suffix())
    }

    /// Whether it is sent with QoS 1; otherwise with QoS 0.
    pub const fn at_least_once(self) -> bool {
        !matches!(self, Self::Call)
    }
}

/// Whether a text can be a site id: 1 to 64 ASCII letters, digits, `-`, `_` or `.`, and not the hub's own name. Anything
/// else could mean something in a topic, a path or an access list.
pub fn is_site_id(text: &str) -> bool {
    (1..=SITE_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && text != HUB_CLIENT_ID
}

/// Site and leaf of a topic to which gateways publish. `None` for every other topic.
pub(super) fn parse_up(topic: &str) -> Option<(&str, UpLeaf)> {
    let (site, suffix) = topic.strip_prefix(ROOT)?.split_once('/')?;
    let leaf = UpLeaf::ALL.into_iter().find(|leaf| leaf.suffix() == suffix)?;
    is_site_id(site).then_some((site, leaf))
}

/// The leaf, if `site` may publish to `topic`.
pub(super) fn may_publish(site: &str, topic: &str) -> Option<UpLeaf> {
    parse_up(topic).filter(|(owner, _)| *owner == site).map(|(_, leaf)| leaf)
}

/// Whether `site` may subscribe with `filter`.
pub(super) fn may_subscribe(site: &str, filter: &str) -> bool {
    let own =
        filter.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix(site)).and_then(|rest| rest.strip_prefix('/'));
    own.is_some_and(|suffix| DownLeaf::ALL.into_iter().any(|leaf| leaf.suffix() == suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_publishes_to_its_own_four_topics_only() {
        let site = SiteId::from_known("g7");
        for leaf in UpLeaf::ALL {
            assert_eq!(may_publish("g7", &leaf.topic(&site)), Some(leaf));
            assert_eq!(may_publish("g8", &leaf.topic(&site)), None);
        }
        let denied = [
            "tl/1/g7/up/ack",
            "tl/1/g7/down",
            "tl/1/g7/call",
            "tl/1/g7",
            "tl/1/g7/",
            "tl/1/g7/up/",
            "tl/2/g7/up",
            "/tl/1/g7/up",
            "tl/1//up",
            "tl/1/+/up",
            "$SYS/x",
            "",
            "tl/1/g7/x/up",
        ];
        for topic in denied {
            assert_eq!(may_publish("g7", topic), None, "{topic}");
        }
    }

    #[test]
    fn a_site_subscribes_to_its_own_three_topics_only() {
        let site = SiteId::from_known("g7");
        for leaf in DownLeaf::ALL {
            assert!(may_subscribe("g7", &leaf.topic(&site)));
            assert!(!may_subscribe("g", &leaf.topic(&site)));
            assert!(!may_subscribe("g77", &leaf.topic(&site)));
        }
        let denied = [
            "#",
            "+",
            "tl/#",
            "tl/1/#",
            "tl/1/g7/#",
            "tl/1/g7/+",
            "tl/1/+/down",
            "tl/1/g7/up",
            "tl/1/g7/state",
            "tl/1/g8/down",
            "$share/x/tl/1/g7/down",
            "$SYS/#",
            "",
        ];
        for filter in denied {
            assert!(!may_subscribe("g7", filter), "{filter}");
        }
    }

    #[test]
    fn odd_site_ids_are_none() {
        let long = "a".repeat(SITE_ID_BYTES_MAX + 1);
        for odd in ["", "a/b", "a+b", "a#", "a b", "村", "$SYS", "a\0", HUB_CLIENT_ID, &long] {
            assert!(!is_site_id(odd), "{odd:?}");
        }
        for fine in ["g7", "4f2k-9.x_Y", &long[1..]] {
            assert!(is_site_id(fine), "{fine:?}");
        }
    }
}
