//! What goes wrong in a village: cuts, crashes, lost and copied disks, backups put back, journals that run full.

use tongluo_protocols::id::Lane;

use super::Mutant;
use super::disk::Disk;
use super::end::End;
use super::world::{Event, World};

impl World {
    /// One misfortune, by chance.
    pub(super) fn misfortune(&mut self) {
        let living = self.living_gateways();
        let gateway = self.random.pick(&living).expect("no site is ever without a gateway");
        match self.random.below(20) {
            0..=4 => self.cut(gateway),
            5..=7 => self.crash(gateway),
            8..=9 => self.crash_hub(),
            10..=12 => drop(self.snapshots.insert(gateway, self.ends[gateway].disk.clone())),
            13 => {
                if let Some(disk) = self.snapshots.get(&gateway).cloned() {
                    self.put_back(gateway, disk);
                }
            }
            14 => self.backup = Some((0..self.sites).map(|hub| self.ends[hub].disk.clone()).collect()),
            15 => self.restore_hub(),
            16 => self.clone_gateway(gateway),
            17 if self.random.chance(300) => self.put_back(gateway, Disk::default()),
            17 | 18 => {
                let end = self.random.below(self.ends.len() as u64) as usize;
                self.trim(end);
            }
            _ => self.thin(gateway),
        }
    }

    fn cut(&mut self, gateway: usize) {
        if !self.ends[gateway].is_connected {
            return;
        }
        self.with(gateway, End::disconnect);
        let hub = self.ends[gateway].make.site;
        let last = !self.others(hub).into_iter().any(|other| self.ends[other].is_connected);
        // The hub may never hear of it.
        if last && self.ends[hub].is_up && self.random.chance(700) {
            self.with(hub, End::disconnect);
        }
        let pause_ms = self.random.between(200, 30_000);
        self.after(pause_ms, Event::Connect { end: gateway });
    }

    fn crash(&mut self, index: usize) {
        if !self.ends[index].make.is_hub {
            self.ends[index].is_connected = false;
        }
        self.ends[index].crash();
        let pause_ms = self.random.between(100, 15_000);
        self.after(pause_ms, Event::Start { end: index });
    }

    fn crash_hub(&mut self) {
        // With its own broker every line falls with it; with a broker from outside no gateway notices.
        let has_own_broker = self.random.chance(500);
        for index in 0..self.ends.len() {
            if self.ends[index].make.is_hub {
                self.crash(index);
            } else if has_own_broker {
                self.cut(index);
            }
        }
    }

    /// A gateway comes back with another disk: an older one, or a new one.
    fn put_back(&mut self, gateway: usize, disk: Disk) {
        self.crash(gateway);
        let direction = self.ends[gateway].direction();
        self.oracle.destroyed(direction);
        self.ends[gateway].disk = disk;
    }

    fn restore_hub(&mut self) {
        let Some(backup) = self.backup.clone() else { return };
        self.crash_hub();
        for (hub, disk) in backup.into_iter().enumerate() {
            let (site, _) = self.ends[hub].direction();
            self.oracle.check_ledger((site, false), &self.ends[hub].disk.ledger);
            self.oracle.destroyed((site, true));
            self.ends[hub].disk = disk;
        }
    }

    /// The image of a gateway's disk starts on a second box; perhaps the first one is thrown away.
    fn clone_gateway(&mut self, gateway: usize) {
        let site = self.ends[gateway].make.site;
        if self.oracle.is_cloned(site) {
            return;
        }
        self.oracle.cloned(site);
        let image = self.snapshots.get(&gateway).unwrap_or(&self.ends[gateway].disk).clone();
        let clone = self.ends.len();
        self.ends.push(End::new(self.ends[gateway].make.clone(), image));
        self.after(500, Event::Start { end: clone });
        self.after(600, Event::Write { end: clone });
        if self.random.chance(500) {
            self.crash(gateway);
            self.retired.push(gateway);
            self.oracle.destroyed((site, false));
        }
    }

    /// Storage drops what was acked and kept for a while; and streams of earlier lives that are empty then.
    fn trim(&mut self, index: usize) {
        if !self.ends[index].is_up {
            return;
        }
        let mut trimmed = Vec::new();
        for at in 0..self.ends[index].disk.journal.streams.len() {
            let stream = &mut self.ends[index].disk.journal.streams[at];
            let mut limit = stream.acked;
            if self.mutant == Some(Mutant::UrgentTrimmed) && stream.state.key.lane == Lane::Urgent {
                limit = stream.state.head;
            }
            stream.trim(self.random.between(0, limit) + 1);
            trimmed.push(stream.state.key);
        }
        let end = &mut self.ends[index];
        let present: Vec<_> = trimmed.iter().map(|key| end.is_present(*key)).collect();
        end.disk.journal.streams.retain(|stream| {
            let is_present = trimmed.iter().zip(&present).any(|(key, present)| *present && *key == stream.state.key);
            is_present || !stream.is_empty() || stream.acked < stream.state.head
        });
        for key in trimmed {
            self.with(index, |end, context| end.trimmed(context, key));
        }
    }

    /// The journal is full: routine entries go, acked or not.
    fn thin(&mut self, gateway: usize) {
        if !self.ends[gateway].is_up {
            return;
        }
        let Some(key) = self.ends[gateway].disk.journal.last_of(Lane::Routine) else { return };
        let stream = self.ends[gateway].disk.journal.find_mut(key).expect("the stream was found");
        stream.trim(self.random.between(stream.state.oldest, stream.state.head + 1));
        self.with(gateway, |end, context| end.trimmed(context, key));
    }
}
