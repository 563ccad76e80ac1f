//! Batches on real databases: taken once, in order, whatever the network and the entries are like.

use bytes::Bytes;
use sqlx::Row;
use tongluo_protocols::event::{Event, Family, Press, Trigger};
use tongluo_protocols::id::{BootId, DeviceKey, Epoch, Lane, StreamKey};
use tongluo_protocols::link::{Ack, BATCH_BYTES_MAX, BatchWriter, EntryView};

use super::poison::take_all;
use super::take::{Application, Incoming, Lateness, Taken};
use crate::ids::SiteId;
use crate::store::testing::{add_site, each_store};
use crate::store::{Store, StoreKind};

const KEY: StreamKey = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(7) };

/// A press by the device with this address.
fn press_body(address: u64, name: &str) -> Vec<u8> {
    let press = Press {
        device: DeviceKey::zigbee(address),
        family: Family::Zigbee2mqtt,
        trigger: Trigger::Sos,
        source_key: None,
        heard_ms: 1_000,
        replayed: false,
        name: Some(name),
        battery_percent: Some(90),
    };
    let mut buffer = [0; 1_024];
    let length = Event::Press(press).emit(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// A batch of entries with these numbers, kinds and bodies.
fn batch(site_id: &SiteId, oldest: u64, head: u64, entries: &[(u64, u16, &[u8])]) -> Incoming {
    let mut buffer = [0; BATCH_BYTES_MAX];
    let mut writer = BatchWriter::new(&mut buffer, KEY, oldest, head).unwrap();
    for (sequence, kind, body) in entries {
        let entry = EntryView {
            sequence: *sequence,
            boot_id: BootId::from_random(1),
            wall_ms: 1_000,
            mono_ms: 10,
            kind: *kind,
            body,
        };
        assert!(writer.push(&entry).unwrap());
    }
    let payload = Bytes::copy_from_slice(writer.finish());
    Incoming { site_id: site_id.clone(), payload, entries_max: usize::MAX, application: Application::Whole }
}

async fn take(store: &Store, incoming: Vec<Incoming>) -> Taken {
    take_all(store, &Lateness::new(60_000), incoming).await.unwrap()
}

async fn count(store: &Store, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(store.reader()).await.unwrap()
}

fn ack(committed: u64, gap: bool) -> Ack {
    Ack { key: KEY, committed, gap }
}

#[tokio::test]
async fn repeats_and_gaps_take_each_entry_once() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        let body = press_body(1, "老人床头");
        let entries: Vec<(u64, u16, &[u8])> =
            (1..=5).map(|sequence| (sequence, Press::KIND, body.as_slice())).collect();
        let first = batch(&site, 1, 5, &entries[..3]);
        let taken = take(&store, vec![first.clone(), first.clone()]).await;
        assert_eq!(taken.acks, [(site.clone(), ack(3, false)), (site.clone(), ack(3, false))]);
        assert_eq!(take(&store, vec![batch(&site, 1, 5, &entries[4..])]).await.acks, [(site.clone(), ack(3, true))]);
        assert_eq!(take(&store, vec![batch(&site, 1, 5, &entries[1..])]).await.acks, [(site.clone(), ack(5, false))]);
        assert_eq!(count(&store, "select count(*) from entry").await, 5);
        assert_eq!(count(&store, "select count(*) from press").await, 5);
        assert_eq!(count(&store, "select presses from alarm").await, 5);
        assert_eq!(count(&store, "select count(*) from alarm").await, 1);
        assert_eq!(count(&store, "select count(*) from device").await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_the_sender_no_longer_holds_is_lost_and_said_so() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        let body = press_body(1, "a");
        let taken = take(&store, vec![batch(&site, 4, 4, &[(4, Press::KIND, &body)])]).await;
        assert_eq!(taken.acks, [(site, ack(4, false))]);
        let lost = sqlx::query("select from_sequence, to_sequence from lost").fetch_one(store.reader()).await.unwrap();
        assert_eq!((lost.get::<i64, _>(0), lost.get::<i64, _>(1)), (1, 3));
        let detail: String = sqlx::query_scalar("select detail from fault where code = 'journal.lost'")
            .fetch_one(store.reader())
            .await
            .unwrap();
        assert!(detail.starts_with("3 urgent entries are gone"), "{detail}");
    })
    .await;
}

#[tokio::test]
async fn entries_that_nobody_understands_are_kept_and_shown() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        let entries: [(u64, u16, &[u8]); 3] = [(1, Press::KIND, b"garbage"), (2, 999, b"\xa0"), (3, Press::KIND, b"")];
        let taken = take(&store, vec![batch(&site, 1, 3, &entries)]).await;
        assert_eq!(taken.acks, [(site, ack(3, false))], "nothing blocks a lane");
        assert_eq!(count(&store, "select count(*) from entry where flag = 'unreadable'").await, 2);
        assert_eq!(count(&store, "select count(*) from entry where flag = 'unknown_kind'").await, 1);
        assert_eq!(count(&store, "select presses from alarm where kind = 'unknown'").await, 2, "they may be alarms");
        assert_eq!(count(&store, "select count(*) from fault where state = 'open'").await, 2);
    })
    .await;
}

#[tokio::test]
async fn one_poisoned_entry_harms_neither_its_neighbours_nor_other_sites() {
    each_store(async |store| {
        let (bad, good) = (add_site(&store, "bad").await, add_site(&store, "good").await);
        refuse_device_named_poison(&store).await;
        let (fine, poison) = (press_body(1, "fine"), press_body(2, "poison"));
        let entries: [(u64, u16, &[u8]); 3] =
            [(1, Press::KIND, &fine), (2, Press::KIND, &poison), (3, Press::KIND, &fine)];
        let taken = take(&store, vec![batch(&good, 1, 1, &entries[..1]), batch(&bad, 1, 3, &entries)]).await;
        assert!(taken.acks.contains(&(good, ack(1, false))));
        assert!(taken.acks.contains(&(bad, ack(3, false))));
        assert_eq!(count(&store, "select count(*) from entry").await, 4);
        assert_eq!(count(&store, "select count(*) from entry where flag = 'inapplicable' and sequence = 2").await, 1);
        assert_eq!(count(&store, "select count(*) from alarm where kind = 'unknown'").await, 1, "it was a press");
        assert_eq!(count(&store, "select presses from alarm where site_id = 'bad' and kind = 'sos'").await, 2);
    })
    .await;
}

/// Makes one kind of entry impossible to apply, as a mistake in a rule or a table would.
async fn refuse_device_named_poison(store: &Store) {
    let sql = match store.kind() {
        StoreKind::Sqlite => {
            "create trigger poison before insert on device when new.reported_name = 'poison' \
             begin select raise(abort, 'poison'); end"
        }
        StoreKind::Postgres => "alter table device add constraint poison check (reported_name <> 'poison')",
    };
    let mut transaction = store.begin().await.unwrap();
    sqlx::query(sql).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_press_of_another_hour_is_late() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        let body = press_body(1, "a");
        // Heard at one second after 1970 by its own clock: long ago.
        take(&store, vec![batch(&site, 1, 1, &[(1, Press::KIND, &body)])]).await;
        assert_eq!(count(&store, "select late from alarm").await, 1);
        // The heartbeat tells how old the entry really is, whatever the gateway's clock says.
        let mut lateness = Lateness::new(60_000);
        lateness.learn(&site, 1, 500, crate::clock::utc_ms());
        take_all(&store, &lateness, vec![batch(&site, 1, 2, &[(2, Press::KIND, &press_body(2, "b"))])]).await.unwrap();
        assert_eq!(count(&store, "select late from alarm where source like '%2'").await, 0);
    })
    .await;
}
