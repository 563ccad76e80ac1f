//! What strangers and broken programs may say to the viewers' sockets and to the gateways', over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use axum::{Extension, Router, middleware};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, StatusCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tongluo_protocols::media::{Codec, FrameView, GatewayMessage, MESSAGE_BYTES_MAX, Quality};

use super::{LivePictures, Relay, gateway_routes, routes};
use crate::clock;
use crate::gateways::GatewaySite;
use crate::identity::{self, Identity};
use crate::ids::SiteId;
use crate::store::Store;
use crate::store::testing::{VILLAGE, add_site, each_store, region};
use crate::viewer::Role;

/// Far more than anything here takes, on a machine that does ten other things.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) type Socket = WebSocketStream<TcpStream>;

/// A hub with one camera, as far as its sockets go.
pub(super) struct Hub {
    pub(super) store: Store,
    pub(super) relay: Relay,
    viewers: SocketAddr,
    gateways: SocketAddr,
    /// Of somebody in the village, and of somebody in the next one.
    pub(super) cookie: String,
    foreign: String,
}

pub(super) const LIVE: &str = "/api/v1/cameras/c1/live";
pub(super) const PLAYBACK: &str = "/api/v1/cameras/c1/playback?from_ms=1000&to_ms=9000";

impl Hub {
    pub(super) async fn start(store: &Store) -> Self {
        let site = add_site(store, "site1").await;
        for statement in [
            "insert into recorder (id, site_id, host, port, sessions_max, created_ms) values ('r1', 'site1', 'h', 554, 4, 0)",
            "insert into region (code, name, level, parent) \
             values ('411728102202', 'next', 'village', '411728102')",
            "insert into camera (id, site_id, recorder_id, name, kind, main_path, record, days_max, bytes_max, audio, \
             created_ms, revision, state, state_since_ms, state_detail, stale) \
             values ('c1', 'site1', 'r1', '村口', 'public', '/1', 'off', 7, 0, 0, 0, 1, 'new', 0, '', 0)",
        ] {
            let mut transaction = store.begin().await.unwrap();
            sqlx::query(statement).execute(&mut *transaction).await.unwrap();
            transaction.commit().await.unwrap();
        }
        let (relay, identity) = (Relay::new(), Identity::new(store.clone(), 8443));
        let room = LivePictures { relay: relay.clone(), identity: identity.clone(), store: store.clone() };
        let (viewers, _) =
            routes().with_state(room).merge(identity::routes().with_state(identity.clone())).split_for_parts();
        let viewers = viewers.layer(middleware::from_fn_with_state(identity, identity::authenticate));
        let gateways = gateway_routes(relay.clone()).layer(Extension(GatewaySite(site)));
        let session = async |code| {
            identity::testing::begin_session(store, Role::VillageHead, &region(code), clock::utc_ms()).await
        };
        let (cookie, foreign) = (session(VILLAGE).await, session("411728102202").await);
        let (store, viewers) = (store.clone(), serve(viewers).await);
        Self { store, relay, viewers, gateways: serve(gateways).await, cookie, foreign }
    }

    pub(super) async fn execute(&self, sql: &'static str) {
        let mut transaction = self.store.begin().await.unwrap();
        sqlx::query(sql).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    /// Ends the session of a cookie, as its own page does.
    pub(super) async fn log_out(&self, cookie: &str) {
        let mut stream = TcpStream::connect(self.viewers).await.unwrap();
        let said =
            format!("DELETE /api/v1/session HTTP/1.1\r\nhost: hub\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }

    /// Opens a viewer's socket.
    pub(super) async fn open(&self, path: &str, cookie: &str) -> Result<Socket, StatusCode> {
        connect(self.viewers, path, |request| {
            request.headers_mut().insert("cookie", HeaderValue::from_str(cookie).unwrap());
        })
        .await
    }

    /// Opens a gateway's socket, and waits until the relay has it.
    async fn gateway(&self) -> Socket {
        let socket = connect(self.gateways, "/media", |_| {}).await.unwrap();
        self.until("the gateway's connection", || self.relay.stats().connections == 1).await;
        socket
    }

    pub(super) async fn until(&self, what: &str, is_it: impl Fn() -> bool) {
        let waiting = async {
            while !is_it() {
                clock::pause(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn connect(address: SocketAddr, path: &str, change: impl FnOnce(&mut Request<()>)) -> Result<Socket, StatusCode> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    change(&mut request);
    let stream = TcpStream::connect(address).await.unwrap();
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status()),
        Err(error) => panic!("{path}: {error}"),
    }
}

/// Whether the other side still listens: it answers a ping.
pub(super) async fn is_open(socket: &mut Socket) -> bool {
    if socket.send(Message::Ping("there?".into())).await.is_err() {
        return false;
    }
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("an answer, or an end") {
            Some(Ok(Message::Pong(_))) => return true,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
            Some(Ok(_)) => {}
        }
    }
}

fn encoded(message: &GatewayMessage<'_>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_len()];
    message.emit(&mut bytes).unwrap();
    bytes
}

/// The reason with which the other side ended it.
pub(super) async fn reason(socket: &mut Socket) -> String {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("an end").expect("a reason").unwrap() {
            Message::Text(text) => {
                let said: Value = serde_json::from_str(&text).unwrap();
                if said["type"] == "end" {
                    return said["reason"].as_str().unwrap().to_owned();
                }
            }
            Message::Close(_) => panic!("closed without a reason"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn no_socket_opens_for_those_who_may_not_or_ask_for_nonsense() {
    each_store(async |store| {
        let hub = Hub::start(&store).await;
        let status = async |path: &str, cookie: &str| hub.open(path, cookie).await.map(drop).unwrap_err().as_u16();
        for path in [LIVE, PLAYBACK] {
            assert_eq!(status(path, "").await, 401, "{path}: without a session");
            assert_eq!(status(path, "tongluo_session=00").await, 401, "{path}: with one that is none");
            assert_eq!(status(path, &hub.foreign).await, 404, "{path}: from the next village");
            assert_eq!(status(&path.replace("c1", "c2"), &hub.cookie).await, 404, "{path}: of no camera");
            let long = path.replace("c1", &"c".repeat(4_000));
            assert!((400..500).contains(&status(&long, &hub.cookie).await), "{path}: of a name without an end");
        }
        for (path, expected) in [
            (format!("{LIVE}?quality=best"), 400),
            (format!("{LIVE}?quality=%00"), 400),
            ("/api/v1/cameras/c1/playback".to_owned(), 400),
            ("/api/v1/cameras/c1/playback?from_ms=9&to_ms=9".to_owned(), 400),
            ("/api/v1/cameras/c1/playback?from_ms=-9&to_ms=9".to_owned(), 400),
            ("/api/v1/cameras/c1/playback?from_ms=0&to_ms=86400001".to_owned(), 400),
            ("/api/v1/cameras/c1/playback?from_ms=0&to_ms=99999999999999999999".to_owned(), 400),
            (format!("{PLAYBACK}&quality=best"), 400),
        ] {
            assert_eq!(status(&path, &hub.cookie).await, expected, "{path}");
        }
        let old = connect(hub.viewers, LIVE, |request| {
            request.headers_mut().insert("cookie", HeaderValue::from_str(&hub.cookie).unwrap());
            request.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("8"));
        });
        assert_eq!(old.await.map(drop).unwrap_err(), StatusCode::UPGRADE_REQUIRED, "another version of the protocol");
        let stats = hub.relay.stats();
        assert_eq!((stats.uploads, stats.viewers), (0, 0), "nothing was called for anybody");
    })
    .await;
}

#[tokio::test]
async fn whatever_a_viewer_says_the_hub_stays_itself() {
    each_store(async |store| {
        let hub = Hub::start(&store).await;
        let mut good = hub.open(LIVE, &hub.cookie).await.unwrap();
        let mut live = hub.open(LIVE, &hub.cookie).await.unwrap();
        for said in
            [Message::text("{"), Message::text(""), Message::binary(vec![0xff; 1_024]), Message::Pong("?".into())]
        {
            live.send(said.clone()).await.unwrap();
            assert!(is_open(&mut live).await, "{said:?} has no meaning, and does no harm");
        }
        live.send(Message::text("x".repeat(1_025))).await.unwrap();
        assert!(!is_open(&mut live).await, "too much is too much");
        hub.until("the viewer's leaving", || hub.relay.stats().viewers == 1).await;

        // An unmasked frame, a reserved kind of frame, one that never ends, no frame at all.
        for garbage in [
            &b"\x81\x05hello"[..],
            b"\x8f\x80\0\0\0\0",
            b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            let mut broken = hub.open(LIVE, &hub.cookie).await.unwrap();
            broken.get_mut().write_all(garbage).await.unwrap();
            hub.until("the end of a broken socket", || hub.relay.stats().viewers == 1).await;
        }
        assert!(is_open(&mut good).await, "others saw nothing of it");

        for said in [
            "",
            "[]",
            "{}",
            "more",
            r#"{"type":"more"}"#,
            r#"{"type":"more","bytes":-1}"#,
            r#"{"type":"more","bytes":4294967296}"#,
            r#"{"type":"all"}"#,
        ] {
            let mut playback = hub.open(PLAYBACK, &hub.cookie).await.unwrap();
            playback.send(Message::text(said)).await.unwrap();
            assert_eq!(reason(&mut playback).await, "not_understood", "{said}");
        }
        let mut playback = hub.open(PLAYBACK, &hub.cookie).await.unwrap();
        playback.send(Message::text(r#"{"type":"more","bytes":4294967295}"#)).await.unwrap();
        assert!(is_open(&mut playback).await, "a large credit is cut to what there may be");
    })
    .await;
}

#[tokio::test]
async fn whatever_a_gateway_says_the_hub_stays_itself() {
    each_store(async |store| {
        let hub = Hub::start(&store).await;
        let mut viewer = hub.open(LIVE, &hub.cookie).await.unwrap();
        let old = connect(hub.gateways, "/media", |request| {
            request.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("7"));
        });
        assert!(old.await.is_err(), "another version of the protocol");
        let nobody = serve(gateway_routes(hub.relay.clone())).await;
        assert_eq!(
            connect(nobody, "/media", |_| {}).await.map(drop).unwrap_err(),
            StatusCode::FORBIDDEN,
            "no certificate"
        );

        let mut gateway = hub.gateway().await;
        let strange = FrameView {
            stream: 4_000_000_000,
            key: true,
            decode_90k: u64::MAX,
            composition_90k: i32::MIN,
            captured_ms: i64::MIN,
            data: b"\0\0\0\x09\x65",
        };
        let unasked = [
            GatewayMessage::Frame(strange),
            GatewayMessage::Stopped { stream: 9, reason: "no such stream" },
            GatewayMessage::Answer { request: 77, body: b"{" },
            GatewayMessage::Fragment { request: 77, wall_ms: i64::MIN, duration_ms: u32::MAX, data: b"" },
            GatewayMessage::End { request: 77, reason: "" },
            GatewayMessage::Unknown { kind: 200, body: b"of a newer gateway" },
        ];
        for message in unasked {
            gateway.send(Message::binary(encoded(&message))).await.unwrap();
        }
        gateway.send(Message::text("hello")).await.unwrap();
        assert!(is_open(&mut gateway).await, "what nobody asked for is passed over");

        let track =
            encoded(&GatewayMessage::Track { stream: 1, codec: Codec::H264, width: 1, height: 1, parameters: b"?" });
        for garbage in [vec![], vec![track[0]], track[..6].to_vec()] {
            gateway.send(Message::binary(garbage.clone())).await.unwrap();
            assert!(!is_open(&mut gateway).await, "{garbage:?} ends the connection");
            hub.until("the end of the connection", || hub.relay.stats().connections == 0).await;
            gateway = hub.gateway().await;
        }
        // The hub may have closed before all of it was sent.
        let _ = gateway.send(Message::binary(vec![1; MESSAGE_BYTES_MAX + 1])).await;
        hub.until("the end of a message without an end", || hub.relay.stats().connections == 0).await;
        let mut gateway = hub.gateway().await;
        assert!(is_open(&mut gateway).await, "the next one is welcome");
        assert!(is_open(&mut viewer).await, "and who watches was not cut off");
        assert!(hub.relay.watch(&SiteId::from_known("site1"), "c1", Quality::Main).is_ok());
    })
    .await;
}
