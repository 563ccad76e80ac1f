//! Sending notices: whom they reach, who lets them be heard, and that nothing is ordered twice.

use axum::Extension;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::content;
use crate::gateways::GatewaySite;

/// What a start is, as the gateway would read it.
fn started(order: Order<'_>) -> Option<(String, usize, u8)> {
    match order.body() {
        Ok(OrderBody::Broadcast(broadcast)) => {
            Some((broadcast.id.to_owned(), broadcast.speakers.len(), broadcast.persons))
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_notice_to_ones_own_village_is_ordered_at_once_of_its_gateway_alone() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        township.enter("site1", "TL-2").await;
        township.enter("site2", "TL-3").await;
        let sent = township.notify(head(), VILLAGE, json!({"times": 2, "text": "今天停水", "valid_for_s": 600})).await;
        assert_eq!(sent.status, 201, "{sent:?}");
        assert_eq!((&sent.body["state"], &sent.body["title"]), (&json!("sent"), &json!("今天停水")));
        assert_eq!(sent.body["reach"], json!({"villages": 1, "sites": 1, "speakers": 2, "online": 0}));
        assert_eq!(sent.body["second"], json!({"needed": false, "by": null, "at_ms": null}));
        let sound = township.sound.clone();
        let orders = township
            .orders(|order| {
                let Ok(OrderBody::Broadcast(broadcast)) = order.body() else { panic!("{:?}", order.body()) };
                assert_eq!((broadcast.times, broadcast.content_ms, broadcast.bytes), (2, 4_000, 7));
                assert_eq!((broadcast.reach, broadcast.persons), (VILLAGE, 1));
                assert_eq!(order.content.unwrap().to_string(), sound);
                assert_eq!(order.sound.unwrap().class.name(), "daily");
                let begun_ms = sent.body["sent_ms"].as_i64().unwrap();
                assert_eq!(
                    (order.not_after_ms - begun_ms, sent.body["valid_until_ms"].as_i64().unwrap()),
                    (600_000, begun_ms + 600_000)
                );
                broadcast.speakers.len()
            })
            .await;
        assert_eq!(orders, [("site1".to_owned(), 2)]);
        let detail = township.detail(&sent.body["id"]).await;
        let states: Vec<&str> =
            detail["speakers"].as_array().unwrap().iter().map(|speaker| speaker["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["waiting", "waiting"]);
        assert_eq!(township.texts("select action from audit where action like 'notice%'").await, ["notice.create"]);
        let listed = township.ask(head(), "GET", "/api/v1/notices", Value::Null).await;
        assert_eq!(listed.body["notices"][0]["id"], sent.body["id"]);
        assert!(listed.body["next"].is_null());

        // However many daily matters there are, the emergencies are found.
        let danger = township.notify(head(), VILLAGE, json!({"level": "emergency"})).await;
        township.notify(head(), VILLAGE, json!({})).await;
        let dangers = township.ask(head(), "GET", "/api/v1/notices?level=emergency", Value::Null).await;
        let dangers = dangers.body["notices"].as_array().unwrap().iter().map(|one| one["id"].clone());
        assert_eq!(dangers.collect::<Vec<_>>(), [danger.body["id"].clone()]);
        let unknown = township.ask(head(), "GET", "/api/v1/notices?level=gong", Value::Null).await;
        assert_eq!(unknown.status, 400);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_repeated_is_ordered_once() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        let body = json!({"client_id": "phone-7"});
        let first = township.notify(head(), VILLAGE, body.clone()).await;
        // A phone that lost the answer sends again, also by several ways at once.
        let again = tokio::join!(
            township.notify(head(), VILLAGE, body.clone()),
            township.notify(head(), VILLAGE, body.clone()),
            township.notify(head(), VILLAGE, body.clone())
        );
        for again in [again.0, again.1, again.2] {
            assert_eq!((again.status.as_u16(), &again.body["id"]), (200, &first.body["id"]), "{again:?}");
        }
        // Sent by day, and its answer lost: at night the page asks once more, and says so.
        let by_day = json!({"client_id": "phone-6", "level": "emergency"});
        let by_night = json!({"client_id": "phone-6", "level": "emergency", "confirm_night": true});
        let danger = township.notify(head(), VILLAGE, by_day).await;
        let again = township.notify(head(), VILLAGE, by_night).await;
        assert_eq!((again.status.as_u16(), &again.body["id"]), (200, &danger.body["id"]), "{again:?}");
        let fresh = json!({"client_id": "phone-8"});
        let together = tokio::join!(
            township.notify(head(), VILLAGE, fresh.clone()),
            township.notify(head(), VILLAGE, fresh.clone()),
            township.notify(head(), VILLAGE, fresh.clone())
        );
        let together = [together.0, together.1, together.2];
        assert!(together.iter().all(|answer| answer.body["id"] == together[0].body["id"]), "{together:?}");
        assert_eq!(township.orders(started).await.len(), 3, "one order for each of the three requests");

        let request = Request::post("/api/v1/notices").header(header::CONTENT_TYPE, "application/json");
        let request = request.header("Idempotency-Key", "phone-7");
        let whole = json!({"region_code": VILLAGE, "sound_sha256": township.sound, "level": "notice", "times": 3});
        let other = send(&township.routes(head()), request.body(Body::from(whole.to_string())).unwrap()).await;
        assert_eq!((other.status.as_u16(), other.code()), (409, "notice.other_request"));
        let somebody = township.notify(operator(), VILLAGE, body).await;
        assert_eq!(somebody.status, 201, "the word is each person's own");
        assert_eq!(township.orders(started).await.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn beyond_one_village_a_second_person_lets_it_be_heard() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        township.enter("site2", "TL-2").await;
        let waiting = township.notify(operator(), TOWNSHIP, json!({})).await;
        assert_eq!(waiting.body["state"], "waiting_for_second", "{waiting:?}");
        assert_eq!(waiting.body["second"]["needed"], true);
        assert!(township.orders(started).await.is_empty());

        let path = |act: &str| format!("/api/v1/notices/{}/{act}", waiting.body["id"].as_str().unwrap());
        let own = township.ask(operator(), "POST", &path("confirm"), Value::Null).await;
        assert_eq!((own.status.as_u16(), own.code()), (409, "notice.own"));
        let small = township.ask(head(), "POST", &path("confirm"), Value::Null).await;
        assert_eq!(small.status, 404, "a village head does not cover the township");
        let technician = township.ask(technician(), "POST", &path("confirm"), Value::Null).await;
        assert_eq!(technician.status, 403);
        assert!(township.orders(started).await.is_empty());

        let confirmed = township.ask(another(), "POST", &path("confirm"), Value::Null).await;
        assert_eq!((confirmed.status.as_u16(), &confirmed.body["state"]), (200, &json!("sent")), "{confirmed:?}");
        assert_eq!(confirmed.body["second"]["by"], "A");
        let id = waiting.body["id"].as_str().unwrap().to_owned();
        let ordered = township.orders(started).await;
        assert_eq!(ordered, [("site1".to_owned(), Some((id.clone(), 1, 2))), ("site2".to_owned(), Some((id, 1, 2)))]);
        let twice = township.ask(another(), "POST", &path("confirm"), Value::Null).await;
        assert_eq!((twice.status.as_u16(), twice.code()), (409, "notice.not_waiting"));
        assert_eq!(township.orders(started).await.len(), 2);
        let refusals = township.texts("select detail from audit where outcome = 'refused' order by id").await;
        assert_eq!(refusals, ["OwnNotice", "NotWaiting"]);
    })
    .await;
}

#[tokio::test]
async fn a_second_person_may_refuse_and_silence_is_no_yes() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        township.enter("site2", "TL-2").await;
        let refused = township.notify(operator(), TOWNSHIP, json!({})).await;
        let path = format!("/api/v1/notices/{}/refuse", refused.body["id"].as_str().unwrap());
        for wrong in [json!({"reason": " "}), json!({"reason": "不".repeat(201)})] {
            assert_eq!(township.ask(another(), "POST", &path, wrong).await.status, 422);
        }
        let done = township.ask(another(), "POST", &path, json!({"reason": "时间写错了"})).await;
        assert_eq!((&done.body["state"], &done.body["refused_reason"]), (&json!("refused"), &json!("时间写错了")));

        let unanswered = township.notify(operator(), TOWNSHIP, json!({})).await;
        let created_ms = unanswered.body["created_ms"].as_i64().unwrap();
        assert_eq!(notice::settle(&township.store, created_ms + 3_600_000).await.unwrap(), 0);
        assert_eq!(notice::settle(&township.store, created_ms + 3_600_001).await.unwrap(), 1);
        let after = township.detail(&unanswered.body["id"]).await;
        assert_eq!((&after["state"], &after["refused_reason"]), (&json!("refused"), &json!("unanswered")));
        assert!(township.orders(started).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn one_village_of_a_township_is_one_village() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        let (near, far) = (township.enter("site1", "TL-1").await, township.enter("site2", "TL-2").await);
        let one = township.notify(operator(), TOWNSHIP, json!({"speaker_ids": [near]})).await;
        assert_eq!(one.body["state"], "sent", "{one:?}");
        let reach = json!({"region_code": TOWNSHIP});
        let told = township.ask(operator(), "POST", "/api/v1/notices/reach", reach).await;
        assert_eq!((&told.body["villages"], &told.body["second_needed"]), (&json!(2), &json!(true)), "{told:?}");
        assert!(told.body["words"].as_str().unwrap().contains("2 个喇叭"), "{told:?}");
        let foreign = township.notify(head(), VILLAGE, json!({"speaker_ids": [far]})).await;
        assert_eq!((foreign.status.as_u16(), foreign.code()), (422, "invalid"));
        let outside = township.notify(head(), NEIGHBOUR, json!({})).await;
        assert_eq!(outside.status, 404);
    })
    .await;
}

#[tokio::test]
async fn at_night_only_emergencies_are_sent_and_only_when_said_twice() {
    each_store(async |store| {
        let mut township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        // Whatever the hour, it is night.
        township.room.night = serde_json::from_value(json!("00:00-23:59")).unwrap();
        if !township.room.night.is_at(crate::clock::utc_ms()) {
            return;
        }
        let notice = township.notify(head(), VILLAGE, json!({"confirm_night": true})).await;
        assert_eq!((notice.status.as_u16(), notice.code()), (409, "notice.night"));
        let hasty = township.notify(head(), VILLAGE, json!({"level": "emergency"})).await;
        assert_eq!((hasty.status.as_u16(), hasty.code()), (409, "notice.night_unconfirmed"));
        assert!(township.orders(started).await.is_empty());
        let danger = township.notify(head(), VILLAGE, json!({"level": "emergency", "confirm_night": true})).await;
        assert_eq!(danger.body["state"], "sent", "{danger:?}");
        assert_eq!(township.orders(|order| order.sound.unwrap().class.name()).await[0].1, "emergency");
    })
    .await;
}

#[tokio::test]
async fn stopping_is_ordered_of_every_gateway_once() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        let sent = township.notify(head(), VILLAGE, json!({})).await;
        let path = format!("/api/v1/notices/{}/stop", sent.body["id"].as_str().unwrap());
        let stopped = township.ask(head(), "POST", &path, Value::Null).await;
        assert_eq!(
            (&stopped.body["state"], &stopped.body["stopped_by"]),
            (&json!("stopping"), &json!("A")),
            "nothing has fallen silent yet: {stopped:?}"
        );
        assert_eq!(township.ask(head(), "POST", &path, Value::Null).await.status, 200, "twice is once");
        let id = sent.body["id"].as_str().unwrap().to_owned();
        let stops = township
            .orders(|order| match order.body() {
                Ok(OrderBody::Stop(stop)) => stop.id.map(str::to_owned),
                _ => None,
            })
            .await;
        assert_eq!(stops, [("site1".to_owned(), None), ("site1".to_owned(), Some(id))], "after the start, one stop");

        township.enter("site2", "TL-2").await;
        let waiting = township.notify(operator(), TOWNSHIP, json!({})).await;
        let path = format!("/api/v1/notices/{}", waiting.body["id"].as_str().unwrap());
        assert_eq!(township.ask(operator(), "POST", &format!("{path}/stop"), Value::Null).await.status, 200);
        let late = township.ask(another(), "POST", &format!("{path}/confirm"), Value::Null).await;
        assert_eq!(late.code(), "notice.not_waiting", "what was withdrawn is not let through");
        assert_eq!(township.orders(|_| ()).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn wrong_forms_are_refused_in_words_and_order_nothing() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        let empty = township.notify(head(), VILLAGE, json!({})).await;
        assert_eq!((empty.status.as_u16(), empty.code()), (409, "notice.nobody"));
        township.enter("site1", "TL-1").await;
        for (wrong, code) in [
            (json!({"sound_sha256": "ab"}), "invalid"),
            (json!({"sound_sha256": "ab".repeat(32)}), "invalid"),
            (json!({"times": 0}), "invalid"),
            (json!({"times": 21}), "invalid"),
            (json!({"times": 20, "gap_ms": 60_001}), "invalid"),
            (json!({"valid_for_s": 59}), "invalid"),
            (json!({"valid_for_s": 43_201}), "invalid"),
            (json!({"level": "test"}), "invalid"),
            (json!({"level": "loud"}), "bad_request"),
            (json!({"speaker_ids": []}), "invalid"),
            (json!({"speaker_ids": ["nobody"]}), "invalid"),
            (json!({"text": "字".repeat(1_001)}), "invalid"),
            (json!({"title": "字".repeat(81)}), "invalid"),
            (json!({"title": "一\n二"}), "invalid"),
            (json!({"client_id": ""}), "invalid"),
            (json!({"client_id": "x".repeat(65)}), "invalid"),
            (json!({"client_id": "有空 格"}), "invalid"),
            (json!({"region_code": "4117"}), "bad_request"),
            (json!({"surprise": 1}), "bad_request"),
        ] {
            let refused = township.notify(head(), VILLAGE, wrong.clone()).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (422, code), "{wrong}: {refused:?}");
        }
        township.execute("update sound set duration_ms = 300000").await;
        let long = township.notify(head(), VILLAGE, json!({"times": 20})).await;
        assert_eq!(long.code(), "invalid", "longer than an hour");
        assert!(township.orders(started).await.is_empty());
        assert_eq!(township.number("select count(*) from notice").await, 0);
    })
    .await;
}

#[tokio::test]
async fn one_person_has_a_bounded_number_of_notices_that_are_not_over() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        for _ in 0..20 {
            assert_eq!(township.notify(head(), VILLAGE, json!({})).await.status, 201);
        }
        let full = township.notify(head(), VILLAGE, json!({})).await;
        assert_eq!((full.status.as_u16(), full.code()), (409, "notice.too_many"));
        assert_eq!(township.notify(operator(), VILLAGE, json!({})).await.status, 201);
    })
    .await;
}

/// What a gateway is answered that asks for the township's sound from its third byte on.
async fn fetched(township: &Township, site: &str) -> (u16, Vec<u8>) {
    let routes = content::gateway_routes(township.room.content.clone(), Arc::new(township.room.clone()))
        .layer(Extension(GatewaySite(SiteId::from_known(site))));
    let request = Request::get(format!("/content/{}", township.sound)).header(header::RANGE, "bytes=2-");
    let response = routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn a_gateway_fetches_the_sounds_of_its_own_notices_and_is_told_of_no_others() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        township.enter("site2", "TL-2").await;
        assert_eq!(fetched(&township, "site1").await.0, 404, "a draft is nobody's yet");
        // To both villages: it waits for a second person, and until then nobody has been told.
        let waiting = township.notify(operator(), TOWNSHIP, json!({})).await;
        assert_eq!(waiting.body["state"], "waiting_for_second");
        assert_eq!(fetched(&township, "site1").await.0, 404);

        assert_eq!(township.notify(head(), VILLAGE, json!({})).await.body["state"], "sent");
        assert_eq!(fetched(&township, "site1").await, (206, b"sound".to_vec()), "it goes on where it broke off");
        let (status, body) = fetched(&township, "site2").await;
        assert_eq!(status, 404);
        assert!(!String::from_utf8_lossy(&body).contains("sound"), "nothing of it leaks");

        let confirm = format!("/api/v1/notices/{}/confirm", waiting.body["id"].as_str().unwrap());
        assert_eq!(township.ask(another(), "POST", &confirm, json!({})).await.status, 200);
        assert_eq!(fetched(&township, "site2").await.0, 206);
    })
    .await;
}

#[tokio::test]
async fn the_sounds_at_hand_are_every_gateways() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        assert_eq!(fetched(&township, "site2").await.0, 404);
        let mut transaction = store.begin().await.unwrap();
        sqlx::query(
            "insert into named_sound (name, recipe, sha256, bytes, duration_ms) values ('tone', 'x', $1, 7, 4000)",
        )
        .bind(&township.sound)
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();
        for site in ["site1", "site2"] {
            assert_eq!(fetched(&township, site).await, (206, b"sound".to_vec()));
        }
    })
    .await;
}
