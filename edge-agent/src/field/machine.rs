//! What a message of the village's broker means, in the light of what was heard before. Pure.
//!
//! The codecs say what a message says; here is decided what becomes of it. Nothing that may be a call for help is dropped: it
//! becomes a press, or else an unknown alarm with the whole message. What is broken becomes a fault, once. What proves that a
//! device is alive becomes supervision, thinned.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use tongluo_protocols::device::{self, DeviceRef, Reading, Report, Verdict};
use tongluo_protocols::event::{Event, Family, Fault, Press, Supervision, UnknownAlarm, code};
use tongluo_protocols::id::{DeviceKey, Lane};

use super::device::Device;
use super::limit::{Allowance, UnknownLimit};
use crate::journal::{Draft, Fact, Memory, Source};

/// How many devices are remembered. A village has some hundred; above, new ones can still press but are not supervised.
const DEVICES_MAX: usize = 2_000;

/// How many names that nobody knows are remembered, so that each is told of once.
const STRANGERS_MAX: usize = 256;

/// The code of the fault about a device that no directory knows.
const DEVICE_UNKNOWN: &str = "device.unknown";

/// The code of the fault about a source with too many unknown alarms.
const UNKNOWN_FLOODING: &str = "unknown.flooding";

/// How the keys begin by which a message is recognised that the broker hands over again.
pub(super) const REDELIVERY: &str = "mqtt/";

/// A message of the village's broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    /// The broker repeats what it has kept from before we subscribed.
    pub(super) retained: bool,
    /// The broker hands it over again, having had no acknowledgement.
    pub(super) redelivered: bool,
    /// The broker kept it while we were away, so that nobody knows how old it is.
    pub(super) replayed: bool,
    /// The broker's number for it; 0 for a message that is not acknowledged.
    pub(super) packet_id: u16,
}

/// When a message was heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) wall_ms: i64,
    pub(super) mono_ms: u64,
}

/// What has to be done before the message is acknowledged.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// Commit an entry.
    Append(Draft),
    /// Commit a press, then confirm it.
    Press { draft: Draft, device: DeviceKey, source_key: Option<String> },
    /// Remember a fact.
    Remember(Fact),
}

/// What the gateway knows of its village.
pub(super) struct Machine {
    supervision_interval_ms: u64,
    devices: HashMap<DeviceKey, Device>,
    /// Friendly names, as the radio server's directory gives them.
    names: HashMap<String, DeviceKey>,
    strangers: Vec<String>,
    unknown: UnknownLimit,
    bridge_online: Option<bool>,
}

impl Machine {
    /// A machine that remembers what earlier runs have learnt.
    pub(super) fn new(supervision_interval_s: u32, memory: Memory) -> Self {
        let mut devices: HashMap<DeviceKey, Device> = HashMap::new();
        for (key, raised) in memory.alarm_levels {
            devices.entry(key).or_default().memory.sos = Some(raised);
        }
        Self {
            supervision_interval_ms: u64::from(supervision_interval_s) * 1000,
            devices,
            names: memory.directory.into_iter().collect(),
            strangers: Vec::new(),
            unknown: UnknownLimit::default(),
            bridge_online: None,
        }
    }

    /// How many devices there are.
    pub(super) fn devices_count(&self) -> usize {
        let listed = self.names.values().filter(|key| !self.devices.contains_key(*key)).count();
        self.devices.len() + listed
    }

    /// Says what a message leads to.
    pub(super) fn handle(&mut self, now: Now, message: &Message<'_>) -> Vec<Effect> {
        match device::parse(message.topic, message.payload) {
            Reading::Report(report) => self.report(now, message, &report),
            Reading::Availability { device, available } => self.availability(now, device, available),
            Reading::Directory(directory) => {
                let entries = directory.entries().take(DEVICES_MAX);
                self.directory(entries.map(|entry| (entry.name.to_string(), entry.key)).collect())
            }
            Reading::Bridge { online } => self.bridge(online),
            Reading::Ignored => Vec::new(),
            Reading::Unreadable { device, reason } if is_about_radio(message.topic) => {
                let source = device.and_then(|device| self.key(device));
                let source = source.map_or(message.topic.to_owned(), |key| key.as_str().to_owned());
                vec![fault(&source, code::PAYLOAD_UNREADABLE, reason, true)]
            }
            Reading::Unreadable { device, reason } => {
                let source = device.and_then(|device| self.key(device));
                self.unknown_alarm(now, message, source, reason, Vec::new())
            }
        }
    }

    fn report(&mut self, now: Now, message: &Message<'_>, report: &Report<'_>) -> Vec<Effect> {
        let Some(key) = self.key(report.device) else {
            return self.stranger(now, message, report);
        };
        let interval_ms = self.supervision_interval_ms;
        let mut untracked = Device::default();
        let is_tracked = self.devices.contains_key(&key) || self.devices.len() < DEVICES_MAX;
        let device = if is_tracked { self.devices.entry(key).or_default() } else { &mut untracked };

        let level_before = device.memory.sos;
        let verdict = device.memory.judge(report, message.retained);
        let mut facts = Vec::new();
        if let Some(raised) = device.memory.sos.filter(|_| device.memory.sos != level_before) {
            facts.push(Fact::AlarmLevel(key, raised));
        }
        device.condition.take(report);
        let stuck = device.is_stuck(now.mono_ms);
        let condition = device.condition;
        let told_name = report.name.map(|name| name.to_string());
        let name = told_name.or_else(|| friendly_name(report.device));

        let mut effects = match verdict {
            Verdict::Press(trigger) => {
                let source_key = report.source_key.map(|source| source.to_string());
                let press = Press {
                    device: key,
                    family: report.family,
                    trigger,
                    source_key: source_key.as_deref(),
                    heard_ms: now.wall_ms,
                    replayed: message.replayed,
                    name: name.as_deref(),
                    battery_percent: condition.battery_percent,
                };
                let source = match &source_key {
                    Some(key) => Some(Source { key: key.clone(), may_repeat: true }),
                    None => redelivery(message),
                };
                let draft = draft(Lane::Urgent, &Event::Press(press), source, facts);
                vec![Effect::Press { draft, device: key, source_key }]
            }
            Verdict::UnknownAlarm { reason } => self.unknown_alarm(now, message, Some(key), reason, facts),
            Verdict::Alive => facts.into_iter().map(Effect::Remember).collect(),
        };
        if let Some(stuck) = stuck {
            let detail = "its sos stays raised: its next press cannot be seen";
            effects.push(fault(key.as_str(), code::DEVICE_STUCK, detail, stuck));
        }
        let device = self.devices.get_mut(&key);
        // A retained message tells how the device was, not that it is alive.
        if !message.retained && device.is_some_and(|device| device.is_due(now.mono_ms, interval_ms)) {
            effects.push(self.supervision(now, key, report.family, name.as_deref()));
        }
        effects
    }

    fn supervision(&self, now: Now, key: DeviceKey, family: Family, name: Option<&str>) -> Effect {
        let mut supervision = Supervision { name, ..Supervision::heard(key, family, now.wall_ms) };
        if let Some(device) = self.devices.get(&key) {
            device.condition.fill(&mut supervision);
        }
        Effect::Append(draft(Lane::Routine, &Event::Supervision(supervision), None, Vec::new()))
    }

    fn availability(&mut self, now: Now, device: DeviceRef<'_>, available: bool) -> Vec<Effect> {
        // Groups and scenes have an availability too: without an address there is no device to tell of.
        let Some(key) = self.key(device) else { return Vec::new() };
        if !self.devices.contains_key(&key) && self.devices.len() >= DEVICES_MAX {
            return Vec::new();
        }
        let known = self.devices.entry(key).or_default();
        if known.condition.available.replace(available) == Some(available) {
            return Vec::new();
        }
        let mut effects = vec![fault(
            key.as_str(),
            code::DEVICE_UNAVAILABLE,
            if available { "the radio server reaches it again" } else { "the radio server cannot reach it" },
            !available,
        )];
        if known.is_due(now.mono_ms, self.supervision_interval_ms) {
            let name = friendly_name(device);
            effects.push(self.supervision(now, key, Family::Zigbee2mqtt, name.as_deref()));
        }
        effects
    }

    fn directory(&mut self, listed: Vec<(String, DeviceKey)>) -> Vec<Effect> {
        let names: HashMap<_, _> = listed.iter().cloned().collect();
        if names == self.names {
            return Vec::new();
        }
        self.names = names;
        let found = |name: &&String| self.names.contains_key(*name);
        let mut effects: Vec<_> = self
            .strangers
            .iter()
            .filter(found)
            .map(|name| fault(name, DEVICE_UNKNOWN, "the radio server's directory names it now", false))
            .collect();
        self.strangers.retain(|name| !self.names.contains_key(name));
        effects.push(Effect::Remember(Fact::Directory(listed)));
        effects
    }

    fn bridge(&mut self, online: bool) -> Vec<Effect> {
        if self.bridge_online.replace(online) == Some(online) {
            return Vec::new();
        }
        let detail = if online { "Zigbee2MQTT runs" } else { "Zigbee2MQTT stopped: no Zigbee device can be heard" };
        vec![fault("zigbee2mqtt", code::BRIDGE_OFFLINE, detail, !online)]
    }

    /// A name that is in no directory. If it may call for help it is an unknown alarm; that it speaks at all is a fault.
    fn stranger(&mut self, now: Now, message: &Message<'_>, report: &Report<'_>) -> Vec<Effect> {
        let reason = "a device whose address is not known: its name is in no directory";
        let calls = device::Memory::default().judge(report, message.retained) != Verdict::Alive;
        let mut effects = if calls { self.unknown_alarm(now, message, None, reason, Vec::new()) } else { Vec::new() };
        let DeviceRef::Name(name) = report.device else { return effects };
        let is_new = !self.strangers.iter().any(|known| known == name);
        if is_new && self.strangers.len() < STRANGERS_MAX {
            self.strangers.push(name.to_owned());
            effects.push(fault(name, DEVICE_UNKNOWN, reason, true));
        }
        effects
    }

    fn unknown_alarm(
        &mut self,
        now: Now,
        message: &Message<'_>,
        device: Option<DeviceKey>,
        reason: &str,
        facts: Vec<Fact>,
    ) -> Vec<Effect> {
        let source = device.as_ref().map_or(message.topic, DeviceKey::as_str).to_owned();
        let surplus = match self.unknown.ask(now.mono_ms, &source) {
            Allowance::Keep => {
                let alarm = UnknownAlarm {
                    source: &source,
                    topic: message.topic,
                    payload: message.payload,
                    truncated: false,
                    reason,
                    heard_ms: now.wall_ms,
                };
                let draft = draft(Lane::Urgent, &Event::UnknownAlarm(alarm), redelivery(message), facts);
                return vec![Effect::Append(draft)];
            }
            Allowance::TooMany => Some(1),
            // Powers of ten keep the fault's number honest without an entry for each.
            Allowance::Counted(count) => is_power_of_ten(count).then_some(count),
        };
        let mut effects: Vec<_> = facts.into_iter().map(Effect::Remember).collect();
        effects.extend(surplus.map(|count| {
            let detail =
                format!("{count} more unknown alarms of this source were counted, not kept; the last: {reason}");
            fault(&source, UNKNOWN_FLOODING, &detail, true)
        }));
        effects
    }

    fn key(&self, device: DeviceRef<'_>) -> Option<DeviceKey> {
        match device {
            DeviceRef::Key(key) => Some(key),
            DeviceRef::Name(name) => self.names.get(name).copied(),
        }
    }
}

/// A fault as an entry.
pub(super) fn fault(source: &str, code: &str, detail: &str, active: bool) -> Effect {
    let event = Event::Fault(Fault { source, code, detail, active });
    Effect::Append(draft(Lane::Routine, &event, None, Vec::new()))
}

fn draft(lane: Lane, event: &Event<'_>, source: Option<Source>, facts: Vec<Fact>) -> Draft {
    Draft { lane, kind: event.kind(), body: crate::event_body(event), source, facts }
}

/// Recognises a message that the broker hands over again, for want of an id of the device's own: by the broker's number and
/// the content. The number alone is used anew for other messages.
fn redelivery(message: &Message<'_>) -> Option<Source> {
    if message.packet_id == 0 {
        return None;
    }
    let digest = Sha256::new().chain_update(message.topic).chain_update([0]).chain_update(message.payload).finalize();
    let digest = crate::fleet::tls::hex(&digest[..12]);
    Some(Source { key: format!("{REDELIVERY}{}/{digest}", message.packet_id), may_repeat: message.redelivered })
}

/// Messages about the radio server itself and its reach: they cannot be calls for help.
fn is_about_radio(topic: &str) -> bool {
    topic.starts_with("zigbee2mqtt/bridge/") || topic.ends_with("/availability")
}

fn friendly_name(device: DeviceRef<'_>) -> Option<String> {
    match device {
        DeviceRef::Name(name) => Some(name.to_owned()),
        DeviceRef::Key(_) => None,
    }
}

fn is_power_of_ten(count: u64) -> bool {
    count.checked_ilog10().is_some_and(|digits| 10_u64.pow(digits) == count)
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
