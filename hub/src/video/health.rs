//! How a camera is shown to be: as its gateway last said, for as long as that can be believed.
//!
//! A gateway says how each of its cameras is when that changes, and every ten minutes while it does not. Of a camera of which
//! nothing was heard for longer, or whose gateway is off line, nobody knows anything: it is shown `stale`, never as it last
//! was.

use super::view::CameraStateView;

/// For how long a report is believed: two and a half of its ten minutes, so that one may get lost.
pub(super) const BELIEVED_MS: i64 = 25 * 60 * 1000;
/// The state of a camera of which nothing was heard yet.
pub(super) const NEW: &str = "new";
/// The state of a camera of which nobody knows how it is.
pub(super) const STALE: &str = "stale";

/// The fault of a camera whose gateway is on line and says nothing of it.
pub(super) const UNHEARD: &str = "unheard";

/// What is known of a camera's health.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// As last reported.
    pub(super) state: String,
    /// The gateway's clock.
    pub(super) since_ms: i64,
    pub(super) detail: String,
    pub(super) created_ms: i64,
    /// When the hub last heard of it; `None`: never.
    pub(super) reported_ms: Option<i64>,
    /// Whether its gateway is on line.
    pub(super) online: bool,
    /// Since when; `None`: it never was.
    pub(super) online_changed_ms: Option<i64>,
}

/// How the camera is shown.
pub(super) fn shown(now_ms: i64, heard: &Heard) -> CameraStateView {
    match stale_since_ms(now_ms, heard) {
        Some(since_ms) => CameraStateView { name: STALE.to_owned(), since_ms, detail: heard.state.clone() },
        None => CameraStateView { name: heard.state.clone(), since_ms: heard.since_ms, detail: heard.detail.clone() },
    }
}

/// Since when nobody knows how the camera is. `None`: it is as reported, or too new to be asked about.
fn stale_since_ms(now_ms: i64, heard: &Heard) -> Option<i64> {
    let last_word_ms = heard.reported_ms.unwrap_or(heard.created_ms);
    if heard.reported_ms.is_some() && !heard.online {
        return Some(heard.online_changed_ms.unwrap_or(last_word_ms).max(last_word_ms));
    }
    (now_ms - last_word_ms > BELIEVED_MS).then_some(last_word_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn heard() -> Heard {
        Heard {
            state: "ok".to_owned(),
            since_ms: 7,
            detail: "25 frames a second".to_owned(),
            created_ms: 0,
            reported_ms: Some(100 * MINUTE),
            online: true,
            online_changed_ms: Some(MINUTE),
        }
    }

    fn state(now_ms: i64, heard: &Heard) -> (String, i64) {
        let shown = shown(now_ms, heard);
        (shown.name, shown.since_ms)
    }

    #[test]
    fn what_was_said_is_believed_for_twenty_five_minutes() {
        assert_eq!(state(125 * MINUTE, &heard()), ("ok".to_owned(), 7));
        assert_eq!(state(125 * MINUTE + 1, &heard()), ("stale".to_owned(), 100 * MINUTE));
        assert_eq!(shown(126 * MINUTE, &heard()).detail, "ok", "how it last was");
    }

    #[test]
    fn nothing_is_known_while_the_gateway_is_off_line() {
        let cut = Heard { online: false, online_changed_ms: Some(103 * MINUTE), ..heard() };
        assert_eq!(state(104 * MINUTE, &cut), ("stale".to_owned(), 103 * MINUTE));
        // What was told after the line was cut came with the journal, later: it is no more believed than before.
        let late = Heard { reported_ms: Some(104 * MINUTE), ..cut };
        assert_eq!(state(105 * MINUTE, &late), ("stale".to_owned(), 104 * MINUTE));
    }

    #[test]
    fn a_new_camera_is_new_until_it_should_have_been_heard_of() {
        let new = Heard { state: NEW.to_owned(), reported_ms: None, online: false, ..heard() };
        assert_eq!(state(25 * MINUTE, &new).0, "new");
        assert_eq!(state(26 * MINUTE, &new), ("stale".to_owned(), 0));
    }
}
