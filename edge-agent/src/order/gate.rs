//! Whether something that came down is an order for this gateway, and from whom. Pure.
//!
//! Two kinds of keys are believed: the root's, which was pinned at enrolment, and those that the root has delegated to. The
//! latter may only have things heard and be silent again, for their regions, classes and time; a key of a village speaks for its
//! village.

use std::collections::HashMap;
use std::fmt;

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::VerifyingKey;
use tongluo_protocols::id::Lane;
use tongluo_protocols::order::{
    Algorithm, Body, Broadcast, Class, Delegation, Floor, Order, ROOT, SignedOrder, Stop, Target, Unverified,
};

/// Issuers whose counters are kept: the root's and those of its delegations, which are bounded by the hub's 31.
const ISSUERS_MAX: usize = 64;
/// Keys that are believed beside the root's: a county's, a township's and a village's, several times over. Another one is
/// refused.
const DELEGATES_MAX: usize = 31;

/// What came down, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived<'a> {
    /// The entry's kind.
    pub(crate) kind: u16,
    /// The lane it came in.
    pub(crate) lane: Lane,
    /// The entry's body.
    pub(crate) body: &'a [u8],
    /// Whether it passed before: its counter is known for that reason.
    pub(crate) counted: bool,
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
    /// Its counter is that of the order before it.
    Repeated {
        /// Its counter.
        counter: u64,
    },
    /// Its counter is less than that of an order before it.
    Overtaken {
        /// Its counter.
        counter: u64,
        /// The last one that was taken.
        floor: u64,
    },
    /// It came before its time.
    Early,
    /// Its time is over.
    Stale,
    /// Its issuer may not order beyond its regions.
    OutOfRegion,
    /// Its issuer may not order this class.
    ClassNotDelegated,
    /// Its issuer may not order this kind.
    KindNotDelegated,
    /// The time of its issuer's key has not come, or is over.
    DelegationExpired,
    /// There are too many issuers.
    TooManyIssuers,
    /// Nobody here carries out orders of its kind.
    UnknownKind,
}

impl Refusal {
    /// Its name in verdicts.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Unverified(Unverified::Signature) => "foreign_key",
            Self::Unverified(_) => "unknown_algorithm",
            Self::Mismatched => "mismatched",
            Self::NotForUs => "not_for_us",
            Self::Repeated { .. } => "repeated",
            Self::Overtaken { .. } => "overtaken",
            Self::Early => "early",
            Self::Stale => "stale",
            Self::OutOfRegion => "out_of_region",
            Self::ClassNotDelegated => "class_not_delegated",
            Self::KindNotDelegated => "kind_not_delegated",
            Self::DelegationExpired => "delegation_expired",
            Self::TooManyIssuers => "too_many_issuers",
            Self::UnknownKind => "unknown_kind",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Self::UnknownIssuer => f.write_str("its issuer is unknown to this gateway"),
            Self::Unverified(why) => why.fmt(f),
            Self::Mismatched => f.write_str("its kind or lane is not that of the entry it came in"),
            Self::NotForUs => f.write_str("it is for another site"),
            Self::Repeated { counter } => write!(f, "its counter {counter} was taken before: it is a repeat"),
            Self::Overtaken { counter, floor } => {
                write!(f, "its counter {counter} is less than {floor}: a later order was taken before it")
            }
            Self::Early => f.write_str("it came before its time"),
            Self::Stale => f.write_str("its time is over"),
            Self::OutOfRegion => f.write_str("its issuer may not order beyond its own regions"),
            Self::ClassNotDelegated => f.write_str("its issuer may not order this class"),
            Self::KindNotDelegated => f.write_str("its issuer may only have things heard, and stop them"),
            Self::DelegationExpired => f.write_str("its issuer's key does not count at this time"),
            Self::TooManyIssuers => f.write_str("more issuers are known than this gateway keeps counters of"),
            Self::UnknownKind => f.write_str("this gateway does not carry out orders of its kind"),
        }
    }
}

/// A key that the root has delegated to.
#[derive(Clone, Debug)]
struct Delegate {
    /// The counter of the order that delegated.
    counter: u64,
    key: VerifyingKey,
    regions: Vec<String>,
    classes: Vec<Class>,
    times_ms: (i64, i64),
}

/// Who is believed, and what was taken.
pub(crate) struct Gate {
    root: VerifyingKey,
    site_id: String,
    floors: HashMap<(String, Lane), u64>,
    delegates: HashMap<String, Delegate>,
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
        Ok(Self { root, site_id: site_id.to_owned(), floors, delegates: HashMap::new() })
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
        let delegate = self.delegates.get(signed.issuer());
        if delegate.is_none() && signed.issuer() != ROOT {
            return Err(Refusal::UnknownIssuer);
        }
        let key = delegate.map_or(&self.root, |delegate| &delegate.key);
        let order = signed.verify(key).map_err(Refusal::Unverified)?;
        if order.kind != arrived.kind || order.lane != arrived.lane {
            return Err(Refusal::Mismatched);
        }
        let region = (!region_code.is_empty()).then_some(region_code);
        if !order.is_for(&self.site_id, region) {
            return Err(Refusal::NotForUs);
        }
        if let Some(delegate) = delegate {
            delegate.allows(&order, region_code, utc_ms)?;
        }
        let (counter, floor) = (order.counter, self.floor_of(&order));
        match utc_ms {
            _ if counter == floor && !arrived.counted => Err(Refusal::Repeated { counter }),
            _ if counter < floor && !arrived.counted => Err(Refusal::Overtaken { counter, floor }),
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

    /// Takes note of a counter that the hub says was given out.
    pub(crate) fn raise(&mut self, floor: Floor<'_>) {
        if let Some(known) = self.floors.get_mut(&(floor.issuer.to_owned(), floor.lane)) {
            *known = floor.counter.max(*known);
        } else if self.floors.len() < ISSUERS_MAX * Lane::ALL.len() {
            self.floors.insert((floor.issuer.to_owned(), floor.lane), floor.counter);
        }
    }

    /// Believes another key from now on, in the place of the one of that name. `counter` is that of the order which says so.
    pub(crate) fn delegate(&mut self, counter: u64, delegation: &Delegation<'_>) -> Result<(), Refusal> {
        const WHAT: &str = "a delegation";
        if delegation.algorithm != Algorithm::Ed25519.number() {
            return Err(Refusal::Unverified(Unverified::Algorithm(Algorithm::from_number(delegation.algorithm))));
        }
        let malformed = Refusal::Unreadable(tongluo_protocols::Error::Malformed { what: WHAT, at: 0 });
        let key = VerifyingKey::from_bytes(&delegation.key).map_err(|_| malformed)?;
        if delegation.issuer == ROOT || delegation.issuer.is_empty() {
            return Err(malformed);
        }
        if self.delegates.len() >= DELEGATES_MAX && !self.delegates.contains_key(delegation.issuer) {
            return Err(Refusal::TooManyIssuers);
        }
        let delegate = Delegate {
            counter,
            key,
            regions: delegation.regions.iter().filter(|code| !code.is_empty()).map(str::to_owned).collect(),
            classes: delegation.classes.iter().collect(),
            times_ms: (delegation.not_before_ms, delegation.not_after_ms),
        };
        self.delegates.insert(delegation.issuer.to_owned(), delegate);
        Ok(())
    }

    /// For which regions an issuer may order; `None`: for all, it is the root.
    pub(crate) fn regions_of(&self, issuer: &str) -> Option<&[String]> {
        self.delegates.get(issuer).map(|delegate| delegate.regions.as_slice())
    }

    /// What an order's counter must be greater than. A delegation's is that of the one before it under the same name: streams
    /// of two hubs do not wait for one another, and a key that was not heard of because a later order of the root's was faster
    /// would silence its village.
    fn floor_of(&self, order: &Order<'_>) -> u64 {
        if let Ok(Body::Delegation(delegation)) = order.body() {
            return self.delegates.get(delegation.issuer).map_or(0, |delegate| delegate.counter);
        }
        self.floors.get(&(order.issuer.to_owned(), order.lane)).copied().unwrap_or(0)
    }
}

impl Delegate {
    /// Whether its order stays within what was delegated.
    fn allows(&self, order: &Order<'_>, region_code: &str, utc_ms: Option<i64>) -> Result<(), Refusal> {
        if !matches!(order.kind, Broadcast::KIND | Stop::KIND) {
            return Err(Refusal::KindNotDelegated);
        }
        let covers = |code: &str| self.regions.iter().any(|region| code.starts_with(region.as_str()));
        let within = |target: Target<'_>| match target {
            Target::Region(code) => covers(code),
            Target::Site(_) | Target::Other(_) => true,
        };
        if !covers(region_code) || !order.targets.iter().all(within) {
            return Err(Refusal::OutOfRegion);
        }
        if order.sound.is_some_and(|sound| !self.classes.contains(&sound.class)) {
            return Err(Refusal::ClassNotDelegated);
        }
        let (not_before_ms, not_after_ms) = self.times_ms;
        match utc_ms {
            Some(now_ms) if !(not_before_ms..=not_after_ms).contains(&now_ms) => Err(Refusal::DelegationExpired),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ed25519_dalek::SigningKey;
    use tongluo_protocols::order::{List, ORDER_BYTES_MAX, Target, Targets};

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
        let routine = Arrived { kind: 1, lane: Lane::Routine, body: &[], counted: false };
        let regional = [Target::Region("411728")];
        let foreign = [Target::Site("other"), Target::Region("4117281022019")];
        let at = |offset: i64| Some(NOW_MS + offset);
        let table: [Case<'_>; 15] = [
            ("fine", fine(), at(0), routine, None),
            ("the last moment", fine(), at(1_000), routine, None),
            ("clock unknown", fine(), None, routine, None),
            ("by region", Order { targets: Targets::new(&regional), ..fine() }, at(0), routine, None),
            ("far ahead", Order { counter: u64::MAX >> 1, ..fine() }, at(0), routine, None),
            ("early", fine(), at(-1), routine, Some(Refusal::Early)),
            ("stale", fine(), at(1_001), routine, Some(Refusal::Stale)),
            ("repeated", Order { counter: 100, ..fine() }, at(0), routine, Some(Refusal::Repeated { counter: 100 })),
            (
                "overtaken",
                Order { counter: 7, ..fine() },
                at(0),
                routine,
                Some(Refusal::Overtaken { counter: 7, floor: 100 }),
            ),
            ("unfinished", Order { counter: 7, ..fine() }, at(0), Arrived { counted: true, ..routine }, None),
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
        let arrived = Arrived { kind: 1, lane: Lane::Routine, body: &buffer[..length], counted: false };
        let order = gate.admit("", Some(NOW_MS), arrived).unwrap();
        assert!(gate.taken(&order));
        assert_eq!(gate.admit("", Some(NOW_MS), arrived), Err(Refusal::Repeated { counter: 101 }));
    }

    fn delegation(counter: u64, not_after_ms: i64) -> Vec<u8> {
        let delegation = Delegation {
            issuer: "village",
            algorithm: Algorithm::Ed25519.number(),
            key: key().verifying_key().to_bytes(),
            regions: List::new(&["411728102201"]),
            classes: List::new(&[Class::Daily]),
            not_before_ms: 0,
            not_after_ms,
        };
        let (mut body, mut buffer) = ([0; 256], [0; ORDER_BYTES_MAX]);
        let length = delegation.emit(&mut body).unwrap();
        let order = Order { kind: Delegation::KIND, counter, body: &body[..length], ..fine() };
        let length = order.sign(&key(), &mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    #[test]
    fn a_delegation_is_overtaken_by_a_later_one_of_its_name_and_by_nothing_else() {
        let mut gate = gate();
        let mut believe = |counter, not_after_ms| {
            let body = delegation(counter, not_after_ms);
            let arrived = Arrived { kind: Delegation::KIND, lane: Lane::Routine, body: &body, counted: false };
            let order = gate.admit("411728102201", Some(NOW_MS), arrived)?;
            let Ok(Body::Delegation(delegation)) = order.body() else { panic!("{order:?}") };
            gate.delegate(order.counter, &delegation)?;
            assert!(gate.taken(&order));
            Ok(())
        };
        assert_eq!(believe(7, NOW_MS), Ok(()), "though the root has ordered up to 100");
        assert_eq!(believe(7, NOW_MS), Err(Refusal::Repeated { counter: 7 }));
        assert_eq!(believe(9, NOW_MS - 1), Ok(()), "withdrawn");
        assert_eq!(believe(8, NOW_MS), Err(Refusal::Overtaken { counter: 8, floor: 9 }), "and not to be had back");
        assert_eq!(
            gate.floors[&(ROOT.to_owned(), Lane::Routine)],
            100,
            "what the root ordered otherwise stays ordered"
        );
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        for wrong in ["", "AAAA", "not base64 at all, and too long for a key, too"] {
            assert!(Gate::new(wrong, "s1te", Vec::new()).is_err(), "{wrong:?}");
        }
    }
}
