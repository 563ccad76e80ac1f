//! Presses and people on real databases.

use std::sync::Arc;

use axum::Router;
use serde_json::{Value, json};
use tongluo_protocols::id::Lane;
use tongluo_protocols::order::{AlarmState as Told, Body, SignedOrder};

use super::machine::{AlarmKind, CloseReason};
use super::view::{self, AlarmView};
use super::{HeardPress, Names, store, take_presses};
use crate::fleet::Authority;
use crate::ids::SiteId;
use crate::link::Outbox;
use crate::live::{self, Draft, Live};
use crate::order::Orders;
use crate::store::testing::{VILLAGE, add_site, each_store, region};
use crate::store::{Store, Writes};
use crate::viewer::Role;
use crate::viewer::testing::{Answer, as_somebody, ask, viewer};

fn press(site_id: &SiteId, source: &str, number: u64) -> HeardPress {
    HeardPress {
        site_id: site_id.clone(),
        region: region(VILLAGE),
        press_id: format!("{:016x}-{number}", 1),
        source: source.to_owned(),
        device_id: None,
        kind: AlarmKind::Sos,
        trigger: "sos".to_owned(),
        source_key: None,
        occurred_ms: 1_000,
        late: false,
        names: Names { site_name: "村部".to_owned(), ..Names::default() },
    }
}

async fn take(store: &Store, now_ms: i64, presses: &[HeardPress]) -> Vec<Draft> {
    try_take(store, now_ms, presses).await.unwrap()
}

async fn try_take(store: &Store, now_ms: i64, presses: &[HeardPress]) -> Result<Vec<Draft>, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let mut writes = Writes::new(&transaction);
    let drafts = take_presses(&mut transaction, now_ms, presses, &mut writes).await?;
    live::append_with(&mut writes, now_ms, &drafts);
    writes.run(&mut transaction).await?;
    transaction.commit().await?;
    Ok(drafts)
}

async fn open(store: &Store) -> Vec<AlarmView> {
    let mut connection = store.reader().acquire().await.unwrap();
    view::open(&mut connection, &region("411728")).await.unwrap()
}

#[tokio::test]
async fn many_presses_of_one_source_are_one_alarm() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        take(&store, 2_000, &[press(&site, "zigbee:a", 1), press(&site, "zigbee:b", 2), press(&site, "zigbee:a", 3)])
            .await;
        let drafts = take(&store, 3_000, &[press(&site, "zigbee:a", 4)]).await;
        assert_eq!(drafts.len(), 1, "one changed alarm, one change");
        let alarms = open(&store).await;
        assert_eq!(alarms.len(), 2);
        let first = alarms.iter().find(|alarm| alarm.source == "zigbee:a").unwrap();
        assert_eq!((first.presses, first.raised_ms, first.last_press_ms), (3, 2_000, 3_000));
        assert_eq!(first.region_path.len(), 3, "county, township, village");
        let mut connection = store.reader().acquire().await.unwrap();
        let lines: Vec<_> = view::timeline(&mut connection, &first.id).await.unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(view::presses(&mut connection, &first.id).await.unwrap().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn what_the_change_log_says_is_what_a_page_reads() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        let names = {
            take(&store, 1_000, &[press(&site, "zigbee:b", 1)]).await;
            let known = open(&store).await.remove(0);
            Names { site_name: known.site_name, region_path: known.region_path, ..Names::default() }
        };
        for number in 2..=4 {
            let press = HeardPress { names: names.clone(), late: number == 3, ..press(&site, "zigbee:a", number) };
            let told = take(&store, 2_000 + number as i64, &[press]).await.remove(0);
            let read = open(&store).await.into_iter().find(|alarm| alarm.source == "zigbee:a").unwrap();
            assert_eq!(told.body, serde_json::to_value(&read).unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn a_press_id_cannot_be_taken_twice() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        take(&store, 2_000, &[press(&site, "zigbee:a", 1)]).await;
        assert!(try_take(&store, 3_000, &[press(&site, "zigbee:a", 1)]).await.is_err());
        assert_eq!(open(&store).await[0].presses, 1);
    })
    .await;
}

#[tokio::test]
async fn after_a_close_the_next_press_raises_a_new_alarm() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        take(&store, 2_000, &[press(&site, "zigbee:a", 1)]).await;
        let first = open(&store).await.remove(0);
        let mut transaction = store.begin().await.unwrap();
        let mut alarm = store::load(&mut transaction, &first.id).await.unwrap().unwrap();
        let lines = alarm.course.close(2_500, "王芳", CloseReason::Other, Some("试试".to_owned())).unwrap();
        store::save(&mut transaction, &alarm, 2_500, "王芳", &lines).await.unwrap();
        transaction.commit().await.unwrap();
        take(&store, 3_000, &[press(&site, "zigbee:a", 2)]).await;
        let alarms = open(&store).await;
        assert_eq!(alarms.len(), 1);
        assert_ne!(alarms[0].id, first.id);
        let mut connection = store.reader().acquire().await.unwrap();
        let closed = view::closed(&mut connection, &region(VILLAGE), "~", 10).await.unwrap();
        assert_eq!(closed.len(), 1);
        assert_eq!(closed[0].close_note.as_deref(), Some("试试"));
        assert_eq!(closed[0].acknowledged_by.as_deref(), Some("王芳"));
    })
    .await;
}

#[tokio::test]
async fn other_regions_see_nothing() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        take(&store, 2_000, &[press(&site, "zigbee:a", 1)]).await;
        let mut connection = store.reader().acquire().await.unwrap();
        assert!(view::open(&mut connection, &region("411728103")).await.unwrap().is_empty());
        assert_eq!(view::open(&mut connection, &region("411728102")).await.unwrap().len(), 1);
    })
    .await;
}

/// A village whose head acts on one alarm.
struct Desk {
    store: Store,
    authority: Arc<Authority>,
    folder: std::path::PathBuf,
    routes: Router,
}

impl Desk {
    async fn new(store: &Store) -> Self {
        let folder = std::env::temp_dir().join(format!("tongluo-alarm-{}", crate::ids::opaque()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Arc::new(Authority::create(&folder, 1_795_000_000_000).unwrap());
        let orders = Orders::new(Arc::clone(&authority), crate::seal::for_test(), Outbox::new());
        let room = super::AlarmRoom { store: store.clone(), live: Live::open(store.clone()).await.unwrap(), orders };
        let routes = as_somebody(super::routes().with_state(room), Some(viewer(Role::VillageHead, VILLAGE)));
        Self { store: store.clone(), authority, folder, routes }
    }

    async fn act(&self, alarm: &AlarmView, act: &str, body: Value) -> Answer {
        ask(&self.routes, "POST", &format!("/api/v1/alarms/{}/{act}", alarm.id), body).await
    }

    /// What whoever pressed is told, in the order in which it was ordered.
    async fn told(&self) -> Vec<(String, Told, Option<String>)> {
        let bodies: Vec<Vec<u8>> = sqlx::query_scalar("select body from outbox order by lane, sequence")
            .fetch_all(self.store.reader())
            .await
            .unwrap();
        let key = self.authority.order_key().verifying_key();
        let read = |body: &Vec<u8>| {
            let order = SignedOrder::parse(body).unwrap().verify(&key).unwrap();
            assert_eq!(order.lane, Lane::Urgent);
            let Ok(Body::AlarmWord(word)) = order.body() else { panic!("{:?}", order.body()) };
            let last = format!("{:016x}-10", 1);
            assert_eq!(word.press.map(|press| press.to_string()), Some(last), "what is closed is known");
            (word.device.to_string(), word.state, word.by.map(str::to_owned))
        };
        bodies.iter().map(read).collect()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn whoever_pressed_is_told_of_each_persons_act_and_of_nothing_else() {
    each_store(async |store| {
        let site = add_site(&store, "site1").await;
        let button = "zigbee:0x00158d0001a2b3c4";
        let unread = HeardPress { kind: AlarmKind::Unknown, ..press(&site, "unknown:zigbee2mqtt", 2) };
        take(&store, 2_000, &[press(&site, button, 9), unread, press(&site, button, 10)]).await;
        let alarms = open(&store).await;
        let alarm = alarms.iter().find(|alarm| alarm.source == button).unwrap();
        let desk = Desk::new(&store).await;

        let going = desk.act(alarm, "going", Value::Null).await;
        assert_eq!((going.status.as_u16(), &going.body["state"]), (200, &json!("acknowledged")), "{going:?}");
        assert_eq!((&going.body["acknowledged_by"], &going.body["sounding"]), (&json!("A"), &json!(false)));
        let again = desk.act(alarm, "going", Value::Null).await;
        assert_eq!(again.body["revision"], going.body["revision"], "saying it twice changes nothing");
        assert_eq!(desk.act(alarm, "arrived", Value::Null).await.status, 200);
        assert_eq!(desk.act(alarm, "close", json!({"reason": "false_alarm"})).await.status, 200);
        let late = desk.act(alarm, "arrived", Value::Null).await;
        assert_eq!((late.status.as_u16(), late.code()), (409, "alarm.already_closed"));

        let word = |state| (button.to_owned(), state, Some("A".to_owned()));
        assert_eq!(desk.told().await, [word(Told::Acknowledged), word(Told::Acknowledged), word(Told::Closed)]);
        let mut connection = store.reader().acquire().await.unwrap();
        let lines: Vec<String> = view::timeline(&mut connection, &alarm.id)
            .await
            .unwrap()
            .iter()
            .map(|line| json!(line.what).as_str().unwrap().to_owned())
            .collect();
        assert_eq!(lines, ["raised", "pressed", "acknowledged", "going", "arrived", "closed"]);
        drop(connection);

        let nobodys = alarms.iter().find(|alarm| alarm.source != button).unwrap();
        assert_eq!(desk.act(nobodys, "acknowledge", Value::Null).await.status, 200);
        assert_eq!(desk.told().await.len(), 3, "what nobody could read has no device to answer");
    })
    .await;
}
