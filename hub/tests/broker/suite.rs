//! What must be true of every broker. MQTT 3.1.1 may acknowledge what it denies, so these tests look at what arrived.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{LastWill, PublishOptions, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tongluo_hub::broker::{Arrival, DownLeaf, PAYLOAD_BYTES_MAX, PublishError, UpLeaf};
use tongluo_hub::ids::SiteId;

use crate::authority::{Authority, Use};
use crate::gateway::Plan;
use crate::house::House;
use crate::within;

const ONCE: PublishOptions = PublishOptions::new(QoS::AtLeastOnce);

fn site(name: &str) -> SiteId {
    SiteId::from_known(name)
}

pub(crate) async fn messages_pass_both_ways(mut house: House) {
    let mut gateway = house.enrol("a").connect().await;
    house.presence("a", true).await;
    gateway.listen("a").await;
    for leaf in [UpLeaf::Up, UpLeaf::DownAck, UpLeaf::Beat] {
        gateway.publish(&leaf.topic(&site("a")), format!("{leaf:?}"), ONCE).await;
        assert_eq!(house.message().await, ("a".to_owned(), leaf, format!("{leaf:?}").into_bytes()));
    }
    for leaf in DownLeaf::ALL {
        house.broker().publish(&site("a"), leaf, Bytes::from(format!("{leaf:?}"))).await.unwrap();
        assert_eq!(gateway.message().await, (leaf.topic(&site("a")), Bytes::from(format!("{leaf:?}"))));
    }
    for number in 0_u32..200 {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        house.broker().publish(&site("a"), DownLeaf::Down, payload.clone()).await.unwrap();
        assert_eq!(gateway.message().await.1, payload, "what is acknowledged makes room for more");
    }
    let stats = house.broker().stats();
    assert_eq!((stats.online, stats.received_dropped, stats.sent, stats.sent_dropped), (1, 0, 203, 0));
    assert!(stats.received >= 3 && stats.connects >= 1, "{stats:?}");
}

pub(crate) async fn a_state_arrives_as_it_was_said(mut house: House) {
    let _gateway = house.enrol("a").connect().await;
    let state =
        Arrival::Message { site: site("a"), leaf: UpLeaf::State, payload: Bytes::from_static(b"{\"online\":true}") };
    while house.next().await != state {}
}

pub(crate) async fn strangers_are_refused(mut house: House) {
    let fine = house.enrol("a");
    let foreign = Authority::new(&house.folder, "foreign");
    let without = Plan { identity: None, ..house.enrol("a") };
    let of_another_authority = Plan { identity: Some(foreign.issue("a", Use::Gateway)), ..house.enrol("a") };
    let of_a_server = Plan { identity: Some(house.authority.issue("a", Use::Server)), ..house.enrol("a") };
    let revoked = house.enrol("r");
    house.revoke(revoked.identity.as_ref().unwrap()).await;
    for (plan, who) in [
        (without, "without a certificate"),
        (of_another_authority, "of another authority"),
        (of_a_server, "with a server's certificate"),
        (revoked, "with a revoked certificate"),
    ] {
        assert!(plan.try_connect().await.is_err(), "a gateway {who} got in");
    }
    let _gateway = fine.connect().await;
    loop {
        match house.next().await {
            Arrival::Online { site } => {
                assert_eq!(site.as_str(), "a");
                return;
            }
            // A broker may say of a gateway it never let in that it is off line.
            Arrival::Offline { .. } | Arrival::Message { leaf: UpLeaf::State, .. } => {}
            other @ Arrival::Message { .. } => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn nobody_speaks_as_another(mut house: House) {
    let mut victim = house.enrol("v").connect().await;
    house.presence("v", true).await;
    victim.listen("v").await;
    let mut plan = house.enrol("a");
    plan.client_id = "v".to_owned();
    plan.will = None;
    if let Ok(mut impostor) = plan.try_connect().await {
        impostor.publish("tl/1/v/up", "false", ONCE).await;
        impostor.publish("tl/1/v/state", "{\"online\":false}", ONCE.retained()).await;
    }
    victim.publish("tl/1/v/up", "true", ONCE).await;
    assert_eq!(house.message().await, ("v".to_owned(), UpLeaf::Up, b"true".to_vec()));
    house.broker().publish(&site("v"), DownLeaf::Down, Bytes::from_static(b"order")).await.unwrap();
    assert_eq!(victim.message().await.1, "order");
    assert_eq!(house.broker().stats().online, 1, "the victim is still on line");
}

pub(crate) async fn a_gateway_publishes_on_its_own_topics_only(mut house: House) {
    let mut gateway = house.enrol("a").connect().await;
    let _other = house.enrol("b").connect().await;
    for topic in
        ["tl/1/b/up", "tl/1/b/down/ack", "tl/1/b/beat", "tl/1/b/state", "tl/1/c/up", "tl/2/a/up", "up", "$SYS/x"]
    {
        gateway.publish(topic, "foreign", ONCE).await;
    }
    for topic in ["tl/1/a/up/ack", "tl/1/a/down", "tl/1/a/call", "tl/1/a/up/x", "tl/1/a"] {
        gateway.publish(topic, "not mine to say", ONCE).await;
    }
    gateway.publish("tl/1/a/up", "mine", ONCE).await;
    assert_eq!(house.message().await, ("a".to_owned(), UpLeaf::Up, b"mine".to_vec()));
    assert_eq!(house.broker().stats().online, 2);
}

pub(crate) async fn a_gateway_hears_its_own_topics_only(mut house: House) {
    let mut other = house.enrol("b").connect().await;
    other.listen("b").await;
    let mut gateway = house.enrol("a").connect().await;
    let foreign = ["tl/1/b/down", "tl/1/b/up", "tl/1/b/state", "tl/1/+/down", "tl/1/+/state", "tl/1/#", "#", "+/+/+/+"];
    gateway.subscribe(&foreign).await;
    gateway.listen("a").await;
    house.presence("a", true).await;
    other.publish("tl/1/b/up", "said by b", ONCE).await;
    for leaf in DownLeaf::ALL {
        house.broker().publish(&site("b"), leaf, Bytes::from_static(b"for b")).await.unwrap();
        assert_eq!(other.message().await.1, "for b");
    }
    house.broker().publish(&site("a"), DownLeaf::Down, Bytes::from_static(b"for a")).await.unwrap();
    assert_eq!(gateway.message().await, ("tl/1/a/down".to_owned(), Bytes::from_static(b"for a")));
}

pub(crate) async fn a_last_will_is_for_its_own_state_only(mut house: House) {
    let mut other = house.enrol("b").connect().await;
    other.listen("b").await;
    house.presence("b", true).await;
    for (topic, payload) in [
        ("tl/1/b/down", "will"),
        ("tl/1/b/state", "{\"online\":false}"),
        ("tl/1/b/up", "will"),
        ("tl/1/a/down", "will"),
    ] {
        let mut plan = house.enrol("a");
        plan.will = Some(LastWill::new(topic, payload, QoS::AtLeastOnce, true));
        // Refused, or let in without effect; then its socket dies.
        drop(plan.try_connect().await);
    }
    let mut gateway = house.enrol("a").connect().await;
    gateway.publish("tl/1/a/up", "after", ONCE).await;
    assert_eq!(house.message().await, ("a".to_owned(), UpLeaf::Up, b"after".to_vec()));
    assert_eq!(house.broker().stats().online, 2, "b is still on line");
    house.broker().publish(&site("b"), DownLeaf::Down, Bytes::from_static(b"order")).await.unwrap();
    assert_eq!(other.message().await.1, "order", "b heard no will");
}

pub(crate) async fn nothing_is_retained_but_states(mut house: House) {
    let plan = house.enrol("a");
    let mut gateway = plan.connect().await;
    gateway.publish("tl/1/a/up", "retained", ONCE.retained()).await;
    gateway.publish("tl/1/a/beat", "retained", ONCE.retained()).await;
    house.restart_hub().await;
    drop(gateway);
    let mut gateway = plan.connect().await;
    gateway.publish("tl/1/a/up", "fresh", ONCE).await;
    assert_eq!(house.message().await.2, b"fresh", "nothing was replayed");
}

pub(crate) async fn presence_follows_take_over_and_a_killed_socket(mut house: House) {
    let plan = house.enrol("a");
    let mut first = plan.connect().await;
    house.presence("a", true).await;
    let mut second = plan.connect().await;
    first.ended().await;
    second.listen("a").await;
    second.publish("tl/1/a/up", "second", ONCE).await;
    let mut last = None;
    loop {
        match house.next().await {
            Arrival::Message { leaf: UpLeaf::Up, .. } => break,
            Arrival::Message { .. } => {}
            presence => last = Some(presence),
        }
    }
    assert_eq!(last, Some(Arrival::Online { site: site("a") }), "the last word is that the new connection is there");
    house.broker().publish(&site("a"), DownLeaf::Down, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(second.message().await.1, "x");
    drop(second);
    house.presence("a", false).await;
    assert_eq!(house.broker().stats().online, 0);
}

pub(crate) async fn a_flood_is_dropped_and_counted_and_stalls_nobody(mut house: House) {
    let mut loud = house.enrol("loud").connect().await;
    let mut quiet = house.enrol("quiet").connect().await;
    house.presence("quiet", true).await;
    for _ in 0..500 {
        loud.send("tl/1/loud/up", vec![7; 1_000], ONCE);
    }
    loud.publish("tl/1/loud/beat", "", PublishOptions::new(QoS::AtLeastOnce)).await;
    tokio::select! {
        () = loud.drive() => panic!("the loud gateway was disconnected"),
        () = house.until_dropped(1) => {}
    }
    quiet.publish("tl/1/quiet/up", "still heard", ONCE).await;
    let mut loud_count = 0;
    loop {
        match house.message().await {
            (site, _, payload) if site == "quiet" => {
                assert_eq!(payload, b"still heard");
                break;
            }
            _ => loud_count += 1,
        }
    }
    assert!((1..500).contains(&loud_count), "{loud_count} of the flood were let through");
}

pub(crate) async fn a_deaf_gateway_fills_its_own_bound_only(mut house: House) {
    let mut deaf = house.enrol("deaf").connect().await;
    deaf.listen("deaf").await;
    let mut other = house.enrol("other").connect().await;
    other.listen("other").await;
    house.presence("other", true).await;
    // Nothing reads the deaf gateway's socket from here on: its bound, then the socket's buffers, fill up.
    let payload = Bytes::from(vec![0; PAYLOAD_BYTES_MAX]);
    let mut refused = 0;
    for _ in 0..400 {
        match within("a publish", house.broker().publish(&site("deaf"), DownLeaf::Down, payload.clone())).await {
            Ok(()) => {}
            Err(PublishError::Full(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    if house.is_embedded() {
        assert!(refused > 0, "an embedded broker knows what is on its way to each gateway");
        assert_eq!(house.broker().stats().sent_dropped, refused);
    }
    // The hub's own socket to an external broker may still be full of the deaf gateway's messages.
    within("room for another gateway", async {
        while house.broker().publish(&site("other"), DownLeaf::UpAck, Bytes::from_static(b"ack")).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(other.message().await.1, "ack");
}

pub(crate) async fn too_large_is_refused_and_harms_nobody(mut house: House) {
    let plan = house.enrol("a");
    let mut gateway = plan.connect().await;
    gateway.publish("tl/1/a/up", vec![1; PAYLOAD_BYTES_MAX], ONCE).await;
    assert_eq!(house.message().await.2.len(), PAYLOAD_BYTES_MAX, "the largest message passes");
    gateway.send("tl/1/a/up", vec![2; PAYLOAD_BYTES_MAX + 100_000], ONCE);
    gateway.ended().await;
    let mut gateway = plan.connect().await;
    gateway.publish("tl/1/a/up", "fine", ONCE).await;
    assert_eq!(house.message().await.2, b"fine");
    let large = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);
    let error = house.broker().publish(&site("a"), DownLeaf::Down, large).await.unwrap_err();
    assert_eq!(error, PublishError::TooLarge { site: site("a"), bytes: PAYLOAD_BYTES_MAX + 1 });
}

pub(crate) async fn idle_sockets_stall_nobody(mut house: House) {
    let plan = house.enrol("a");
    let mut idle = Vec::new();
    for index in 0..100 {
        let mut socket = TcpStream::connect(("127.0.0.1", house.port)).await.unwrap();
        if index % 2 == 0 {
            // The first bytes of a ClientHello that never goes on.
            socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await.unwrap();
        }
        idle.push(socket);
    }
    // One that finishes TLS and then says nothing.
    let connector = tokio_rustls::TlsConnector::from(plan.tls_config());
    let socket = TcpStream::connect(("127.0.0.1", house.port)).await.unwrap();
    let silent = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    let gateway = tokio::time::timeout(Duration::from_secs(5), plan.connect()).await.expect("no stall");
    house.presence("a", true).await;
    drop((gateway, silent, idle));
}

pub(crate) async fn revocation_ends_the_session_for_good(mut house: House) {
    let plan = house.enrol("a");
    let mut gateway = plan.connect().await;
    let mut other = house.enrol("b").connect().await;
    house.presence("a", true).await;
    house.presence("b", true).await;
    house.revoke(plan.identity.as_ref().unwrap()).await;
    gateway.ended().await;
    house.presence("a", false).await;
    assert!(plan.try_connect().await.is_err(), "a revoked gateway came back");
    other.publish("tl/1/b/up", "unharmed", ONCE).await;
    assert_eq!(house.message().await, ("b".to_owned(), UpLeaf::Up, b"unharmed".to_vec()));
    let _again = house.enrol("a").connect().await;
    house.presence("a", true).await;
}

pub(crate) async fn everything_comes_back_after_the_broker_forgot_all(mut house: House) {
    let plan = house.enrol("a");
    let mut gateway = plan.connect().await;
    house.presence("a", true).await;
    house.forget_everything().await;
    gateway.ended().await;
    drop(gateway);
    if !house.is_embedded() {
        house.presence("a", false).await;
    }
    let mut gateway = plan.connect().await;
    house.presence("a", true).await;
    gateway.listen("a").await;
    gateway.publish("tl/1/a/up", "again", ONCE).await;
    assert_eq!(house.message().await.2, b"again");
    house.broker().publish(&site("a"), DownLeaf::UpAck, Bytes::from_static(b"ack")).await.unwrap();
    assert_eq!(gateway.message().await.1, "ack");
}

pub(crate) async fn shutdown_ends_what_it_began(mut house: House) {
    let mut gateway = house.enrol("a").connect().await;
    house.presence("a", true).await;
    let mut half = TcpStream::connect(("127.0.0.1", house.port)).await.unwrap();
    let broker = house.broker.take().expect("the broker runs");
    within("a shutdown", broker.shutdown()).await;
    let mut arrivals = house.arrivals.take().unwrap();
    within("the end of the arrivals", async { while arrivals.recv().await.is_some() {} }).await;
    if house.is_embedded() {
        gateway.ended().await;
        std::net::TcpListener::bind(("127.0.0.1", house.port)).expect("the port is free");
        // Whether by an alert, an end or a reset: the handshake that had begun is over.
        let _ = half.write_all(b"x").await;
        let _ = within("the end of a half-open handshake", half.read(&mut [0; 64])).await;
    }
}

pub(crate) async fn a_site_that_is_away_is_an_error_or_silence(house: House) {
    let result = house.broker().publish(&site("nobody"), DownLeaf::Down, Bytes::from_static(b"x")).await;
    if house.is_embedded() {
        assert_eq!(result, Err(PublishError::Away(site("nobody"))));
    }
}
