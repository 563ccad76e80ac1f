//! The claims of an order: what every order says, whatever it orders.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::NAME_BYTES_MAX;
use super::list::List;
use crate::Error;
use crate::id::{ContentId, Lane, NUMBER_MAX};

/// The most targets of one order: a county has 18 townships, and who needs more names the region above.
pub const TARGETS_MAX: usize = 32;

/// What a hub, or whoever it delegated this to, orders. Times are UTC milliseconds by the issuer's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Order<'a> {
    /// What the body is: see [`Body`](super::Body). The entry that carries the order has the same kind.
    #[n(1)]
    pub kind: u16,
    /// Whose key signed it: [`ROOT`](super::ROOT), or the name that a delegation gave.
    #[b(2)]
    pub issuer: &'a str,
    /// In which lane it is sent; counters are per issuer and lane.
    #[n(3)]
    pub lane: Lane,
    /// The issuer's number of it: greater than that of every order before it in its lane, at most 2^63 - 1.
    #[n(4)]
    pub counter: u64,
    /// Not to be obeyed before.
    #[n(5)]
    pub not_before_ms: i64,
    /// Not to be obeyed after: that it came late does not make it urgent.
    #[n(6)]
    pub not_after_ms: i64,
    /// For whom it is. At least one.
    #[b(7)]
    pub targets: Targets<'a>,
    /// What it may sound like; `None` for an order that sounds nothing.
    #[n(8)]
    pub sound: Option<Sound>,
    /// SHA-256 of the content that it refers to and that travels separately.
    #[n(9)]
    pub content: Option<ContentId>,
    /// What is to be done, as CBOR by its kind.
    #[cbor(b(10), with = "minicbor::bytes")]
    pub body: &'a [u8],
}

/// For whom an order is.
pub type Targets<'a> = List<'a, Target<'a>, TARGETS_MAX>;

/// One addressee of an order. On the wire text: `site:` and the site's id, or `region:` and a region's digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target<'a> {
    /// The gateway of this site.
    Site(&'a str),
    /// Every gateway in this region; its code is a prefix of theirs.
    Region(&'a str),
    /// A form of address that this code does not know. It is nobody here.
    Other(&'a str),
}

/// How loud the reason of an order is, and how loud it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sound {
    /// What sort of occasion.
    #[n(1)]
    pub class: Class,
    /// How grave: 1 (the gravest) to 4; 0 where that has no meaning.
    #[n(2)]
    pub level: u8,
    /// The longest that it may sound, all repetitions and pauses together.
    #[n(3)]
    pub longest_ms: u32,
    /// The loudest that it may be, 0 to 100.
    #[n(4)]
    pub volume_percent_max: u8,
}

/// What sort of occasion an order is given for. On the wire a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A drill that people were told of.
    Drill,
    /// A technician's test.
    Test,
    /// Notices and programmes.
    Daily,
    /// Danger.
    Emergency,
    /// A class that this code does not know.
    Unknown(u8),
}

impl Order<'_> {
    /// Checks what the form alone does not say.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.counter == 0 || self.counter > NUMBER_MAX {
            return Err(Error::Refused { what: "an order's counter is 1 to 2^63 - 1", found: self.counter });
        }
        if self.issuer.is_empty() || self.issuer.len() > NAME_BYTES_MAX {
            let found = self.issuer.len();
            return Err(Error::TooLarge { what: "the issuer of an order in bytes", found, max: NAME_BYTES_MAX });
        }
        if self.targets.is_empty() {
            return Err(Error::Refused { what: "an order has at least one target", found: 0 });
        }
        Ok(())
    }

    /// Whether the gateway of `site`, which lies in `region` if that is known there, is among the targets.
    pub fn is_for(&self, site: &str, region: Option<&str>) -> bool {
        self.targets.iter().any(|target| match target {
            Target::Site(id) => id == site,
            Target::Region(code) => !code.is_empty() && region.is_some_and(|region| region.starts_with(code)),
            Target::Other(_) => false,
        })
    }
}

impl<'a> Target<'a> {
    fn from_text(text: &'a str) -> Self {
        match text.split_once(':') {
            Some(("site", id)) => Self::Site(id),
            Some(("region", code)) => Self::Region(code),
            _ => Self::Other(text),
        }
    }

    fn parts(&self) -> (&'static str, &'a str) {
        match self {
            Self::Site(id) => ("site:", id),
            Self::Region(code) => ("region:", code),
            Self::Other(text) => ("", text),
        }
    }
}

impl<C> Encode<C> for Target<'_> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let (prefix, rest) = self.parts();
        let mut text = [0; NAME_BYTES_MAX];
        let length = prefix.len() + rest.len();
        let Some(room) = text.get_mut(..length) else {
            return Err(encode::Error::message("a target of an order is too long"));
        };
        room[..prefix.len()].copy_from_slice(prefix.as_bytes());
        room[prefix.len()..].copy_from_slice(rest.as_bytes());
        e.str(core::str::from_utf8(room).expect("text after text is text"))?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Target<'b> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let text = d.str()?;
        if text.len() > NAME_BYTES_MAX {
            return Err(decode::Error::message("a target of an order is too long").at(at));
        }
        Ok(Self::from_text(text))
    }
}

impl Class {
    /// The class with this number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Drill,
            2 => Self::Test,
            3 => Self::Daily,
            4 => Self::Emergency,
            number => Self::Unknown(number),
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Drill => 1,
            Self::Test => 2,
            Self::Daily => 3,
            Self::Emergency => 4,
            Self::Unknown(number) => number,
        }
    }

    /// Its name in storage and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drill => "drill",
            Self::Test => "test",
            Self::Daily => "daily",
            Self::Emergency => "emergency",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl<C> Encode<C> for Class {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.u8(self.number())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Class {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.u8().map(Self::from_number)
    }
}
