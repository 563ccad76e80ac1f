//! A village's broker that takes no confirmation on its first connection: it reads them and never answers, while all else goes on.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::BytesMut;
use rumqttc::{ConnAck, ConnectReturnCode, Packet, PubAck, Publish, QoS, SubAck, SubscribeReasonCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::village::lorawan;

/// No packet of this story is longer.
const PACKET_BYTES_MAX: usize = 64 * 1024;

/// The frame that is handed over at QoS 1, again on each connection until it is acknowledged; and the broker's number for it.
pub(crate) const KEPT_FRAME: u32 = 1;
const KEPT_PKID: u16 = 7;

/// The frame that is handed over once, at QoS 0.
pub(crate) const FLEETING_FRAME: u32 = 2;

/// What the broker was told, with the number of the connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    /// The press id of a confirmation, and the frame's number in its source key.
    Confirmed(usize, String, String),
    /// The kept frame's message need not be handed over again.
    Acknowledged(usize),
}

/// The broker, and what it was told.
pub(crate) struct DeafBroker {
    pub(crate) port: u16,
    pub(crate) told: Rc<RefCell<Vec<Told>>>,
}

impl DeafBroker {
    pub(crate) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Rc::new(RefCell::new(Vec::new()));
        let list = told.clone();
        tokio::task::spawn_local(async move {
            for number in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                // Ends with the connection.
                let _ = serve(number, stream, &list).await;
            }
        });
        Self { port, told }
    }
}

async fn serve(number: usize, mut stream: TcpStream, told: &RefCell<Vec<Told>>) -> Option<()> {
    let mut bytes = BytesMut::new();
    loop {
        while let Ok(packet) = Packet::read(&mut bytes, PACKET_BYTES_MAX) {
            for answer in answers(number, packet, told) {
                let mut out = BytesMut::new();
                answer.write(&mut out, PACKET_BYTES_MAX).unwrap();
                stream.write_all(&out).await.ok()?;
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn answers(number: usize, packet: Packet, told: &RefCell<Vec<Told>>) -> Vec<Packet> {
    match packet {
        Packet::Connect(_) => vec![Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, number > 1))],
        Packet::Subscribe(subscribe) => {
            let granted = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); subscribe.filters.len()];
            let mut answers = vec![Packet::SubAck(SubAck::new(subscribe.pkid, granted))];
            answers.extend(frames(number, &told.borrow()).map(Packet::Publish));
            answers
        }
        // What whoever pressed is told comes after the confirmation, at a topic of its own.
        Packet::Publish(publish) if publish.topic.as_ref() != b"tongluo/confirmed" => Vec::new(),
        Packet::Publish(publish) => {
            let confirmed: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
            let text = |key: &str| confirmed[key].as_str().unwrap().to_owned();
            told.borrow_mut().push(Told::Confirmed(number, text("press"), text("source_key")));
            if number == 1 { Vec::new() } else { vec![Packet::PubAck(PubAck::new(publish.pkid))] }
        }
        Packet::PubAck(ack) => {
            assert_eq!(ack.pkid, KEPT_PKID);
            told.borrow_mut().push(Told::Acknowledged(number));
            Vec::new()
        }
        Packet::PingReq => vec![Packet::PingResp],
        _ => Vec::new(),
    }
}

/// What is handed over on a connection.
fn frames(number: usize, told: &[Told]) -> impl Iterator<Item = Publish> {
    let kept = || {
        let (topic, payload) = lorawan(KEPT_FRAME);
        let message = Publish::new(topic, QoS::AtLeastOnce, payload);
        Publish { pkid: KEPT_PKID, dup: number > 1, ..message }
    };
    let fleeting = || {
        let (topic, payload) = lorawan(FLEETING_FRAME);
        Publish::new(topic, QoS::AtMostOnce, payload)
    };
    let is_acknowledged = told.iter().any(|told| matches!(told, Told::Acknowledged(_)));
    let kept = (!is_acknowledged).then(kept);
    kept.into_iter().chain((number == 1).then(fleeting))
}
