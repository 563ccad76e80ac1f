//! How often one source may raise an unknown alarm. Pure.
//!
//! A remote control with a word we do not know would raise one at each touch. The first ones are kept whole, which is what people
//! need in order to look; those after them are counted, and a fault says how many there were.

/// How many a source may raise at once.
const BURST: u32 = 5;

/// After how long it may raise another one.
const REFILL_MS: u64 = 60_000;

/// How many sources are told apart. Above, the one that was quiet for longest is forgotten.
const SOURCES_MAX: usize = 256;

/// What to do with an unknown alarm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Allowance {
    /// Keep it.
    Keep,
    /// The first one too many: say so.
    TooMany,
    /// Another one too many: this many since it was said.
    Counted(u64),
}

struct Bucket {
    source: String,
    left: u32,
    at_ms: u64,
    surplus: u64,
}

/// The sources that raised unknown alarms lately.
#[derive(Default)]
pub(super) struct UnknownLimit {
    buckets: Vec<Bucket>,
}

impl UnknownLimit {
    /// Asks for one more.
    pub(super) fn ask(&mut self, now_ms: u64, source: &str) -> Allowance {
        let index = match self.buckets.iter().position(|bucket| bucket.source == source) {
            Some(index) => index,
            None => {
                if self.buckets.len() == SOURCES_MAX {
                    let quiet = (0..SOURCES_MAX).min_by_key(|index| self.buckets[*index].at_ms);
                    self.buckets.swap_remove(quiet.expect("there are buckets: just counted"));
                }
                self.buckets.push(Bucket { source: source.to_owned(), left: BURST, at_ms: now_ms, surplus: 0 });
                self.buckets.len() - 1
            }
        };
        let bucket = &mut self.buckets[index];
        let refills = now_ms.saturating_sub(bucket.at_ms) / REFILL_MS;
        if refills > 0 {
            bucket.left = BURST.min(bucket.left.saturating_add(u32::try_from(refills).unwrap_or(BURST)));
            bucket.at_ms = now_ms;
        }
        if bucket.left > 0 {
            bucket.left -= 1;
            bucket.surplus = 0;
            return Allowance::Keep;
        }
        bucket.surplus += 1;
        if bucket.surplus == 1 { Allowance::TooMany } else { Allowance::Counted(bucket.surplus) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_and_the_rest_is_counted() {
        let mut limit = UnknownLimit::default();
        for _ in 0..BURST {
            assert_eq!(limit.ask(0, "a"), Allowance::Keep);
        }
        assert_eq!(limit.ask(0, "a"), Allowance::TooMany);
        assert_eq!(limit.ask(0, "a"), Allowance::Counted(2));
        assert_eq!(limit.ask(0, "b"), Allowance::Keep, "another source has its own allowance");
        assert_eq!(limit.ask(REFILL_MS, "a"), Allowance::Keep);
        assert_eq!(limit.ask(REFILL_MS, "a"), Allowance::TooMany);
    }

    #[test]
    fn sources_are_bounded() {
        let mut limit = UnknownLimit::default();
        for source in 0..1_000 {
            assert_eq!(limit.ask(source, &source.to_string()), Allowance::Keep);
        }
        assert_eq!(limit.buckets.len(), SOURCES_MAX);
    }
}
