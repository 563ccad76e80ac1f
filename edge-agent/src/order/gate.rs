//! Whether something that came down is an order for this gateway. Pure.

use std::collections::HashMap;
use std::fmt;

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::VerifyingKey;
use tongluo_protocols::id::Lane;
use tongluo_protocols::order::{Order, ROOT, SignedOrder, Unverified};

/// Issuers whose counters are kept: the root's and those of its delegations, which are bounded by the hub's 31.
const ISSUERS_MAX: usize = 64;

/// What came down, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived<'a> {
    /// The entry's kind.
    pub(crate) kind: u16,
    /// The lane it came in.
    pub(crate) lane: Lane,
    /// The entry's body.
    pub(crate) body: &'a [u8],
    /// Whether it passed before this start: its counter is known for that reason.
    pub(crate) admitted_before: bool,
}

/// Why something is no order for this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It cannot be read.
    Unreadable(tongluo_protocols::Error),
    /// Its issuer is nobody whom this gateway was told to believe.
    UnknownIssuer,
    /// It is not its issuer's.
    Unverified(Unverified),
    /// The entry around it says something else than it does.
    Mismatched,
    /// It is for others.
    NotForUs,
    /// Its counter is not greater than that of an order before it.
    Repeated {
        /// Its counter.
        counter: u64,
        /// The last one that was taken.
        floor: u64,
    },
    /// It came before its time.
    Early,
    /// Its time is over.
    Stale,
    /// Nobody here carries out orders of its kind.
    UnknownKind,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Self::UnknownIssuer => f.write_str("its issuer is unknown to this gateway"),
            Self::Unverified(why) => why.fmt(f),
            Self::Mismatched => f.write_str("its kind or lane is not that of the entry it came in"),
            Self::NotForUs => f.write_str("it is for another site"),
            Self::Repeated { counter, floor } => {
                write!(f, "its counter {counter} is not greater than {floor}: it is a repeat or was overtaken")
            }
            Self::Early => f.write_str("it came before its time"),
            Self::Stale => f.write_str("its time is over"),
            Self::UnknownKind => f.write_str("this gateway does not carry out orders of its kind"),
        }
    }
}

/// Who is believed, and what was taken.
pub(crate) struct Gate {
    root: VerifyingKey,
    site_id: String,
    floors: HashMap<(String, Lane), u64>,
}

impl Gate {
    /// A gate that believes the key pinned at enrolment (raw Ed25519, base64), with the counters of earlier runs.
    pub(crate) fn new(root: &str, site_id: &str, floors: Vec<(String, Lane, u64)>) -> anyhow::Result<Self> {
        let mut key = [0; 32];
        let decoded = Base64::decode(root, &mut key).map(<[u8]>::len);
        anyhow::ensure!(decoded == Ok(32), "the order key in identity.json is not 32 bytes in base64");
        let root = VerifyingKey::from_bytes(&key)
            .map_err(|error| anyhow::anyhow!("the order key in identity.json is no Ed25519 key: {error}"))?;
        let floors = floors.into_iter().map(|(issuer, lane, counter)| ((issuer, lane), counter)).collect();
        Ok(Self { root, site_id: site_id.to_owned(), floors })
    }

    /// Judges what arrived. `utc_ms` is the time if it is certain; without it an order is judged by its counter alone, which
    /// is enough for one that sounds nothing.
    pub(crate) fn admit<'a>(
        &self,
        region_code: &str,
        utc_ms: Option<i64>,
        arrived: Arrived<'a>,
    ) -> Result<Order<'a>, Refusal> {
        let signed = SignedOrder::parse(arrived.body).map_err(Refusal::Unreadable)?;
        if signed.issuer() != ROOT {
            return Err(Refusal::UnknownIssuer);
        }
        let order = signed.verify(&self.root).map_err(Refusal::Unverified)?;
        if order.kind != arrived.kind || order.lane != arrived.lane {
            return Err(Refusal::Mismatched);
        }
        let region = (!region_code.is_empty()).then_some(region_code);
        if !order.is_for(&self.site_id, region) {
            return Err(Refusal::NotForUs);
        }
        let floor = self.floor(order.issuer, order.lane);
        if order.counter <= floor && !arrived.admitted_before {
            return Err(Refusal::Repeated { counter: order.counter, floor });
        }
        match utc_ms {
            Some(now_ms) if now_ms < order.not_before_ms => Err(Refusal::Early),
            Some(now_ms) if now_ms > order.not_after_ms => Err(Refusal::Stale),
            _ => Ok(order),
        }
    }

    /// Takes note that an order was admitted. `false`: there are too many issuers, and it must not be.
    pub(crate) fn taken(&mut self, order: &Order<'_>) -> bool {
        let key = (order.issuer.to_owned(), order.lane);
        if self.floors.len() >= ISSUERS_MAX * Lane::ALL.len() && !self.floors.contains_key(&key) {
            return false;
        }
        let floor = self.floors.entry(key).or_insert(0);
        *floor = order.counter.max(*floor);
        true
    }

    fn floor(&self, issuer: &str, lane: Lane) -> u64 {
        self.floors.get(&(issuer.to_owned(), lane)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ed25519_dalek::SigningKey;
    use tongluo_protocols::order::{ORDER_BYTES_MAX, Target, Targets};

    use super::*;

    const NOW_MS: i64 = 1_795_673_551_412;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn gate() -> Gate {
        let (public, mut text) = (key().verifying_key(), [0; 44]);
        let root = Base64::encode(public.as_bytes(), &mut text).unwrap();
        Gate::new(root, "s1te", vec![(ROOT.to_owned(), Lane::Routine, 100)]).unwrap()
    }

    fn fine() -> Order<'static> {
        Order {
            kind: 1,
            issuer: ROOT,
            lane: Lane::Routine,
            counter: 101,
            not_before_ms: NOW_MS,
            not_after_ms: NOW_MS + 1_000,
            targets: Targets::new(&[Target::Site("s1te")]),
            sound: None,
            content: None,
            body: &[0xa0],
        }
    }

    fn verdict(order: &Order<'_>, by: &SigningKey, utc_ms: Option<i64>, arrived: Arrived<'_>) -> Option<Refusal> {
        let mut buffer = [0; ORDER_BYTES_MAX];
        let length = order.sign(by, &mut buffer).unwrap();
        gate().admit("411728102201", utc_ms, Arrived { body: &buffer[..length], ..arrived }).err()
    }

    /// What it shows, the order, the time, how it came, and what is wrong with it.
    type Case<'a> = (&'a str, Order<'a>, Option<i64>, Arrived<'a>, Option<Refusal>);

    #[test]
    fn each_order_gets_its_verdict() {
        let routine = Arrived { kind: 1, lane: Lane::Routine, body: &[], admitted_before: false };
        let regional = [Target::Region("411728")];
        let foreign = [Target::Site("other"), Target::Region("4117281022019")];
        let at = |offset: i64| Some(NOW_MS + offset);
        let repeated = |counter| Some(Refusal::Repeated { counter, floor: 100 });
        let table: [Case<'_>; 15] = [
            ("fine", fine(), at(0), routine, None),
            ("the last moment", fine(), at(1_000), routine, None),
            ("clock unknown", fine(), None, routine, None),
            ("by region", Order { targets: Targets::new(&regional), ..fine() }, at(0), routine, None),
            ("far ahead", Order { counter: u64::MAX >> 1, ..fine() }, at(0), routine, None),
            ("early", fine(), at(-1), routine, Some(Refusal::Early)),
            ("stale", fine(), at(1_001), routine, Some(Refusal::Stale)),
            ("repeated", Order { counter: 100, ..fine() }, at(0), routine, repeated(100)),
            ("overtaken", Order { counter: 7, ..fine() }, at(0), routine, repeated(7)),
            ("unfinished", Order { counter: 7, ..fine() }, at(0), Arrived { admitted_before: true, ..routine }, None),
            (
                "for others",
                Order { targets: Targets::new(&foreign), ..fine() },
                at(0),
                routine,
                Some(Refusal::NotForUs),
            ),
            ("another issuer", Order { issuer: "village", ..fine() }, at(0), routine, Some(Refusal::UnknownIssuer)),
            ("other kind", fine(), at(0), Arrived { kind: 2, ..routine }, Some(Refusal::Mismatched)),
            ("other lane", fine(), at(0), Arrived { lane: Lane::Urgent, ..routine }, Some(Refusal::Mismatched)),
            (
                "lane's own counter",
                Order { lane: Lane::Urgent, counter: 1, ..fine() },
                at(0),
                Arrived { lane: Lane::Urgent, ..routine },
                None,
            ),
        ];
        for (name, order, utc_ms, arrived, expected) in table {
            assert_eq!(verdict(&order, &key(), utc_ms, arrived), expected, "{name}");
        }
        let stranger = SigningKey::from_bytes(&[8; 32]);
        let refusal = verdict(&fine(), &stranger, at(0), routine);
        assert_eq!(refusal, Some(Refusal::Unverified(Unverified::Signature)));
        assert!(matches!(gate().admit("", at(0), routine), Err(Refusal::Unreadable(_))));
    }

    #[test]
    fn what_was_taken_is_a_repeat_from_then_on() {
        let (mut gate, mut buffer) = (gate(), [0; ORDER_BYTES_MAX]);
        let length = fine().sign(&key(), &mut buffer).unwrap();
        let arrived = Arrived { kind: 1, lane: Lane::Routine, body: &buffer[..length], admitted_before: false };
        let order = gate.admit("", Some(NOW_MS), arrived).unwrap();
        assert!(gate.taken(&order));
        assert_eq!(gate.admit("", Some(NOW_MS), arrived), Err(Refusal::Repeated { counter: 101, floor: 101 }));
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        for wrong in ["", "AAAA", "not base64 at all, and too long for a key, too"] {
            assert!(Gate::new(wrong, "s1te", Vec::new()).is_err(), "{wrong:?}");
        }
    }
}
