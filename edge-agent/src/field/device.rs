//! What is known of one device: whether its alarm is raised, what it said about itself, and when the hub was last told. Pure.

use tongluo_protocols::device::{Memory, Report};
use tongluo_protocols::event::Supervision;

/// A battery that moves by less is no news.
const BATTERY_STEP_PERCENT: u8 = 5;

/// However much changes, a device is told of at most this often: something that flaps must not fill the journal.
const CHANGE_MS_MIN: u64 = 10_000;

/// For how long a device may keep its alarm raised before that is a fault: its next press cannot be seen.
const STUCK_MS: u64 = 10 * 60 * 1000;

/// What a device last said about itself, as far as the hub is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Condition {
    pub(super) battery_percent: Option<u8>,
    pub(super) battery_mv: Option<u16>,
    pub(super) battery_low: Option<bool>,
    pub(super) link_quality: Option<u8>,
    pub(super) rssi_dbm: Option<i16>,
    pub(super) tamper: Option<bool>,
    pub(super) available: Option<bool>,
}

impl Condition {
    /// Takes over what a report says; what it does not say stays as it was.
    pub(super) fn take(&mut self, report: &Report<'_>) {
        self.battery_percent = report.battery_percent.or(self.battery_percent);
        self.battery_mv = report.battery_mv.or(self.battery_mv);
        self.battery_low = report.battery_low.or(self.battery_low);
        self.link_quality = report.link_quality.or(self.link_quality);
        self.rssi_dbm = report.rssi_dbm.or(self.rssi_dbm);
        self.tamper = report.tamper.or(self.tamper);
    }

    pub(super) fn fill(&self, supervision: &mut Supervision<'_>) {
        supervision.battery_percent = self.battery_percent;
        supervision.battery_mv = self.battery_mv;
        supervision.battery_low = self.battery_low;
        supervision.link_quality = self.link_quality;
        supervision.rssi_dbm = self.rssi_dbm;
        supervision.tamper = self.tamper;
        supervision.available = self.available;
    }

    /// Whether the hub should hear of the change at once. Radio quality moves with each message and is no news.
    fn is_news_after(&self, told: &Self) -> bool {
        let battery = match (self.battery_percent, told.battery_percent) {
            (Some(now), Some(before)) => now.abs_diff(before) >= BATTERY_STEP_PERCENT,
            (now, before) => now != before,
        };
        battery
            || self.battery_low != told.battery_low
            || self.tamper != told.tamper
            || self.available != told.available
    }
}

/// One device.
#[derive(Clone, Debug, Default)]
pub(super) struct Device {
    pub(super) memory: Memory,
    pub(super) condition: Condition,
    /// What the hub was told, and when.
    told: Option<(Condition, u64)>,
    /// Since when its alarm is raised, as far as this run knows.
    raised_at_ms: Option<u64>,
    stuck: bool,
}

impl Device {
    /// Whether the hub is to be told of the device now; if so, that is taken as done.
    pub(super) fn is_due(&mut self, now_ms: u64, interval_ms: u64) -> bool {
        let due = match &self.told {
            None => true,
            Some((told, at_ms)) => {
                let since_ms = now_ms.saturating_sub(*at_ms);
                since_ms >= interval_ms || (since_ms >= CHANGE_MS_MIN && self.condition.is_news_after(told))
            }
        };
        if due {
            self.told = Some((self.condition, now_ms));
        }
        due
    }

    /// Looks at the raised alarm: `Some` is a change, `true` from now on the device is stuck.
    pub(super) fn is_stuck(&mut self, now_ms: u64) -> Option<bool> {
        if self.memory.sos == Some(true) {
            let since = *self.raised_at_ms.get_or_insert(now_ms);
            let stuck = now_ms.saturating_sub(since) >= STUCK_MS;
            (stuck && !std::mem::replace(&mut self.stuck, stuck)).then_some(true)
        } else {
            self.raised_at_ms = None;
            std::mem::take(&mut self.stuck).then_some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL_MS: u64 = 600_000;

    #[test]
    fn an_unchanged_device_is_told_of_once_per_interval() {
        let mut device = Device::default();
        assert!(device.is_due(0, INTERVAL_MS));
        assert!(!device.is_due(INTERVAL_MS - 1, INTERVAL_MS));
        assert!(device.is_due(INTERVAL_MS, INTERVAL_MS));
    }

    #[test]
    fn a_change_is_told_at_once_but_not_more_often_than_allowed() {
        let mut device = Device::default();
        device.condition.tamper = Some(false);
        assert!(device.is_due(0, INTERVAL_MS));
        device.condition.tamper = Some(true);
        assert!(!device.is_due(CHANGE_MS_MIN - 1, INTERVAL_MS));
        assert!(device.is_due(CHANGE_MS_MIN, INTERVAL_MS));
    }

    #[test]
    fn noise_is_no_change() {
        let condition = Condition { battery_percent: Some(80), link_quality: Some(100), ..Condition::default() };
        let mut device = Device { condition, ..Device::default() };
        assert!(device.is_due(0, INTERVAL_MS));
        device.condition = Condition { battery_percent: Some(77), link_quality: Some(20), ..Condition::default() };
        assert!(!device.is_due(CHANGE_MS_MIN, INTERVAL_MS));
        device.condition.battery_percent = Some(75);
        assert!(device.is_due(CHANGE_MS_MIN, INTERVAL_MS));
    }

    #[test]
    fn an_alarm_that_stays_raised_is_a_fault_until_it_falls() {
        let mut device = Device::default();
        device.memory.sos = Some(true);
        assert_eq!(device.is_stuck(0), None);
        assert_eq!(device.is_stuck(STUCK_MS - 1), None);
        assert_eq!(device.is_stuck(STUCK_MS), Some(true));
        assert_eq!(device.is_stuck(STUCK_MS * 2), None, "said once");
        device.memory.sos = Some(false);
        assert_eq!(device.is_stuck(STUCK_MS * 3), Some(false));
        assert_eq!(device.is_stuck(STUCK_MS * 4), None);
    }
}
