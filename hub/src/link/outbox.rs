//! The hub's own journals, one for each site: what gateways are told, and kept until they have it.
//!
//! It is the link the other way round. [`Outbox::append`] writes an entry inside its caller's transaction, so that an order
//! exists exactly if what it orders was decided; after the commit the caller calls [`Outbox::wake`], and `down.rs` sends. The
//! epoch is drawn when the hub starts: what a former run wrote and a gateway did not commit is sent under its own epoch,
//! and the gateway's watermark for that epoch keeps it from being carried out twice.
//!
//! News for the sending task (a gateway was heard, was lost, has acknowledged, has something to get) waits in a mailbox that
//! holds one slip per site, so it is bounded by the county and nobody who posts has to wait.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sqlx::AnyConnection;
use tokio::sync::Notify;
use tongluo_protocols::id::{BootId, Epoch, Lane, StreamKey};
use tongluo_protocols::link::{Ack, ENTRY_BODY_BYTES_MAX};
use tongluo_protocols::order::Nonce;

use super::outbox_store as store;
use crate::clock;
use crate::ids::SiteId;
use crate::store::Store;

/// Acknowledgements of one site that wait. They are cumulative, so the newest are enough.
const ACKS_MAX: usize = 16;

/// Where orders are left for gateways. Clones share it.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    epoch: Epoch,
    boot_id: BootId,
    started: std::time::Instant,
    mail: Mutex<Mail>,
    posted: Notify,
    questioned: Notify,
}

#[derive(Debug, Default)]
struct Mail {
    /// Sites that listen: something was heard from them on their present connection.
    listening: HashSet<SiteId>,
    slips: HashMap<SiteId, Slip>,
    /// What gateways asked and was not answered yet.
    questions: HashMap<SiteId, Nonce>,
    /// What each asked last: a heartbeat repeats the question until its answer has come.
    asked: HashMap<SiteId, Nonce>,
}

/// What has happened to one site since its slip was last taken, in this order.
#[derive(Debug, Default)]
pub(super) struct Slip {
    /// Its connection ended, or was taken over by another.
    pub(super) lost: bool,
    /// It was heard for the first time on its present connection.
    pub(super) heard: bool,
    /// Something was appended for it.
    pub(super) woken: bool,
    /// What it acknowledged.
    pub(super) acks: Vec<Ack>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbox {
    /// The outbox of this run of the hub.
    ///
    /// # Panics
    /// The operating system has no randomness to give; a guessed epoch could repeat one.
    pub fn new() -> Self {
        let random = || getrandom::u64().expect("the operating system gives randomness");
        Self(Arc::new(Shared {
            epoch: Epoch::from_random(random()),
            boot_id: BootId::from_random(random()),
            started: clock::instant(),
            mail: Mutex::default(),
            posted: Notify::new(),
            questioned: Notify::new(),
        }))
    }

    /// Appends an entry to a site's journal, inside the caller's transaction. It is sent after the commit, at the next
    /// [`Outbox::wake`] or when the gateway connects.
    ///
    /// # Errors
    /// The database's. A site that does not exist is one.
    ///
    /// # Panics
    /// The body is longer than an entry's may be, which is the caller's mistake.
    pub async fn append(
        &self,
        connection: &mut AnyConnection,
        now_ms: i64,
        site: &SiteId,
        lane: Lane,
        kind: u16,
        body: &[u8],
    ) -> Result<(), sqlx::Error> {
        assert!(body.len() <= ENTRY_BODY_BYTES_MAX, "an entry's body has at most {ENTRY_BODY_BYTES_MAX} bytes");
        let key = StreamKey { lane, epoch: self.0.epoch };
        let mono_ms = i64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let sequence = store::next_sequence(connection, now_ms, site, key).await?;
        store::insert_entry(connection, site, key, sequence, (now_ms, mono_ms), kind, body).await
    }

    /// Has what was appended for a site sent, after the commit.
    pub fn wake(&self, site: &SiteId) {
        self.post(site, |slip| slip.woken = true);
    }

    /// This run of the hub, as entries name it.
    pub(super) fn boot_id(&self) -> BootId {
        self.0.boot_id
    }

    /// The site's connection ended or was taken over by a new one.
    pub(super) fn lost(&self, site: &SiteId) {
        self.mail().listening.remove(site);
        self.post(site, |slip| *slip = Slip { lost: true, woken: slip.woken, ..Slip::default() });
    }

    /// The site said something. The first time on a connection means that it listens: gateways subscribe before they speak.
    pub(super) fn heard(&self, site: &SiteId) {
        if self.mail().listening.contains(site) {
            return;
        }
        self.mail().listening.insert(site.clone());
        self.post(site, |slip| slip.heard = true);
    }

    /// The site acknowledged, if these bytes say so.
    ///
    /// # Errors
    /// They do not.
    pub(super) fn acked(&self, site: &SiteId, payload: &Bytes) -> Result<(), tongluo_protocols::Error> {
        let ack = Ack::parse(payload)?;
        self.post(site, |slip| {
            if slip.acks.len() == ACKS_MAX {
                slip.acks.remove(0);
            }
            slip.acks.push(ack);
        });
        Ok(())
    }

    /// The site asks what time it is.
    pub(super) fn asked(&self, site: &SiteId, nonce: Nonce) {
        let mut mail = self.mail();
        if mail.asked.insert(site.clone(), nonce) != Some(nonce) {
            mail.questions.insert(site.clone(), nonce);
            self.0.questioned.notify_one();
        }
    }

    /// Who asks what time it is, once somebody does. The newest question of each.
    pub async fn questions(&self) -> HashMap<SiteId, Nonce> {
        loop {
            let questioned = self.0.questioned.notified();
            let questions = std::mem::take(&mut self.mail().questions);
            if !questions.is_empty() {
                return questions;
            }
            questioned.await;
        }
    }

    /// Whether something in this lane waits for the site.
    ///
    /// # Errors
    /// The database's.
    pub async fn waits(&self, connection: &mut AnyConnection, site: &SiteId, lane: Lane) -> Result<bool, sqlx::Error> {
        store::waits(connection, site, lane).await
    }

    /// All slips, once there are any.
    pub(super) async fn slips(&self) -> HashMap<SiteId, Slip> {
        loop {
            let posted = self.0.posted.notified();
            let slips = std::mem::take(&mut self.mail().slips);
            if !slips.is_empty() {
                return slips;
            }
            posted.await;
        }
    }

    /// Whether the site has been heard on its present connection.
    pub(super) fn is_listening(&self, site: &SiteId) -> bool {
        self.mail().listening.contains(site)
    }

    /// How many gateways listen.
    pub fn listening(&self) -> usize {
        self.mail().listening.len()
    }

    /// How many entries wait for their gateways.
    ///
    /// # Errors
    /// The database's.
    pub async fn waiting(&self, from: &Store) -> Result<i64, sqlx::Error> {
        store::waiting(&mut *from.reader().acquire().await?).await
    }

    fn post(&self, site: &SiteId, write: impl FnOnce(&mut Slip)) {
        write(self.mail().slips.entry(site.clone()).or_default());
        self.0.posted.notify_one();
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.0.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slip_tells_what_happened_in_its_order() {
        let (outbox, site) = (Outbox::new(), SiteId::from_known("s"));
        outbox.heard(&site);
        outbox.wake(&site);
        outbox.lost(&site);
        let slip = outbox.slips().await.remove(&site).unwrap();
        assert!(slip.lost && slip.woken && !slip.heard, "what was heard before the loss is of no use: {slip:?}");
        outbox.heard(&site);
        outbox.heard(&site);
        assert!(outbox.slips().await[&site].heard, "it listens again");
        outbox.heard(&site);
        assert_eq!(outbox.mail().slips.len(), 0, "a beat of a gateway that listens is no news");
    }

    #[tokio::test]
    async fn a_question_is_answered_once_however_often_it_is_heard() {
        let (outbox, site) = (Outbox::new(), SiteId::from_known("s"));
        outbox.asked(&site, Nonce([1; 16]));
        outbox.asked(&site, Nonce([1; 16]));
        outbox.asked(&site, Nonce([2; 16]));
        assert_eq!(outbox.questions().await[&site], Nonce([2; 16]));
        outbox.asked(&site, Nonce([2; 16]));
        assert!(outbox.mail().questions.is_empty());
    }

    #[tokio::test]
    async fn acknowledgements_are_bounded_and_the_newest_stay() {
        let (outbox, site) = (Outbox::new(), SiteId::from_known("s"));
        let key = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(1) };
        for committed in 0..100 {
            let mut buffer = [0; Ack::BYTES_MAX];
            let length = Ack { key, committed, gap: false }.emit(&mut buffer).unwrap();
            outbox.acked(&site, &Bytes::copy_from_slice(&buffer[..length])).unwrap();
        }
        let slip = outbox.slips().await.remove(&site).unwrap();
        assert_eq!(slip.acks.len(), ACKS_MAX);
        assert_eq!(slip.acks.last().unwrap().committed, 99);
        assert!(outbox.acked(&site, &Bytes::from_static(b"nonsense")).is_err());
    }
}
