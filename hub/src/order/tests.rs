//! What the hub orders, as gateways' own judge takes it, on real databases.

use serde_json::json;
use sqlx::Row as _;
use tongluo_edge::Trial;
use tongluo_protocols::configuration::{Configuration, Speaker, SpeakerKind};
use tongluo_protocols::order::{Body, Broadcast, Class, ClockAnswer, Interrupted, Nonce, Priority, SignedOrder, Stop};

use super::*;
use crate::seal::{self, SEAL_BYTES};
use crate::store::Store;
use crate::store::testing::{COUNTY, TOWNSHIP, VILLAGE, add_site, each_store, region};
use crate::viewer::Role;
use crate::viewer::testing::{as_somebody, ask, viewer};

/// Noon in the village.
const NOON_MS: i64 = 1_795_363_200_000 + 12 * 3_600_000;
const DAY_MS: i64 = 24 * 3_600_000;
const NEIGHBOUR: &str = "411728102202";

/// A hub with one site in a village and one in its neighbour.
struct County {
    store: Store,
    orders: Orders,
    folder: std::path::PathBuf,
    site: SiteId,
    neighbour: SiteId,
}

/// One order as it lies in the outbox.
#[derive(Clone)]
struct Given {
    site: String,
    kind: u16,
    issuer: String,
    counter: u64,
    body: Vec<u8>,
}

impl County {
    async fn new(store: &Store) -> Self {
        let site = add_site(store, "site1").await;
        let folder = std::env::temp_dir().join(format!("tongluo-order-{}", crate::ids::opaque()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Arc::new(Authority::create(&folder, NOON_MS).unwrap());
        let orders = Orders::new(authority, seal::for_test(), Outbox::new());
        let county = Self { store: store.clone(), orders, folder, site, neighbour: SiteId::from_known("site2") };
        for sql in [
            "insert into region (code, name, level, parent) values ('411728102202', '邻村', 'village', '411728102')",
            "insert into site (id, name, region_code, created_ms) values ('site2', 'site2', '411728102202', 0)",
        ] {
            county.execute(sql).await;
        }
        county
    }

    async fn execute(&self, sql: &'static str) {
        let mut transaction = self.store.begin().await.unwrap();
        sqlx::query(sql).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    /// Has something heard at a site, given for a region; answers what that put into the outbox.
    async fn have_heard(&self, now_ms: i64, site: &SiteId, reach: &str, class: Class) -> Vec<Given> {
        let broadcast = Broadcast {
            id: &crate::ids::opaque(),
            media_type: "audio/wav",
            bytes: 7,
            speakers: List::new(&[]),
            times: 1,
            pause_ms: 0,
            priority: if class == Class::Emergency { Priority::Emergency } else { Priority::Notice },
            interrupted: Interrupted::Drop,
            chime: false,
            volume_percent: 50,
            content_ms: 1_000,
            reach,
            persons: 2,
        };
        let mut body = [0; ORDER_BYTES_MAX];
        let length = broadcast.emit(&mut body).unwrap();
        let order = NewOrder {
            kind: Broadcast::KIND,
            lane: Lane::Urgent,
            valid_ms: 900_000,
            sound: Some(Sound { class, level: 0, longest_ms: 1_000, volume_percent_max: 50 }),
            content: Some(ContentId([3; 32])),
            body: &body[..length],
        };
        let before = self.given().await;
        let mut transaction = self.store.begin().await.unwrap();
        let reach = region(reach);
        self.orders.give_locally(&mut transaction, now_ms, (site, &reach), &order).await.unwrap();
        transaction.commit().await.unwrap();
        self.given_since(&before).await
    }

    async fn withdraw(&self, now_ms: i64) -> Vec<Given> {
        let before = self.given().await;
        let mut transaction = self.store.begin().await.unwrap();
        self.orders.withdraw(&mut transaction, now_ms, &region(VILLAGE)).await.unwrap();
        transaction.commit().await.unwrap();
        self.given_since(&before).await
    }

    async fn given_since(&self, before: &[Given]) -> Vec<Given> {
        let mut given = self.given().await;
        given.retain(|given| before.iter().all(|before| before.body != given.body));
        given
    }

    /// Everything so far, site by site.
    async fn given(&self) -> Vec<Given> {
        let rows = sqlx::query("select site_id, body from outbox order by site_id, sequence")
            .fetch_all(self.store.reader())
            .await
            .unwrap();
        let read = |row: &sqlx::any::AnyRow| {
            let body: Vec<u8> = row.get("body");
            let claimed = *SignedOrder::parse(&body).unwrap().claimed();
            let (kind, issuer, counter) = (claimed.kind, claimed.issuer.to_owned(), claimed.counter);
            Given { site: row.get("site_id"), kind, issuer, counter, body }
        };
        rows.iter().map(read).collect()
    }

    /// A gateway in this region, which takes itself for this site.
    fn gateway(&self, site: &SiteId, region_code: &str) -> Trial {
        let speaker = Speaker {
            id: "sp1".to_owned(),
            name: "村口".to_owned(),
            kind: SpeakerKind::Mqtt,
            device: "sp1".to_owned(),
            key: None,
            volume_percent: 80,
            warm_up_ms: 0,
        };
        let configuration =
            Configuration { region_code: region_code.to_owned(), speakers: vec![speaker], ..Configuration::default() };
        Trial::new(&self.orders.authority.order_public_base64(), site.as_str(), configuration).unwrap()
    }
}

impl Drop for County {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn verdicts(gateway: &mut Trial, now_ms: i64, given: &[Given]) -> Vec<&'static str> {
    given.iter().map(|given| gateway.judge(Lane::Urgent, given.kind, &given.body, Some(now_ms))).collect()
}

fn issuers(given: &[Given]) -> Vec<(&str, u16)> {
    given.iter().map(|given| (given.issuer.as_str(), given.kind)).collect()
}

const TOLD: u16 = Delegation::KIND;
const HEARD: u16 = Broadcast::KIND;

#[tokio::test]
async fn a_villages_order_is_signed_with_its_own_key_and_obeyed_there_alone() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let first = county.have_heard(NOON_MS, &county.site, VILLAGE, Class::Daily).await;
        assert_eq!(issuers(&first), [(ROOT, TOLD), ("411728102201-a", HEARD)], "told before, and once");
        let second = county.have_heard(NOON_MS, &county.site, VILLAGE, Class::Emergency).await;
        assert_eq!(issuers(&second), [("411728102201-a", HEARD)]);
        let both = [first, second].concat();
        assert_eq!(verdicts(&mut county.gateway(&county.site, VILLAGE), NOON_MS, &both), ["obeyed"; 3]);
        let elsewhere = verdicts(&mut county.gateway(&county.site, NEIGHBOUR), NOON_MS, &both);
        assert_eq!(elsewhere, ["obeyed", "out_of_region", "out_of_region"], "the same site in another village");
        let other_site = verdicts(&mut county.gateway(&county.neighbour, VILLAGE), NOON_MS, &both);
        assert_eq!(other_site, ["not_for_us", "unknown_issuer", "unknown_issuer"]);
        let untold = verdicts(&mut county.gateway(&county.site, VILLAGE), NOON_MS, &both[1..]);
        assert_eq!(untold, ["unknown_issuer"; 2]);
        assert_eq!(verdicts(&mut county.gateway(&county.site, VILLAGE), NOON_MS, &both[..1]), ["obeyed"]);

        // Counters are each issuer's own.
        let counters: Vec<u64> = both.iter().map(|given| given.counter).collect();
        let noon = u64::try_from(NOON_MS).unwrap();
        assert_eq!(counters, [noon, noon, noon + 1]);
        let mut gateway = county.gateway(&county.site, VILLAGE);
        verdicts(&mut gateway, NOON_MS, &both);
        assert_eq!(verdicts(&mut gateway, NOON_MS, &both), ["repeated", "overtaken", "repeated"]);
    })
    .await;
}

#[tokio::test]
async fn what_reaches_further_or_is_no_matter_of_every_day_is_signed_by_whom_it_takes() {
    each_store(async |store| {
        let county = County::new(&store).await;
        for (reach, class, told, issuer) in [
            (TOWNSHIP, Class::Daily, true, "411728102-a"),
            (TOWNSHIP, Class::Emergency, false, ROOT),
            (COUNTY, Class::Daily, false, ROOT),
            (COUNTY, Class::Emergency, false, ROOT),
            (VILLAGE, Class::Test, false, ROOT),
            (VILLAGE, Class::Drill, false, ROOT),
            ("411728102201001", Class::Daily, true, "411728102201-a"),
        ] {
            let given = county.have_heard(NOON_MS, &county.site, reach, class).await;
            assert_eq!(given.len(), 1 + usize::from(told), "{reach} {class:?}");
            assert_eq!(given.last().unwrap().issuer, issuer, "{reach} {class:?}");
        }
        // The township's key orders in both of its villages, and the neighbour's gateway is told, too.
        let next = county.have_heard(NOON_MS, &county.neighbour, TOWNSHIP, Class::Daily).await;
        assert_eq!(issuers(&next), [(ROOT, TOLD), ("411728102-a", HEARD)]);
        assert_eq!(verdicts(&mut county.gateway(&county.neighbour, NEIGHBOUR), NOON_MS, &next), ["obeyed"; 2]);
        let foreign = verdicts(&mut county.gateway(&county.neighbour, "411728103201"), NOON_MS, &next);
        assert_eq!(foreign, ["obeyed", "out_of_region"]);
    })
    .await;
}

#[tokio::test]
async fn keys_take_turns_before_their_time_is_over() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let mut gateway = county.gateway(&county.site, VILLAGE);
        let hear = async |now_ms| county.have_heard(now_ms, &county.site, VILLAGE, Class::Daily).await;
        let first = hear(NOON_MS).await;
        // Told again while the outbox still keeps what it was told before.
        let week = hear(NOON_MS + 6 * DAY_MS).await;
        assert_eq!(issuers(&week), [(ROOT, TOLD), ("411728102201-a", HEARD)]);
        let before_ms = NOON_MS + 59 * DAY_MS;
        let last = hear(before_ms).await;
        assert_eq!(issuers(&last), [(ROOT, TOLD), ("411728102201-a", HEARD)]);
        let after_ms = NOON_MS + 61 * DAY_MS;
        let turned = hear(after_ms).await;
        assert_eq!(issuers(&turned), [(ROOT, TOLD), ("411728102201-b", HEARD)]);
        for (now_ms, given) in [(NOON_MS, &first), (NOON_MS + 6 * DAY_MS, &week), (after_ms, &turned)] {
            assert_eq!(verdicts(&mut gateway, now_ms, given), ["obeyed"; 2]);
        }
        // What was ordered with the key before, and came late, is not refused for that.
        assert_eq!(verdicts(&mut gateway, before_ms, &last), ["obeyed"; 2]);
        let back = hear(after_ms + 61 * DAY_MS).await;
        assert_eq!(issuers(&back), [(ROOT, TOLD), ("411728102201-a", HEARD)]);
        assert_eq!(verdicts(&mut gateway, after_ms + 61 * DAY_MS, &back), ["obeyed"; 2]);

        let keys: Vec<(String, Vec<u8>)> = sqlx::query_as("select issuer, key from order_key order by issuer")
            .fetch_all(county.store.reader())
            .await
            .unwrap();
        let lengths: Vec<usize> = keys.iter().map(|(_, key)| key.len()).collect();
        assert_eq!(lengths, [32 + SEAL_BYTES, 0], "sealed; and of no more use, gone");
        let drawn: i64 = sqlx::query_scalar("select count(*) from audit where action = 'order_key.draw'")
            .fetch_one(county.store.reader())
            .await
            .unwrap();
        assert_eq!(drawn, 3);
    })
    .await;
}

#[tokio::test]
async fn a_withdrawn_key_is_obeyed_nowhere_and_another_takes_its_place() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let mut gateway = county.gateway(&county.site, VILLAGE);
        let first = county.have_heard(NOON_MS, &county.site, VILLAGE, Class::Daily).await;
        assert_eq!(verdicts(&mut gateway, NOON_MS, &first), ["obeyed"; 2]);
        // Whoever has the key makes an order that nobody has heard yet.
        let stolen = county.have_heard(NOON_MS + 1_000, &county.site, VILLAGE, Class::Daily).await;
        let withdrawn = county.withdraw(NOON_MS + 2_000).await;
        assert_eq!(issuers(&withdrawn), [(ROOT, TOLD)]);
        assert_eq!(verdicts(&mut gateway, NOON_MS + 3_000, &withdrawn), ["obeyed"]);
        assert_eq!(verdicts(&mut gateway, NOON_MS + 3_000, &stolen), ["foreign_key"]);
        assert!(county.withdraw(NOON_MS + 2_000).await.is_empty(), "twice is once");
        let next = county.have_heard(NOON_MS + 4_000, &county.site, VILLAGE, Class::Daily).await;
        assert_eq!(issuers(&next), [(ROOT, TOLD), ("411728102201-b", HEARD)]);
        assert_eq!(verdicts(&mut gateway, NOON_MS + 4_000, &next), ["obeyed"; 2]);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_does_not_open_any_more_is_replaced() {
    each_store(async |store| {
        let mut county = County::new(&store).await;
        let first = county.have_heard(NOON_MS, &county.site, VILLAGE, Class::Daily).await;
        county.orders.seal = seal::for_test();
        let next = county.have_heard(NOON_MS + 1, &county.site, VILLAGE, Class::Daily).await;
        assert_eq!(issuers(&next), [(ROOT, TOLD), ("411728102201-a", HEARD)]);
        let both = [first, next].concat();
        assert_eq!(verdicts(&mut county.gateway(&county.site, VILLAGE), NOON_MS + 1, &both), ["obeyed"; 4]);
    })
    .await;
}

/// Each hub orders in a stream of its own, and streams do not wait for one another.
#[tokio::test]
async fn whichever_of_two_hubs_is_faster_a_villages_orders_are_obeyed_once_its_key_is_known() {
    each_store(async |store| {
        let mut county = County::new(&store).await;
        let first = county.have_heard(NOON_MS, &county.site, VILLAGE, Class::Daily).await;
        county.orders.outbox = Outbox::new();
        let second = county.have_heard(NOON_MS, &county.site, VILLAGE, Class::Daily).await;
        assert_eq!(issuers(&second), [("411728102201-a", HEARD)], "one database knows that the gateway was told");
        // Something of the root's overtakes the delegation, too.
        let third = county.have_heard(NOON_MS, &county.site, COUNTY, Class::Daily).await;
        assert_eq!(issuers(&third), [(ROOT, HEARD)]);
        let streams: i64 = sqlx::query_scalar("select count(*) from outbox_stream where site_id = 'site1'")
            .fetch_one(store.reader())
            .await
            .unwrap();
        assert_eq!(streams, 2);

        let mut gateway = county.gateway(&county.site, VILLAGE);
        // This is what a gateway waits at, and looks at again once it was told of the key.
        assert_eq!(verdicts(&mut gateway, NOON_MS, &second), ["unknown_issuer"]);
        assert_eq!(verdicts(&mut gateway, NOON_MS, &third), ["obeyed"]);
        assert_eq!(verdicts(&mut gateway, NOON_MS, &first), ["obeyed", "obeyed"]);
        assert_eq!(verdicts(&mut gateway, NOON_MS, &second), ["obeyed"]);
    })
    .await;
}

/// Counters are given out in the order of commits, whichever hub it is; a gateway that hears them in that order obeys all. One that
/// hears the later first refuses the earlier, and says so.
#[tokio::test]
async fn under_one_key_two_hubs_never_count_the_same_and_what_is_overtaken_is_refused() {
    each_store(async |store| {
        let mut county = County::new(&store).await;
        let mut other = Outbox::new();
        let (mut hubs, mut given) = ([Vec::new(), Vec::new()], Vec::new());
        for turn in 0..4 {
            let orders = county.have_heard(NOON_MS, &county.site, VILLAGE, Class::Daily).await;
            hubs[turn % 2].extend(orders.clone());
            given.extend(orders);
            std::mem::swap(&mut county.orders.outbox, &mut other);
        }
        let mut gateway = county.gateway(&county.site, VILLAGE);
        assert_eq!(verdicts(&mut gateway, NOON_MS, &given), ["obeyed"; 5]);
        let [first, second] = hubs;
        let mut gateway = county.gateway(&county.site, VILLAGE);
        assert_eq!(verdicts(&mut gateway, NOON_MS, &first), ["obeyed"; 3]);
        assert_eq!(verdicts(&mut gateway, NOON_MS, &second), ["overtaken", "obeyed"]);
        assert_eq!(verdicts(&mut gateway, NOON_MS, &second), ["overtaken", "repeated"], "and nothing twice");
    })
    .await;
}

#[tokio::test]
async fn counters_grow_whatever_the_clock_does() {
    each_store(async |store| {
        let mut transaction = store.begin().await.unwrap();
        let mut counters = Vec::new();
        for (now_ms, issuer, lane) in [
            (5_000, ROOT, Lane::Urgent),
            (5_000, ROOT, Lane::Urgent),
            (1_000, ROOT, Lane::Urgent),
            (1_000, "village", Lane::Urgent),
            (9_000, ROOT, Lane::Urgent),
            (-1, ROOT, Lane::Routine),
        ] {
            counters.push(next_counter(&mut transaction, now_ms, issuer, lane).await.unwrap());
        }
        assert_eq!(counters, [5_000, 5_001, 5_002, 1_000, 9_000, 1]);
        assert_eq!(last_counter(&mut transaction, Lane::Urgent).await.unwrap(), Some(9_000));
    })
    .await;
}

#[tokio::test]
async fn the_time_is_told_with_the_counters_of_every_key_that_the_gateway_believes() {
    each_store(async |store| {
        let county = County::new(&store).await;
        county.have_heard(NOON_MS, &county.neighbour, TOWNSHIP, Class::Daily).await;
        county.have_heard(NOON_MS, &county.site, VILLAGE, Class::Daily).await;
        // The gateway has everything.
        county.execute("update outbox_stream set committed = head").await;
        let questions = [(county.site.clone(), Nonce([1; 16]))].into();
        clock::answer(&county.store, &county.orders, &questions).await.unwrap();
        let given = county.given().await;
        let answer = given.iter().find(|given| given.kind == ClockAnswer::KIND).unwrap();
        assert_eq!(answer.site, "site1");
        let order = SignedOrder::parse(&answer.body).unwrap();
        let Ok(Body::ClockAnswer(answer)) = order.claimed().body() else { panic!() };
        let noon = u64::try_from(NOON_MS).unwrap();
        let floors: Vec<_> = answer.floors.iter().map(|floor| (floor.issuer.to_owned(), floor.counter)).collect();
        assert_eq!(floors, [(ROOT.to_owned(), noon + 1), ("411728102201-a".to_owned(), noon)]);
    })
    .await;
}

#[tokio::test]
async fn only_administrators_see_and_end_keys_with_a_reason() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let now_ms = crate::clock::utc_ms();
        county.have_heard(now_ms, &county.site, VILLAGE, Class::Daily).await;
        let room = OrderRoom { store: store.clone(), orders: county.orders.clone() };
        let as_role = |role, at| as_somebody(routes().with_state(room.clone()), Some(viewer(role, at)));
        let administrator = as_role(Role::Administrator, TOWNSHIP);
        let path = "/api/v1/order-keys/411728102201-a/withdraw";
        let reason = json!({"reason": "手机丢了"});
        for (role, at) in [(Role::VillageHead, VILLAGE), (Role::Operator, COUNTY), (Role::Technician, COUNTY)] {
            assert_eq!(ask(&as_role(role, at), "POST", path, reason.clone()).await.status, 403, "{role:?}");
        }
        let foreign = as_role(Role::Administrator, NEIGHBOUR);
        assert!(ask(&foreign, "POST", path, reason.clone()).await.status.is_client_error());
        assert_eq!(ask(&foreign, "GET", "/api/v1/order-keys", json!(null)).await.body["order_keys"], json!([]));
        for wrong in [json!({"reason": " "}), json!({"reason": "字".repeat(201)}), json!({}), json!({"reason": 1})] {
            assert!(ask(&administrator, "POST", path, wrong.clone()).await.status.is_client_error(), "{wrong}");
        }
        let unknown = "/api/v1/order-keys/411728102201-c/withdraw";
        assert_eq!(ask(&administrator, "POST", unknown, reason.clone()).await.status, 404);

        let listed = ask(&administrator, "GET", "/api/v1/order-keys", json!(null)).await.body;
        let key = &listed["order_keys"][0];
        assert_eq!((&key["issuer"], &key["gateways"]), (&json!("411728102201-a"), &json!(1)), "{listed}");
        assert_eq!(key["last_used_ms"], json!(now_ms), "{listed}");
        assert!(key["region_name"].as_str().is_some_and(|name| !name.is_empty()), "{listed}");
        assert_eq!(ask(&administrator, "POST", path, reason).await.body, json!({"gateways": 1}));
        assert_eq!(ask(&administrator, "GET", "/api/v1/order-keys", json!(null)).await.body["order_keys"], json!([]));
        let lines: Vec<(String, String)> =
            sqlx::query_as("select action, detail from audit where action = 'order_key.withdraw'")
                .fetch_all(store.reader())
                .await
                .unwrap();
        assert_eq!(lines, [("order_key.withdraw".to_owned(), "手机丢了".to_owned())]);
    })
    .await;
}

/// A stop is the root's, so that it is obeyed whatever has become of the key that began.
#[tokio::test]
async fn a_stop_is_obeyed_after_its_villages_key_was_withdrawn() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let mut gateway = county.gateway(&county.site, VILLAGE);
        county.have_heard(NOON_MS, &county.site, VILLAGE, Class::Daily).await;
        county.withdraw(NOON_MS + 1).await;
        let mut body = [0; 64];
        let length = Stop { id: Some("b1") }.emit(&mut body).unwrap();
        let order = NewOrder {
            kind: Stop::KIND,
            lane: Lane::Urgent,
            valid_ms: DAY_MS,
            sound: None,
            content: None,
            body: &body[..length],
        };
        let mut transaction = store.begin().await.unwrap();
        county.orders.give(&mut transaction, NOON_MS + 2, &county.site, &order).await.unwrap();
        transaction.commit().await.unwrap();
        let given = county.given().await;
        let verdicts = verdicts(&mut gateway, NOON_MS + 2, &given);
        assert_eq!(verdicts, ["obeyed", "obeyed", "obeyed", "obeyed"]);
    })
    .await;
}
