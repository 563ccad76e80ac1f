//! The media connection against a hub in memory: what it sends, when it stops, what it leaves out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::LocalSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tongluo_protocols::media::mp4::{Sample, Track, fragment, fragments};
use tongluo_protocols::media::{Codec, FrameView, GatewayMessage, HubMessage, Lease, Leases, Quality};

use super::link::{Keep, Link};
use super::source::{Cameras, Frame, Piece, Watching};
use crate::clock::Clock;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough for a story's sentence, short enough to wait for.
const KEEP: Keep = Keep { lease_ms: 1_000, idle_ms: 500 };

/// Cameras by hand: what is put into the queue is what the stream sends.
#[derive(Clone)]
struct Village {
    pictures: Arc<Mutex<mpsc::Receiver<Arc<Frame>>>>,
    /// Told when the large stream of the camera that sleeps has its first picture.
    opens: Arc<Notify>,
}

struct Stream(Arc<Mutex<mpsc::Receiver<Arc<Frame>>>>);

impl Cameras for Village {
    type Watching = Stream;

    async fn watch(&self, camera: &str, _: Quality) -> Result<Stream, String> {
        match camera {
            "gate" => Ok(Stream(self.pictures.clone())),
            "asleep" => {
                self.opens.notified().await;
                Ok(Stream(self.pictures.clone()))
            }
            _ => Err("refused: wrong password".to_owned()),
        }
    }

    async fn stopgap(&self, camera: &str) -> Option<Stream> {
        (camera == "asleep").then(|| Stream(self.pictures.clone()))
    }

    async fn read(&self, _: &str, _: Quality, from_ms: i64, to_ms: i64) -> Result<mpsc::Receiver<Piece>, String> {
        let sample = Sample { data: b"picture", duration_90k: 3_600, composition_90k: 0, key: true };
        let data = fragment(1, 7, &[sample]).unwrap();
        let (sender, pieces) = mpsc::channel(3);
        for data in [data.clone(), data] {
            sender.try_send(Piece::Fragment { wall_ms: from_ms - 500, duration_ms: 1_000, data }).unwrap();
        }
        sender.try_send(Piece::Gap { from_ms: from_ms + 500, to_ms }).unwrap();
        Ok(pieces)
    }

    async fn ask(&self, question: &[u8]) -> Vec<u8> {
        [question, b"!"].concat()
    }
}

impl Watching for Stream {
    async fn next(&mut self) -> Option<Arc<Frame>> {
        self.0.lock().await.recv().await
    }
}

/// The hub's end, and the hands that turn the cameras.
struct Hub {
    socket: WebSocketStream<DuplexStream>,
    camera: mpsc::Sender<Arc<Frame>>,
    calls: mpsc::Sender<Vec<u8>>,
    opens: Arc<Notify>,
    clock: Clock,
}

fn bytes(message: &HubMessage<'_>) -> Vec<u8> {
    let mut buffer = vec![0; message.encoded_len()];
    message.emit(&mut buffer).unwrap();
    buffer
}

fn leases(wanted: &[(u32, &str)]) -> Vec<u8> {
    leases_of(Quality::Sub, wanted)
}

fn leases_of(quality: Quality, wanted: &[(u32, &str)]) -> Vec<u8> {
    let wanted: Vec<_> = wanted.iter().map(|&(stream, camera)| Lease { stream, camera, quality }).collect();
    let mut buffer = [0; Leases::BYTES_MAX];
    bytes(&HubMessage::Leases(Leases::write(&wanted, &mut buffer).unwrap()))
}

impl Hub {
    async fn say(&mut self, message: Vec<u8>) {
        self.socket.send(Message::Binary(message.into())).await.unwrap();
    }

    /// The next message that is one; `None` when the gateway closed.
    async fn heard(&mut self) -> Option<Bytes> {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something is said") {
                Some(Ok(Message::Binary(bytes))) => return Some(bytes),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    async fn picture(&self, number: u64, key: bool, age_ms: i64) {
        let track = Track { codec: Codec::H264, parameters: vec![1], width: 64, height: 48, sound: None };
        let picture = Frame {
            track: Arc::new(track),
            key,
            decode_90k: number,
            composition_90k: 0,
            captured_ms: self.clock.utc_ms() - age_ms,
            data: Bytes::from_static(b"picture"),
            sound: Vec::new(),
        };
        self.camera.send(Arc::new(picture)).await.unwrap();
    }
}

/// Runs a story with a gateway whose connection was opened by `call`; answers why the connection ended.
fn story<F: Future<Output = ()>>(call: Vec<u8>, tell: impl FnOnce(Hub) -> F) -> Option<&'static str> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let clock = Clock::start();
        let (camera, pictures) = mpsc::channel(100);
        let (calls, inbox) = mpsc::channel(8);
        let opens = Arc::<Notify>::default();
        let cameras = Village { pictures: Arc::new(Mutex::new(pictures)), opens: opens.clone() };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let gateway = tokio::task::spawn_local(async move {
            let socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
            Link { cameras, clock, keep: KEEP, calls: inbox }.serve(socket, &call).await.ok()
        });
        let socket = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        tell(Hub { socket, camera, calls, opens, clock }).await;
        tokio::time::timeout(PATIENCE, gateway).await.expect("the connection ends").unwrap()
    })
}

#[test]
fn a_called_stream_flows_and_ends_with_its_lease() {
    let ended = story(leases(&[(7, "gate")]), |mut hub| async move {
        hub.picture(1, true, 9_000).await;
        hub.picture(2, false, 40).await;
        let track = hub.heard().await.unwrap();
        assert!(matches!(GatewayMessage::parse(&track), Ok(GatewayMessage::Track { stream: 7, width: 64, .. })));
        for expected in 1..=2 {
            let frame = hub.heard().await.unwrap();
            let Ok(GatewayMessage::Frame(FrameView { stream: 7, decode_90k, .. })) = GatewayMessage::parse(&frame)
            else {
                panic!("{frame:?}")
            };
            assert_eq!(decode_90k, expected, "the group that was under way comes first");
        }
        hub.say(leases(&[])).await;
        while hub.heard().await.is_some() {}
        drop(hub.calls);
    });
    assert_eq!(ended, Some("nothing is wanted any more"));
}

#[test]
fn the_small_stream_is_shown_until_the_large_one_has_a_picture() {
    story(leases_of(Quality::Main, &[(7, "asleep")]), |mut hub| async move {
        for number in 1..=2 {
            if number == 2 {
                hub.opens.notify_one();
            }
            hub.picture(number, true, 0).await;
            let track = hub.heard().await.unwrap();
            let track = GatewayMessage::parse(&track);
            assert!(
                matches!(track, Ok(GatewayMessage::Track { stream: 7, .. })),
                "each begins with its own: {track:?}"
            );
            let frame = hub.heard().await.unwrap();
            let Ok(GatewayMessage::Frame(FrameView { stream: 7, decode_90k, .. })) = GatewayMessage::parse(&frame)
            else {
                panic!("{frame:?}")
            };
            assert_eq!(decode_90k, number);
        }
        drop(hub.calls);
    });
}

#[test]
fn leases_that_are_not_repeated_run_out() {
    story(leases(&[(7, "gate")]), |mut hub| async move {
        hub.picture(1, true, 0).await;
        hub.heard().await.unwrap();
        hub.heard().await.unwrap();
        hub.clock.until(Some(hub.clock.mono_ms() + KEEP.lease_ms + 100)).await;
        hub.picture(2, false, 0).await;
        assert!(hub.heard().await.is_none(), "a stream whose lease ran out sends nothing");
    });
}

#[test]
fn a_camera_that_does_not_open_says_why() {
    story(leases(&[(7, "barn")]), |mut hub| async move {
        let message = hub.heard().await.unwrap();
        let stopped = GatewayMessage::Stopped { stream: 7, reason: "refused: wrong password" };
        assert_eq!(GatewayMessage::parse(&message), Ok(stopped));
    });
}

#[test]
fn questions_are_answered_and_recordings_come_as_far_as_credit_reaches() {
    story(leases(&[]), |mut hub| async move {
        hub.say(bytes(&HubMessage::Ask { request: 1, body: b"well" })).await;
        let answer = hub.heard().await.unwrap();
        assert_eq!(GatewayMessage::parse(&answer), Ok(GatewayMessage::Answer { request: 1, body: b"well!" }));

        let fetch =
            HubMessage::Fetch { request: 2, camera: "gate", quality: Quality::Main, from_ms: 600, to_ms: 9_000 };
        hub.say(bytes(&fetch)).await;
        let nothing = tokio::time::timeout(Duration::from_millis(200), hub.socket.next()).await;
        assert!(nothing.is_err(), "without credit nothing comes: {nothing:?}");
        hub.say(bytes(&HubMessage::More { request: 2, bytes: 1 })).await;
        let first = hub.heard().await.unwrap();
        let Ok(GatewayMessage::Fragment { request: 2, wall_ms: 100, data, .. }) = GatewayMessage::parse(&first) else {
            panic!("{first:?}")
        };
        let decode_90k = fragments(data).next().unwrap().unwrap().decode_90k;
        assert_eq!(decode_90k, (60_000 - 500) * 90, "counted from a minute before the span");
        let nothing = tokio::time::timeout(Duration::from_millis(200), hub.socket.next()).await;
        assert!(nothing.is_err(), "the debt is paid first: {nothing:?}");
        hub.say(bytes(&HubMessage::More { request: 2, bytes: 100_000 })).await;
        hub.heard().await.unwrap();
        let gap = hub.heard().await.unwrap();
        assert_eq!(GatewayMessage::parse(&gap), Ok(GatewayMessage::Gap { request: 2, from_ms: 1_100, to_ms: 9_000 }));
        let end = hub.heard().await.unwrap();
        assert_eq!(GatewayMessage::parse(&end), Ok(GatewayMessage::End { request: 2, reason: "" }));

        hub.say(bytes(&fetch)).await;
        hub.say(bytes(&HubMessage::Cancel { request: 2 })).await;
        hub.say(bytes(&HubMessage::More { request: 2, bytes: 100_000 })).await;
        hub.say(bytes(&HubMessage::Ask { request: 3, body: b"" })).await;
        let next = hub.heard().await.unwrap();
        assert_eq!(GatewayMessage::parse(&next), Ok(GatewayMessage::Answer { request: 3, body: b"!" }), "cancelled");
    });
}

#[test]
fn bytes_that_are_no_message_change_nothing() {
    story(vec![65, 200], |mut hub| async move {
        for nonsense in [&[][..], &[65, 9], &[67, 0], &[200, 1, 2]] {
            hub.say(nonsense.to_vec()).await;
        }
        hub.say(bytes(&HubMessage::Ask { request: 1, body: b"" })).await;
        assert!(hub.heard().await.is_some());
    });
}

#[test]
fn the_end_of_the_program_ends_the_connection_at_once() {
    let ended = story(leases(&[(7, "gate")]), |mut hub| async move {
        hub.picture(1, true, 0).await;
        hub.heard().await.unwrap();
        drop(hub.calls);
        while let Some(Ok(_)) = hub.socket.next().await {}
    });
    assert_eq!(ended, None);
}
