//! Entering, changing and deleting loudspeakers; what their gateway is told of them.

use tongluo_protocols::configuration::{Configuration, ResponseKind};
use tongluo_protocols::device::speaker::Key;

use super::*;
use crate::configuration::Contributor as _;

#[tokio::test]
async fn a_loudspeaker_is_entered_changed_told_and_deleted() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        let label = "0f".repeat(32);
        let body = json!({
            "site_id": "site1", "name": "村口", "kind": "mqtt", "device": "TL-0001", "key": label.to_uppercase(),
            "place": "村口东", "latitude": 33.1, "longitude": 114.0, "volume_percent": 70
        });
        let made = township.ask(technician(), "POST", "/api/v1/speakers", body).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert!(made.body["key"].is_null(), "a key that was given is not shown again");
        assert_eq!((&made.body["state"], &made.body["online"]), (&json!("new"), &Value::Null));
        assert!(!made.body.to_string().contains(&label));

        let path = format!("/api/v1/speakers/{}", made.body["id"].as_str().unwrap());
        let changed = township.ask(technician(), "PATCH", &path, json!({"volume_percent": 55, "place": ""})).await;
        assert_eq!(
            (&changed.body["volume_percent"], &changed.body["place"]),
            (&json!(55), &Value::Null),
            "{changed:?}"
        );
        assert_eq!(changed.body["latitude"], 33.1, "what is not named stays");

        let told = told(&township).await;
        assert_eq!(told.speakers.len(), 1);
        assert_eq!(told.speakers[0].key, Some(Key::new([0x0f; 32])));
        assert_eq!((told.speakers[0].device.as_str(), told.speakers[0].volume_percent), ("TL-0001", 55));
        assert_eq!(told.night, Some(Night::NONE.told()));

        assert_eq!(township.ask(technician(), "DELETE", &path, Value::Null).await.status, 204);
        assert_eq!(township.ask(technician(), "DELETE", &path, Value::Null).await.status, 404);
        let marks = township.number("select count(*) from configuration_due where site_id = 'site1'").await;
        assert_eq!(marks, 1, "its gateway is to be told");
        let audited = township.texts("select action from audit order by id").await;
        assert_eq!(audited, ["speaker.create", "speaker.change", "speaker.delete"]);
        let kinds = township.texts("select kind from event order by sequence").await;
        assert_eq!(kinds, ["speaker"; 3]);
    })
    .await;
}

async fn told(township: &Township) -> Configuration {
    let mut configuration = Configuration { region_code: VILLAGE.to_owned(), ..Configuration::default() };
    let mut connection = township.store.reader().acquire().await.unwrap();
    let site = SiteId::from_known("site1");
    township.room.contribute(&mut connection, &site, &mut configuration).await.unwrap();
    configuration
}

#[tokio::test]
async fn a_key_that_the_hub_draws_is_shown_once_and_line_outs_have_none() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        let body = json!({"site_id": "site1", "name": "北口", "kind": "mqtt", "device": "TL-2"});
        let drawn = township.ask(technician(), "POST", "/api/v1/speakers", body).await;
        let key = drawn.body["key"].as_str().unwrap().to_owned();
        assert_eq!(key.len(), 64, "{drawn:?}");
        let line = json!({"site_id": "site1", "name": "高音喇叭", "kind": "line_out", "warm_up_ms": 1500});
        let line = township.ask(technician(), "POST", "/api/v1/speakers", line).await;
        assert_eq!((line.status.as_u16(), &line.body["key"]), (201, &Value::Null));

        let listed = township.ask(head(), "GET", "/api/v1/speakers?site_id=site1", Value::Null).await;
        assert_eq!(listed.body["speakers"].as_array().unwrap().len(), 2);
        assert!(!listed.body.to_string().contains(&key));
        let told = told(&township).await;
        assert!(told.speakers.iter().all(|speaker| speaker.key.is_some() == (speaker.device == "TL-2")), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn wrong_forms_are_refused_in_words_and_change_nothing() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        let good = json!({"site_id": "site1", "name": "村口", "kind": "mqtt", "device": "TL-9"});
        for (wrong, status, code) in [
            (json!({"name": " "}), 422, "invalid"),
            (json!({"name": "村".repeat(81)}), 422, "invalid"),
            (json!({"device": ""}), 422, "invalid"),
            (json!({"device": "a/b"}), 422, "invalid"),
            (json!({"device": "x".repeat(65)}), 422, "invalid"),
            (json!({"device": "TL-1"}), 409, "speaker.taken"),
            (json!({"key": "0f"}), 422, "invalid"),
            (json!({"kind": "line_out", "device": "", "key": "0f".repeat(32)}), 422, "invalid"),
            (json!({"kind": "gong"}), 422, "bad_request"),
            (json!({"volume_percent": 101}), 422, "invalid"),
            (json!({"volume_percent": 256}), 422, "bad_request"),
            (json!({"warm_up_ms": 10_001}), 422, "invalid"),
            (json!({"latitude": 91.0, "longitude": 0.0}), 422, "invalid"),
            (json!({"latitude": 33.0}), 422, "invalid"),
            (json!({"site_id": "nowhere"}), 404, "not_found"),
            (json!({"surprise": 1}), 422, "bad_request"),
        ] {
            let mut body = good.clone();
            body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            let refused = township.ask(technician(), "POST", "/api/v1/speakers", body).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (status, code), "{wrong}: {refused:?}");
        }
        assert_eq!(township.number("select count(*) from speaker").await, 1);
        let head = township.ask(head(), "POST", "/api/v1/speakers", good).await;
        assert_eq!(head.status, 403, "entering loudspeakers is for technicians");
    })
    .await;
}

#[tokio::test]
async fn a_site_has_a_bounded_number() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        for number in 0..64 {
            township.enter("site1", &format!("TL-{number}")).await;
        }
        let body = json!({"site_id": "site1", "name": "一", "kind": "mqtt", "device": "TL-64"});
        let full = township.ask(technician(), "POST", "/api/v1/speakers", body).await;
        assert_eq!((full.status.as_u16(), full.code()), (409, "speaker.too_many"));
    })
    .await;
}

#[tokio::test]
async fn sounds_at_hand_are_made_once_and_a_test_tone_is_ordered() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        let speaker = township.enter("site1", "TL-1").await;
        let path = format!("/api/v1/speakers/{speaker}/test");
        let early = township.ask(technician(), "POST", &path, Value::Null).await;
        assert_eq!((early.status.as_u16(), early.code()), (503, "speaker.no_tone"));

        tones::prepare(&township.room, 1_000).await.unwrap();
        let names: Vec<String> = told(&township).await.sounds.iter().map(|sound| sound.name.clone()).collect();
        assert_eq!(names, ["nobody", "sent", "taken", "tone"]);
        let made = township.number("select count(*) from content").await;
        tones::prepare(&township.room, 2_000).await.unwrap();
        assert_eq!(township.number("select count(*) from content").await, made);

        let tested = township.ask(technician(), "POST", &path, Value::Null).await;
        assert_eq!((tested.status.as_u16(), &tested.body["level"]), (202, &json!("test")), "{tested:?}");
        let orders = township.orders(|order| (order.sound.unwrap().class.name(), order.content.unwrap())).await;
        assert_eq!(orders.len(), 1);
        assert_eq!(orders[0].1.0, "test");
        let listed = township.ask(operator(), "GET", "/api/v1/notices", Value::Null).await;
        assert_eq!(listed.body["notices"], json!([]), "a test is no notice");
    })
    .await;
}

#[tokio::test]
async fn a_press_sets_off_what_its_household_chose_and_nothing_by_itself() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        for id in ["one", "two", "three"] {
            let insert = "insert into device (id, site_id, key, family, kind, first_heard_ms, last_heard_ms) \
                          values ($1, 'site1', 'zigbee:' || $1, 'zigbee', 'button', 0, 0)";
            let mut transaction = store.begin().await.unwrap();
            sqlx::query(insert).bind(id).execute(&mut *transaction).await.unwrap();
            transaction.commit().await.unwrap();
        }
        let folder = township.folder.clone();
        let room = crate::fleet::FleetRoom {
            store: store.clone(),
            live: township.room.live.clone(),
            authority: Arc::clone(&township.authority),
            roster: crate::fleet::Roster::load(&store).await.unwrap(),
            addresses: crate::fleet::Addresses::of(&crate::config::Config { data_dir: folder, ..Default::default() }),
        };
        let routes = as_somebody(crate::fleet::routes().with_state(room), Some(technician()));
        let change = async |id: &str, response: Value| {
            ask(&routes, "PATCH", &format!("/api/v1/devices/{id}"), json!({"response": response})).await
        };
        let (east, west) = (township.enter("site1", "TL-E").await, township.enter("site1", "TL-W").await);
        let foreign = township.enter("site2", "TL-F").await;
        let everywhere = json!({"kind": "siren", "speaks": true, "siren_s": 60, "everywhere": true});
        let siren = change("one", everywhere).await;
        let all = json!({"kind": "siren", "speaks": true, "siren_s": 60, "everywhere": true, "speaker_ids": []});
        assert_eq!(siren.body["response"], all, "{siren:?}");
        let spoken = change("two", json!({"speaks": true, "speaker_ids": [east, east]})).await;
        let one = json!({"kind": "silent", "speaks": true, "siren_s": 30, "everywhere": false, "speaker_ids": [east]});
        assert_eq!(spoken.body["response"], one, "{spoken:?}");
        for wrong in [
            json!({"siren_s": 61}),
            json!({"siren_s": 0}),
            json!({"kind": "gong"}),
            json!({"loud": true}),
            json!({"everywhere": true, "speaker_ids": [east]}),
            json!({"speaker_ids": []}),
            json!({"everywhere": false}),
            json!({"speaker_ids": [foreign]}),
            json!({"speaker_ids": ["nowhere"]}),
            json!({"speaker_ids": [east, "nowhere"]}),
        ] {
            assert_eq!(change("one", wrong.clone()).await.status, 422, "{wrong}");
        }
        assert_eq!(change("three", json!({"kind": "neighbours"})).await.status, 422, "nobody said where");
        let listed = ask(&routes, "GET", "/api/v1/devices", Value::Null).await;
        let shown = |id: &str| {
            let devices = listed.body["devices"].as_array().unwrap();
            devices.iter().find(|device| device["id"] == id).unwrap()["response"].clone()
        };
        assert_eq!((shown("one"), shown("two")), (all, one), "what was refused has changed nothing");
        assert_eq!(shown("three")["kind"], "silent", "nobody said anything of it");

        let (zigbee_one, zigbee_two) = ("zigbee:one".to_owned(), "zigbee:two".to_owned());
        let siren_of = |speakers: Vec<String>| (zigbee_one.clone(), ResponseKind::Siren, true, speakers, 60);
        let spoken_of = |speakers: Vec<String>| (zigbee_two.clone(), ResponseKind::Silent, true, speakers, 30);
        let told = async || {
            let responses = told(&township).await.responses.into_iter();
            responses.map(|r| (r.device, r.kind, r.speaks, r.speakers, r.siren_s)).collect::<Vec<_>>()
        };
        assert_eq!(told().await, [siren_of(vec![]), spoken_of(vec![east.clone()])]);
        let mut both = [east.clone(), west.clone()];
        both.sort_unstable();
        change("one", json!({"speaker_ids": [west, east]})).await;
        assert_eq!(told().await, [siren_of(both.to_vec()), spoken_of(vec![east.clone()])]);

        // A loudspeaker that goes, goes out of every list; nobody left does not mean everybody.
        township.ask(technician(), "DELETE", &format!("/api/v1/speakers/{east}"), Value::Null).await;
        assert_eq!(told().await, [siren_of(vec![west.clone()])]);
        let news = township.texts("select body from event where kind = 'device' order by sequence desc limit 2").await;
        let left = |news: &String| serde_json::from_str::<Value>(news).unwrap()["response"]["speaker_ids"].clone();
        assert_eq!(news.iter().map(left).collect::<Vec<_>>(), [json!([]), json!([west])]);
        change("one", json!({"kind": "silent", "speaks": false})).await;
        assert!(told().await.is_empty(), "only its light");
        let said = "select detail from audit where action = 'device.response' and subject = 'one' order by id";
        let said = township.texts(said).await;
        assert_eq!((said[0].as_str(), said[2].as_str()), ("siren 60 s, speaks, everywhere", "silent"));
    })
    .await;
}
