//! The relay without sockets: who is called, what is shared, where the bounds are.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tongluo_protocols::media::{FrameView, GatewayMessage, HubMessage, Lease, Quality};

use super::request::FetchItem;
use super::*;
use crate::clock;
use crate::ids::SiteId;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The body of an `avcC` box: high profile, level 4.0, one parameter set of each kind.
const AVCC: [u8; 19] = [1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x28, 1, 0, 4, 0x68, 0xee, 0x3c, 0x80];

/// By this gateway's clock nothing is ever old.
const AHEAD_MS: i64 = 1 << 45;

fn site() -> SiteId {
    SiteId::from_known("g7")
}

struct Gateway {
    relay: Relay,
    number: u64,
    inbox: mpsc::Receiver<Bytes>,
}

impl Gateway {
    fn connect(relay: &Relay) -> Self {
        let (number, inbox) = relay.connected(&site());
        Self { relay: relay.clone(), number, inbox }
    }

    async fn heard(&mut self) -> Bytes {
        tokio::time::timeout(PATIENCE, self.inbox.recv()).await.expect("the hub says something").expect("it holds on")
    }

    /// The streams of the next set of leases.
    async fn leases(&mut self) -> Vec<(u32, String, Quality)> {
        leases(&self.heard().await)
    }

    fn say(&self, message: GatewayMessage<'_>) -> bool {
        self.relay.heard(&site(), self.number, message)
    }

    fn track(&self, stream: u32, parameters: &[u8]) {
        let codec = tongluo_protocols::media::Codec::H264;
        assert!(self.say(GatewayMessage::Track { stream, codec, width: 64, height: 48, parameters }));
    }

    fn frame(&self, stream: u32, number: u64, key: bool) {
        self.picture(stream, number, key, AHEAD_MS + number as i64);
    }

    fn picture(&self, stream: u32, number: u64, key: bool, captured_ms: i64) {
        let decode_90k = 1_000_000 + number * 3_600;
        let data = b"\0\0\0\x01\x65";
        let frame = FrameView { stream, key, decode_90k, composition_90k: 0, captured_ms, data };
        assert!(self.say(GatewayMessage::Frame(frame)));
    }
}

fn leases(message: &Bytes) -> Vec<(u32, String, Quality)> {
    let Ok(HubMessage::Leases(leases)) = HubMessage::parse(message) else { panic!("no leases: {message:?}") };
    leases.iter().map(|Lease { stream, camera, quality }| (stream, camera.to_owned(), quality)).collect()
}

async fn next(subscription: &mut Subscription) -> Signal {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("something comes")
}

/// The number of the last picture that this signal carries.
fn captured(signal: &Signal) -> i64 {
    match signal {
        Signal::Picture(picture) | Signal::Group(_, picture) => picture.captured_ms - AHEAD_MS,
        other => panic!("no picture: {other:?}"),
    }
}

#[tokio::test]
async fn two_viewers_are_one_upload_and_each_begins_with_a_keyframe() {
    let relay = Relay::new();
    let mut first = relay.watch(&site(), "gate", Quality::Sub).unwrap();
    let called = relay.inner.due_calls(clock::instant());
    assert_eq!(called[0].0, site(), "a gateway without a connection is called");
    assert_eq!(leases(&called[0].1).len(), 1);

    let mut gateway = Gateway::connect(&relay);
    let wanted = gateway.leases().await;
    let [(stream, camera, Quality::Sub)] = &wanted[..] else { panic!("{wanted:?}") };
    assert_eq!(camera, "gate");
    gateway.frame(*stream, 0, true);
    gateway.track(*stream, &AVCC);
    gateway.frame(*stream, 1, false);
    for number in 2..5 {
        gateway.frame(*stream, number, number == 2);
    }
    let Signal::Track(head) = next(&mut first).await else { panic!("no track") };
    assert_eq!(head.codec, "avc1.640028");
    assert_eq!(captured(&next(&mut first).await), 2, "nothing before the track, and nothing before a keyframe");

    let mut second = relay.watch(&site(), "gate", Quality::Sub).unwrap();
    assert_eq!(relay.stats().uploads, 1);
    assert_eq!(relay.stats().viewers, 2);
    assert!(matches!(next(&mut second).await, Signal::Track(_)));
    let Signal::Group(bytes, last) = next(&mut second).await else { panic!("no group") };
    assert_eq!(last.captured_ms, AHEAD_MS + 4);
    assert_eq!(tongluo_protocols::media::mp4::fragments(&bytes).count(), 3);
    gateway.frame(*stream, 5, false);
    assert_eq!(captured(&next(&mut second).await), 5, "nothing is missing or doubled");

    let mut third = relay.watch(&site(), "gate", Quality::Main).unwrap();
    relay.inner.due_calls(clock::instant());
    assert_eq!(gateway.leases().await.len(), 2, "another quality is another stream");
    drop((first, second));
    relay.inner.due_calls(clock::instant());
    relay.inner.due_calls(clock::instant() + Duration::from_secs(10));
    assert_eq!(gateway.leases().await.len(), 1, "what nobody watches any more ends");
    assert!(tokio::time::timeout(Duration::from_millis(1), third.next()).await.is_err());
}

#[tokio::test]
async fn the_group_under_way_comes_in_one_piece_however_many_wait() {
    clock::testing::stop();
    let relay = Relay::new();
    let mut first = relay.watch(&site(), "gate", Quality::Sub).unwrap();
    let mut gateway = Gateway::connect(&relay);
    let stream = gateway.leases().await[0].0;
    gateway.track(stream, &AVCC);
    let now_ms = clock::utc_ms();
    let rush = |from: u64, to: u64| {
        for number in from..to {
            gateway.picture(stream, number, number == 0, now_ms - 10_000 + 40 * number as i64);
        }
    };
    rush(0, 100);
    let mut second = relay.watch(&site(), "gate", Quality::Sub).unwrap();
    rush(100, 250);
    for viewer in [&mut first, &mut second] {
        assert!(matches!(next(viewer).await, Signal::Track(_)));
        let Signal::Group(bytes, last) = next(viewer).await else { panic!("no group") };
        let until_ms = last.captured_ms - now_ms + 10_000;
        let pictures = tongluo_protocols::media::mp4::fragments(&bytes).count() as i64;
        assert_eq!(pictures, until_ms / 40 + 1, "from its keyframe on, without a hole");
        assert!(until_ms >= 9_800, "it ends with what is young: {until_ms}");
    }
    gateway.picture(stream, 250, false, now_ms);
    for viewer in [&mut first, &mut second] {
        while let Signal::Picture(picture) = next(viewer).await {
            if picture.captured_ms == now_ms {
                break;
            }
        }
    }
}

#[tokio::test]
async fn who_is_slow_jumps_to_a_keyframe_and_learns_of_a_new_track() {
    let relay = Relay::new();
    let mut slow = relay.watch(&site(), "gate", Quality::Main).unwrap();
    let mut gateway = Gateway::connect(&relay);
    let stream = gateway.leases().await[0].0;
    gateway.track(stream, &AVCC);
    let mut other = AVCC;
    other[3] = 0x1f;
    for number in 0..300 {
        if number == 100 {
            gateway.track(stream, &other);
        }
        gateway.frame(stream, number, number % 50 == 0);
    }
    let Signal::Track(head) = next(&mut slow).await else { panic!("no track") };
    assert_eq!(head.codec, "avc1.64001f", "the track that is good now");
    assert_eq!(captured(&next(&mut slow).await), 250);
    assert_eq!(relay.stats().viewer_jumps, 1);
}

#[tokio::test]
async fn a_broken_line_and_a_gateway_that_is_away_are_said() {
    let relay = Relay::new();
    let mut viewer = relay.watch(&site(), "gate", Quality::Main).unwrap();
    relay.inner.gateway_away(&site());
    assert!(matches!(next(&mut viewer).await, Signal::State(state) if &*state.state == "gateway_offline"));
    let mut gateway = Gateway::connect(&relay);
    let stream = gateway.leases().await[0].0;
    assert!(gateway.say(GatewayMessage::Stopped { stream, reason: "refused: wrong password" }));
    let Signal::State(state) = next(&mut viewer).await else { panic!("no state") };
    assert_eq!((&*state.state, &*state.detail), ("refused", "wrong password"));
    gateway.track(stream, b"no parameters");
    assert!(matches!(next(&mut viewer).await, Signal::State(state) if &*state.state == "unsupported"));

    let replaced = gateway;
    let gateway = Gateway::connect(&relay);
    assert!(!replaced.say(GatewayMessage::Stopped { stream, reason: "" }), "an old connection has no say");
    relay.disconnected(&site(), replaced.number);
    relay.disconnected(&site(), gateway.number);
    assert!(matches!(next(&mut viewer).await, Signal::State(state) if &*state.state == "line_lost"));
    assert_eq!(relay.inner.due_calls(clock::instant()).len(), 1, "and it is called again at once");
}

#[tokio::test]
async fn a_question_waits_for_the_connection_and_is_answered_once() {
    let relay = Relay::new();
    let asking = {
        let relay = relay.clone();
        tokio::spawn(async move { relay.ask(&site(), &serde_json::json!({"spans": {}}), PATIENCE).await })
    };
    while relay.inner.due_calls(clock::instant()).is_empty() {
        tokio::task::yield_now().await;
    }
    let mut gateway = Gateway::connect(&relay);
    assert!(gateway.leases().await.is_empty());
    let message = gateway.heard().await;
    let Ok(HubMessage::Ask { request, body: br#"{"spans":{}}"# }) = HubMessage::parse(&message) else {
        panic!("{message:?}")
    };
    assert!(gateway.say(GatewayMessage::Answer { request, body: b"[]" }));
    assert_eq!(asking.await.unwrap(), Ok(Bytes::from_static(b"[]")));
    assert!(gateway.say(GatewayMessage::Answer { request, body: b"again" }), "which changes nothing");

    let silent = relay.ask(&site(), &serde_json::json!({}), Duration::from_millis(1)).await;
    assert_eq!(silent, Err(RelayError::TimedOut));
    assert!(matches!(HubMessage::parse(&gateway.heard().await), Ok(HubMessage::Ask { .. })));
    assert!(matches!(HubMessage::parse(&gateway.heard().await), Ok(HubMessage::Cancel { .. })));

    relay.disconnected(&site(), gateway.number);
    let (site, nothing) = (site(), serde_json::json!({}));
    let asking = relay.ask(&site, &nothing, PATIENCE);
    let away = async { relay.inner.gateway_away(&site) };
    let (answer, ()) = tokio::join!(asking, away);
    assert_eq!(answer, Err(RelayError::GatewayOffline));
}

#[tokio::test]
async fn a_recording_comes_as_far_as_credit_reaches() {
    let relay = Relay::new();
    let mut gateway = Gateway::connect(&relay);
    gateway.leases().await;
    let mut fetching = relay.fetch(&site(), "gate", Quality::Main, 1_000, 9_000).unwrap();
    let message = gateway.heard().await;
    let Ok(HubMessage::Fetch { request, camera: "gate", from_ms: 1_000, to_ms: 9_000, .. }) =
        HubMessage::parse(&message)
    else {
        panic!("{message:?}")
    };
    fetching.more(CREDIT_BYTES_MAX);
    fetching.more(CREDIT_BYTES_MAX);
    let more = gateway.heard().await;
    assert_eq!(HubMessage::parse(&more), Ok(HubMessage::More { request, bytes: CREDIT_BYTES_MAX }));
    assert!(gateway.say(GatewayMessage::Gap { request, from_ms: 1_000, to_ms: 2_000 }));
    assert_eq!(fetching.next().await, Some(FetchItem::Gap { from_ms: 1_000, to_ms: 2_000 }));
    let piece = vec![0; 3 * 1024 * 1024];
    for _ in 0..5 {
        gateway.say(GatewayMessage::Fragment { request, wall_ms: 2_000, duration_ms: 1, data: &piece });
    }
    let mut pieces = 0;
    while fetching.next().await.is_some() {
        pieces += 1;
    }
    assert_eq!(pieces, 4, "a gateway that sends beyond its credit is cut off");
    let cancel = gateway.heard().await;
    assert_eq!(HubMessage::parse(&cancel), Ok(HubMessage::Cancel { request }));
}

#[tokio::test]
async fn at_the_bounds_it_says_so() {
    let relay = Relay::new();
    let cameras: Vec<_> = (0..64).map(|number| relay.watch(&site(), &format!("c{number}"), Quality::Main)).collect();
    assert!(cameras.iter().all(Result::is_ok));
    assert_eq!(relay.watch(&site(), "one more", Quality::Main).unwrap_err(), RelayError::TooManyCameras);
    let viewers: Vec<_> = (64..1_000).map(|_| relay.watch(&site(), "c1", Quality::Main).unwrap()).collect();
    assert_eq!(relay.watch(&site(), "c1", Quality::Main).unwrap_err(), RelayError::TooManyViewers);
    drop(viewers);
    assert!(relay.watch(&site(), "c1", Quality::Main).is_ok());
    let fetches: Vec<_> = (0..32).map(|_| relay.fetch(&site(), "c1", Quality::Main, 0, 1)).collect();
    assert!(fetches.iter().all(Result::is_ok));
    assert_eq!(relay.fetch(&site(), "c1", Quality::Main, 0, 1).unwrap_err(), RelayError::TooManyRequests);
}
