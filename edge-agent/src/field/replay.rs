//! Which messages the village's broker may have kept from before: those may be of any age. Pure.
//!
//! A broker that knows us still hands over what it has kept for us as soon as we are back, and nothing in a message says how
//! long it has lain there. But what comes to one subscriber keeps its order. So at each return we say a word of our own, a
//! *mark* that nobody can guess, and listen for it: what comes behind it was said after we were back, and is as fresh as it
//! arrives. Only what comes before it may be old, and that takes as long as one message needs to the broker and back.

/// Where the mark goes, and is listened for.
pub(super) const MARK_TOPIC: &str = "tongluo/back";

/// So long at most the mark is waited for. A broker that does not let us hear ourselves would otherwise have every press count as
/// kept, for ever; what it has kept it has handed over by then.
const MARK_MS_MAX: u64 = 5_000;

/// What is known of the present connection.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The mark that has not come back yet, and until when it is waited for.
    waiting: Option<(String, u64)>,
}

impl Replay {
    /// Connected, and the broker knows us still: `mark` goes to [`MARK_TOPIC`] now.
    pub(super) fn returned(&mut self, now_ms: u64, mark: String) {
        self.waiting = Some((mark, now_ms + MARK_MS_MAX));
    }

    /// Connected, and the broker has kept nothing.
    pub(super) fn began(&mut self) {
        self.waiting = None;
    }

    /// Takes a message on [`MARK_TOPIC`]. One of an earlier connection, or another's, means nothing.
    pub(super) fn heard(&mut self, payload: &[u8]) {
        if self.waiting.as_ref().is_some_and(|(mark, _)| mark.as_bytes() == payload) {
            self.waiting = None;
        }
    }

    /// Whether what comes now may have been kept.
    pub(super) fn may_be_kept(&self, now_ms: u64) -> bool {
        self.waiting.as_ref().is_some_and(|(_, until_ms)| now_ms < *until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_our_own_mark_is_fresh_from_the_first_moment() {
        let mut replay = Replay::default();
        replay.returned(1_000, "m1".to_owned());
        assert!(replay.may_be_kept(1_000), "nobody knows how old it is");
        replay.heard(b"m1");
        assert!(!replay.may_be_kept(1_001), "it was said after we were back");
    }

    #[test]
    fn a_long_backlog_is_kept_until_its_end() {
        let mut replay = Replay::default();
        replay.returned(0, "m1".to_owned());
        assert!(replay.may_be_kept(2_000), "it takes longer than a second to hand over");
        replay.heard(b"m1");
        assert!(!replay.may_be_kept(2_001));
    }

    #[test]
    fn only_the_mark_of_this_connection_counts() {
        let mut replay = Replay::default();
        replay.returned(0, "m2".to_owned());
        for other in [&b"m1"[..], b"", b"m22", b"\xff"] {
            replay.heard(other);
            assert!(replay.may_be_kept(1), "{other:?}");
        }
        replay.returned(10, "m3".to_owned());
        replay.heard(b"m2");
        assert!(replay.may_be_kept(11), "the mark of before was kept, too");
    }

    #[test]
    fn a_broker_that_knows_nothing_of_us_has_kept_nothing() {
        let mut replay = Replay::default();
        assert!(!replay.may_be_kept(0));
        replay.returned(0, "m1".to_owned());
        replay.began();
        assert!(!replay.may_be_kept(1));
    }

    #[test]
    fn a_mark_that_never_comes_is_not_waited_for_for_ever() {
        let mut replay = Replay::default();
        replay.returned(0, "m1".to_owned());
        assert!(replay.may_be_kept(MARK_MS_MAX - 1));
        assert!(!replay.may_be_kept(MARK_MS_MAX));
    }
}
