//! The world of a run: time, the network, and what everybody does on an ordinary day.
//!
//! The first ends are the hub's, one per site; those after them are gateways. For two minutes of virtual time there is
//! trouble; then every end is started and connected, the network is kind, and after five quiet minutes the oracle looks
//! whether everything that villages wrote is where it belongs. Then each line is opened once more, as every line is one day,
//! and after five more minutes the oracle looks at both directions. (Downwards there is no beat: a gateway whose disk was
//! rolled back, and whose last ack from before comes late, learns with the next entry or connection what it has forgotten.)

use std::collections::{BTreeMap, VecDeque};

use tongluo_protocols::event::{Family, Press, Supervision, Trigger};
use tongluo_protocols::id::{DeviceKey, Lane};
use tongluo_protocols::link::SenderConfig;

use super::disk::Disk;
use super::end::{Context, End, Later, Make, Packet};
use super::oracle::Oracle;
use super::random::Random;
use super::{Failure, Mutant, Summary};

/// For how long there is trouble.
const TROUBLE_MS: u64 = 120_000;
/// How long everything then has to settle: many times the longest patience of a sender.
const QUIET_MS: u64 = 600_000;
/// How many of the last events a failure shows.
const TRACE_MAX: usize = 60;

/// What happens at some time.
#[derive(Clone)]
pub(super) enum Event {
    /// An end wanted it to happen, in that life.
    Later { end: usize, life: u32, what: Later },
    /// A packet arrives.
    Deliver { to: usize, packet: Packet },
    /// Somebody presses, something is measured, an order is given.
    Write { end: usize },
    /// An end comes back after a crash.
    Start { end: usize },
    /// A gateway's line is whole again.
    Connect { end: usize },
    /// Something goes wrong.
    Misfortune,
    /// Trouble is over.
    Heal,
    /// Every line is opened anew.
    Reopen,
}

/// How bad the network is in this run.
struct Weather {
    drop_per_mille: u64,
    repeat_per_mille: u64,
    late_per_mille: u64,
    late_ms_max: u64,
    misfortune_ms: u64,
}

pub(super) struct World {
    seed: u64,
    pub(super) mutant: Option<Mutant>,
    pub(super) random: Random,
    now_ms: u64,
    agenda: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    pub(super) ends: Vec<End>,
    pub(super) sites: usize,
    /// Gateways that were replaced and never start again.
    pub(super) retired: Vec<usize>,
    pub(super) snapshots: BTreeMap<usize, Disk>,
    pub(super) backup: Option<Vec<Disk>>,
    weather: Weather,
    is_calm: bool,
    contents: u64,
    pub(super) oracle: Oracle,
    summary: Summary,
    trace: Option<VecDeque<String>>,
}

impl World {
    pub(super) fn new(seed: u64, mutant: Option<Mutant>, traced: bool) -> Self {
        let mut random = Random::new(seed);
        let sites = random.between(1, 2) as usize;
        let weather = Weather {
            drop_per_mille: random.below(200),
            repeat_per_mille: random.below(150),
            late_per_mille: random.below(200),
            late_ms_max: random.between(50, 8_000),
            misfortune_ms: random.between(2_000, 15_000),
        };
        let windows = [2, 16, 512];
        let config = SenderConfig {
            urgent_window_entries: random.pick(&windows).expect("there are windows"),
            ..SenderConfig::default()
        };
        let mut make = |is_hub, site| Make {
            site,
            is_hub,
            config,
            batch_bytes: random.between(200, 2_000) as usize,
            bytes_per_ms: random.between(5, 200),
            reads_fail: random.chance(300),
        };
        let makes: Vec<_> = (0..sites * 2).map(|index| make(index < sites, index % sites)).collect();
        let ends = makes.into_iter().map(|make| End::new(make, Disk::default())).collect();
        Self {
            seed,
            mutant,
            random,
            now_ms: 0,
            agenda: BTreeMap::new(),
            scheduled: 0,
            ends,
            sites,
            retired: Vec::new(),
            snapshots: BTreeMap::new(),
            backup: None,
            weather,
            is_calm: false,
            contents: 0,
            oracle: Oracle::default(),
            summary: Summary::default(),
            trace: traced.then(VecDeque::new),
        }
    }

    /// Lives the run through.
    pub(super) fn live(mut self) -> Result<Summary, Box<Failure>> {
        for end in 0..self.ends.len() {
            self.after(end as u64, Event::Start { end });
            self.after(50, Event::Write { end });
        }
        self.after(self.weather.misfortune_ms, Event::Misfortune);
        self.after(TROUBLE_MS, Event::Heal);
        self.after(TROUBLE_MS + QUIET_MS / 2, Event::Reopen);
        while let Some(((at_ms, _), event)) = self.agenda.pop_first() {
            self.now_ms = at_ms;
            if at_ms > TROUBLE_MS + QUIET_MS {
                break;
            }
            self.summary.events += 1;
            self.note(&event);
            self.happen(event);
            if self.oracle.violation().is_some() {
                return Err(self.failure());
            }
        }
        let mut summary = self.summary;
        self.look_up(&mut summary);
        self.look_down(&mut summary);
        match self.oracle.violation() {
            Some(_) => Err(self.failure()),
            None => Ok(summary),
        }
    }

    fn failure(self) -> Box<Failure> {
        let violation = self.oracle.violation().cloned().unwrap_or_default();
        Box::new(Failure { seed: self.seed, violation, trace: self.trace.unwrap_or_default().into() })
    }

    fn note(&mut self, event: &Event) {
        let Some(trace) = &mut self.trace else { return };
        let is_beat = match event {
            Event::Later { what, .. } => *what == Later::Beat,
            Event::Deliver { packet, .. } => matches!(packet, Packet::Beat(_)),
            _ => false,
        };
        if is_beat {
            return;
        }
        let text = match event {
            Event::Later { end, what, .. } => format!("{what:?} at {}", name(self.sites, *end)),
            Event::Deliver { to, packet } => {
                let what = match packet {
                    Packet::Batch(bytes) => format!("{} bytes of batch", bytes.len()),
                    Packet::Ack(bytes) => format!("{:?}", tongluo_protocols::link::Ack::parse(bytes)),
                    Packet::Beat(_) => "a beat".to_owned(),
                };
                format!("{what} arrives at {}", name(self.sites, *to))
            }
            Event::Write { end } => format!("something to write at {}", name(self.sites, *end)),
            Event::Start { end } => format!("{} starts", name(self.sites, *end)),
            Event::Connect { end } => format!("{} connects", name(self.sites, *end)),
            Event::Misfortune => "misfortune".to_owned(),
            Event::Heal => "trouble is over".to_owned(),
            Event::Reopen => "every line is opened anew".to_owned(),
        };
        trace.push_back(format!("{:>9.3} s  {text}", self.now_ms as f64 / 1_000.0));
        if trace.len() > TRACE_MAX {
            trace.pop_front();
        }
    }

    pub(super) fn after(&mut self, pause_ms: u64, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((self.now_ms + pause_ms, self.scheduled), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Later { end, life, what } => {
                if self.ends[end].life == life {
                    self.with(end, |end, context| end.happen(context, what));
                }
            }
            Event::Deliver { to, packet } => {
                if self.ends[to].is_up && self.ends[to].is_connected {
                    self.with(to, |end, context| end.receive(context, packet));
                }
            }
            Event::Write { end } => self.write(end),
            Event::Start { end } => self.start(end),
            Event::Connect { end } => self.connect(end),
            Event::Misfortune if !self.is_calm => {
                self.summary.misfortunes += 1;
                self.misfortune();
                let pause_ms = self.random.between(1, self.weather.misfortune_ms * 2);
                self.after(pause_ms, Event::Misfortune);
            }
            Event::Misfortune => {}
            Event::Heal => self.heal(),
            Event::Reopen => {
                self.look_up(&mut Summary::default());
                self.reopen();
            }
        }
    }

    /// Lets an end do something, then puts what it wants on the agenda and what it says on the network.
    pub(super) fn with(&mut self, index: usize, act: impl FnOnce(&mut End, &mut Context<'_>)) {
        let mut context = Context {
            now_ms: self.now_ms,
            mutant: self.mutant,
            random: &mut self.random,
            oracle: &mut self.oracle,
            later: Vec::new(),
            out: Vec::new(),
        };
        act(&mut self.ends[index], &mut context);
        let Context { later, out, .. } = context;
        let life = self.ends[index].life;
        for (pause_ms, what) in later {
            self.after(pause_ms, Event::Later { end: index, life, what });
        }
        for packet in out {
            if let Packet::Ack(bytes) = &packet {
                self.oracle.check_ack(bytes, &self.ends[index].disk.ledger);
            }
            self.transmit(index, &packet);
        }
    }

    /// The gateways of a site, from its hub; its hub, from a gateway.
    pub(super) fn others(&self, index: usize) -> Vec<usize> {
        let Make { site, is_hub, .. } = self.ends[index].make;
        if !is_hub {
            return vec![site];
        }
        (self.sites..self.ends.len()).filter(|gateway| self.ends[*gateway].make.site == site).collect()
    }

    fn transmit(&mut self, from: usize, packet: &Packet) {
        for to in self.others(from) {
            let gateway = from.max(to);
            if !self.ends[gateway].is_connected || self.random.chance(self.weather.drop_per_mille) {
                continue;
            }
            let copies = 1 + u64::from(self.random.chance(self.weather.repeat_per_mille));
            for _ in 0..copies {
                let is_late = self.random.chance(self.weather.late_per_mille);
                let pause_ms = self.random.between(3, if is_late { self.weather.late_ms_max } else { 30 });
                self.after(pause_ms, Event::Deliver { to, packet: packet.clone() });
            }
        }
    }

    fn write(&mut self, index: usize) {
        if self.is_calm || self.retired.contains(&index) {
            return;
        }
        let pause_ms = self.random.between(20, 1_500);
        self.after(pause_ms, Event::Write { end: index });
        if !self.ends[index].is_up {
            return;
        }
        // Now and then many at once: a storm, or a gateway that has much to tell.
        let count = if self.random.chance(30) { 40 } else { 1 };
        let urgent_per_mille = if self.random.chance(100) { 900 } else { 300 };
        for _ in 0..count {
            self.contents += 1;
            let content = self.contents;
            let lane = if self.random.chance(urgent_per_mille) { Lane::Urgent } else { Lane::Routine };
            let body = body(content, lane, self.random.chance(20));
            self.with(index, |end, context| end.write(context, content, lane, body));
        }
    }

    fn start(&mut self, index: usize) {
        if self.ends[index].is_up || self.retired.contains(&index) {
            return;
        }
        self.with(index, End::start);
        if self.ends[index].make.is_hub {
            // It hears from each gateway that is on line.
            if self.others(index).into_iter().any(|gateway| self.ends[gateway].is_connected) {
                self.with(index, End::connect);
            }
        } else {
            self.connect(index);
        }
    }

    pub(super) fn connect(&mut self, gateway: usize) {
        let hub = self.ends[gateway].make.site;
        if !self.ends[gateway].is_up || self.ends[gateway].is_connected {
            return;
        }
        self.with(gateway, End::connect);
        if self.ends[hub].is_up {
            self.with(hub, End::connect);
        }
    }

    fn heal(&mut self) {
        self.is_calm = true;
        self.weather =
            Weather { drop_per_mille: 0, repeat_per_mille: 0, late_per_mille: 0, late_ms_max: 0, misfortune_ms: 0 };
        for index in 0..self.ends.len() {
            self.ends[index].make.reads_fail = false;
            self.start(index);
        }
        for gateway in self.living_gateways() {
            self.connect(gateway);
        }
    }

    fn reopen(&mut self) {
        for gateway in self.living_gateways() {
            self.with(gateway, End::disconnect);
            self.connect(gateway);
        }
    }

    /// Gateways that are not thrown away.
    pub(super) fn living_gateways(&self) -> Vec<usize> {
        (self.sites..self.ends.len()).filter(|end| !self.retired.contains(end)).collect()
    }

    /// Looks whether everything that villages wrote is where it belongs.
    fn look_up(&mut self, summary: &mut Summary) {
        for site in 0..self.sites {
            let gateways = self.living_gateways().into_iter().filter(|gateway| self.ends[*gateway].make.site == site);
            let disks: Vec<_> = gateways.map(|gateway| &self.ends[gateway].disk).collect();
            self.oracle.check_end((site, false), &disks, &self.ends[site].disk.ledger, summary);
        }
    }

    /// Looks whether everything that the county wrote is where it belongs.
    fn look_down(&mut self, summary: &mut Summary) {
        for gateway in self.living_gateways() {
            let site = self.ends[gateway].make.site;
            let ledger = &self.ends[gateway].disk.ledger;
            if self.oracle.is_cloned(site) {
                // Two receivers answer one sender: each has everything once, and not always everything.
                self.oracle.check_ledger((site, true), ledger);
            } else {
                self.oracle.check_end((site, true), &[&self.ends[site].disk], ledger, summary);
            }
        }
    }
}

fn name(sites: usize, end: usize) -> String {
    if end < sites { format!("hub for site {end}") } else { format!("gateway {end}") }
}

/// The body of an entry: an event of the kind that its lane carries, or now and then garbage, which travels as well.
fn body(content: u64, lane: Lane, is_garbage: bool) -> Vec<u8> {
    let device = DeviceKey::zigbee(content);
    let mut buffer = vec![0; 256];
    let length = match lane {
        _ if is_garbage => {
            buffer[..8].copy_from_slice(&(!content).to_be_bytes());
            Ok(8)
        }
        Lane::Routine => Supervision::heard(device, Family::Zigbee2mqtt, 0).emit(&mut buffer),
        Lane::Urgent => Press {
            device,
            family: Family::Zigbee2mqtt,
            trigger: Trigger::Sos,
            source_key: None,
            heard_ms: 0,
            replayed: false,
            name: None,
            battery_percent: None,
        }
        .emit(&mut buffer),
    };
    buffer.truncate(length.expect("the buffer holds a short event"));
    buffer
}
