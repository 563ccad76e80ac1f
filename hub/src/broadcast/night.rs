//! When a village sleeps: then only emergencies sound, and only when somebody says so twice. Pure.

use serde::Deserialize;
use tongluo_protocols::configuration::Night as Told;

/// Minutes of a day.
const DAY_MINUTES: i64 = 24 * 60;
const MINUTE_MS: i64 = 60_000;

/// When only emergencies sound; by default from ten in the evening to six in the morning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Night(Told);

impl Night {
    /// There is none: at every hour everything may sound.
    pub const NONE: Self = Self(Told { from_minute: 0, to_minute: 0 });

    /// As gateways are told.
    pub fn told(self) -> Told {
        self.0
    }

    /// Whether it is night at a moment, UTC milliseconds.
    pub fn is_at(self, utc_ms: i64) -> bool {
        self.0.is_at(utc_ms)
    }

    /// When the next night begins after a moment that is none. `None`: there are no nights.
    pub fn begins_after_ms(self, utc_ms: i64) -> Option<i64> {
        let this_minute_ms = utc_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        (1..=DAY_MINUTES).map(|minutes| this_minute_ms + minutes * MINUTE_MS).find(|then_ms| self.is_at(*then_ms))
    }
}

impl<'de> Deserialize<'de> for Night {
    /// `"22:00-06:00"`; `"none"`: there are no nights.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refused = || serde::de::Error::custom(format!("{text:?} is no night; write \"22:00-06:00\" or \"none\""));
        if text == "none" {
            return Ok(Self::NONE);
        }
        let (from, to) = text.split_once('-').ok_or_else(refused)?;
        let (from_minute, to_minute) = (minute(from).ok_or_else(refused)?, minute(to).ok_or_else(refused)?);
        Ok(Self(Told { from_minute, to_minute }))
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let is_plain = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(hours) || !is_plain(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23, a local time of day.
    fn at(hours: i64, minutes: i64) -> i64 {
        1_795_392_000_000 - 8 * 3_600_000 + (hours * 60 + minutes) * MINUTE_MS
    }

    #[test]
    fn night_is_from_ten_to_six_by_the_villages_clock() {
        let night = Night::default();
        for (hours, minutes, is_night) in [(21, 59, false), (22, 0, true), (3, 0, true), (5, 59, true), (6, 0, false)] {
            assert_eq!(night.is_at(at(hours, minutes)), is_night, "{hours}:{minutes}");
        }
        assert_eq!(night.begins_after_ms(at(6, 0)), Some(at(22, 0)));
        assert_eq!(night.begins_after_ms(at(21, 59) + 59_999), Some(at(22, 0)));
    }

    #[test]
    fn a_night_that_ends_when_it_begins_never_is() {
        assert!((0..24).all(|hours| !Night::NONE.is_at(at(hours, 0))));
        assert_eq!(Night::NONE.begins_after_ms(at(12, 0)), None);
    }

    #[test]
    fn a_night_is_read_as_it_is_written() {
        let read = |text: &str| serde_json::from_value::<Night>(serde_json::json!(text)).ok();
        assert_eq!(read("22:00-06:00"), Some(Night::default()));
        assert_eq!(read("none"), Some(Night::NONE));
        assert_eq!(read("12:30 - 14:00"), Some(Night(Told { from_minute: 750, to_minute: 840 })));
        for wrong in ["", "22:00", "24:00-06:00", "22:60-06:00", "2:00-6:00", "+2:00-06:00", "22:00-06:00-07:00"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
