//! The envelope of an order: `COSE_Sign1` (RFC 9052 §4.2), as few of its freedoms as orders need.
//!
//! `[protected: bstr .cbor {1: algorithm}, unprotected: {}, payload: bstr, signature: bstr .size 64]`, untagged, every
//! length in its shortest form. Whatever more a general reader would allow (a tag, other headers, a detached payload,
//! another way to write the same) is refused, so that each order has exactly one form.

use core::fmt;

use minicbor::{Decoder, Encoder, decode, encode};

use super::{ORDER_BYTES_MAX, Order, SIGNATURE_BYTES};
use crate::Error;
use crate::cbor;

const WHAT: &str = "order";
/// The context of a signature, RFC 9052 §4.4.
const CONTEXT: &str = "Signature1";
/// The header label of the algorithm, RFC 9052 §3.1.
const LABEL_ALGORITHM: u8 = 1;
/// A map of one label and one number.
const PROTECTED_BYTES_MAX: usize = 16;
/// Array, protected header, unprotected header, heads of payload and signature: what is not payload or signature.
const FRAME_BYTES_MAX: usize = 32;
/// Array, context, protected header, external data and the payload's head.
const STRUCTURE_BYTES_MAX: usize = ORDER_BYTES_MAX + FRAME_BYTES_MAX;

/// How an order is signed: the number of a COSE algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032) under its own number, -19 (RFC 9864).
    Ed25519,
    /// An algorithm that this code does not know. Nothing that is signed with it verifies.
    Unknown(i64),
}

impl Algorithm {
    /// The algorithm with this number.
    pub const fn from_number(number: i64) -> Self {
        match number {
            -19 => Self::Ed25519,
            number => Self::Unknown(number),
        }
    }

    /// Its number.
    pub const fn number(self) -> i64 {
        match self {
            Self::Ed25519 => -19,
            Self::Unknown(number) => number,
        }
    }
}

/// A public key of one algorithm.
pub trait Verify {
    /// The algorithm that the key is for.
    fn algorithm(&self) -> Algorithm;

    /// Whether `signature` was made over `message` with the other half of this key.
    fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool;
}

/// A private key of one algorithm.
pub trait Sign {
    /// The algorithm that the key is for.
    fn algorithm(&self) -> Algorithm;

    /// The signature over `message`.
    fn signature(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES];
}

/// Why an order that can be read is nobody's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It is signed with an algorithm that is unknown here, or is not that of the issuer's key.
    Algorithm(Algorithm),
    /// It is not signed with the issuer's key, or was changed after that.
    Signature,
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(algorithm) => {
                write!(
                    f,
                    "the order is signed with algorithm {}, which its issuer's key is not for",
                    algorithm.number()
                )
            }
            Self::Signature => f.write_str("the order does not bear its issuer's signature"),
        }
    }
}

impl core::error::Error for Unverified {}

/// An order that could be read. Whether it is its issuer's is not known before [`SignedOrder::verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedOrder<'a> {
    algorithm: Algorithm,
    protected: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8; SIGNATURE_BYTES],
    order: Order<'a>,
}

impl<'a> SignedOrder<'a> {
    /// Reads an order, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > ORDER_BYTES_MAX {
            return Err(Error::TooLarge { what: "an order in bytes", found: bytes.len(), max: ORDER_BYTES_MAX });
        }
        let mut decoder = Decoder::new(bytes);
        let signed = Self::read(&mut decoder).map_err(|error| Error::decoding(WHAT, &error))?;
        cbor::expect_end(&decoder, WHAT)?;
        signed.check_form(bytes)?;
        signed.order.check()?;
        Ok(signed)
    }

    /// Makes sure that this is the one form of the order: written again it is the same, byte by byte.
    fn check_form(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut protected = [0; PROTECTED_BYTES_MAX];
        let length = cbor::emit(WHAT, &Protected(self.algorithm), &mut protected)?;
        let envelope = Envelope { protected: &protected[..length], payload: self.payload, signature: self.signature };
        let mut again = [0; ORDER_BYTES_MAX];
        let length = cbor::emit(WHAT, &envelope, &mut again)?;
        let same = again[..length].iter().zip(bytes).take_while(|(again, byte)| again == byte).count();
        if same != bytes.len() || length != bytes.len() {
            return Err(Error::Malformed { what: WHAT, at: same });
        }
        Ok(())
    }

    fn read(decoder: &mut Decoder<'a>) -> Result<Self, decode::Error> {
        cbor::array_of(decoder, 4)?;
        let protected = decoder.bytes()?;
        let algorithm = read_protected(protected)?;
        let at = decoder.position();
        if decoder.map()? != Some(0) {
            return Err(decode::Error::message("an order has no unprotected headers").at(at));
        }
        let payload = decoder.bytes()?;
        let at = decoder.position();
        let signature = decoder.bytes()?;
        let Ok(signature) = <&[u8; SIGNATURE_BYTES]>::try_from(signature) else {
            return Err(decode::Error::message("a signature has 64 bytes").at(at));
        };
        let order = cbor::parse(WHAT, payload).map_err(|_| decode::Error::message("claims that cannot be read"))?;
        Ok(Self { algorithm, protected, payload, signature, order })
    }

    /// Whose order it claims to be: whose key to verify it with.
    pub const fn issuer(&self) -> &'a str {
        self.order.issuer
    }

    /// How it claims to be signed.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What it claims, for logs and for saying why it was refused. Anybody may have written this.
    pub const fn claimed(&self) -> &Order<'a> {
        &self.order
    }

    /// The order, if `key` signed exactly these bytes.
    pub fn verify(&self, key: &impl Verify) -> Result<Order<'a>, Unverified> {
        if matches!(self.algorithm, Algorithm::Unknown(_)) || key.algorithm() != self.algorithm {
            return Err(Unverified::Algorithm(self.algorithm));
        }
        let mut structure = [0; STRUCTURE_BYTES_MAX];
        let length = cbor::emit(WHAT, &Structure { protected: self.protected, payload: self.payload }, &mut structure)
            .map_err(|_| Unverified::Signature)?;
        if !key.verifies(&structure[..length], self.signature) {
            return Err(Unverified::Signature);
        }
        Ok(self.order)
    }
}

impl Order<'_> {
    /// Signs the order into `buffer` and answers how many bytes it took, at most [`ORDER_BYTES_MAX`].
    pub fn sign(&self, key: &impl Sign, buffer: &mut [u8]) -> Result<usize, Error> {
        self.check()?;
        let mut protected = [0; PROTECTED_BYTES_MAX];
        let length = cbor::emit(WHAT, &Protected(key.algorithm()), &mut protected)?;
        let protected = &protected[..length];
        let mut payload = [0; ORDER_BYTES_MAX - FRAME_BYTES_MAX - SIGNATURE_BYTES];
        let length = cbor::emit(WHAT, self, &mut payload)?;
        let payload = &payload[..length];
        let mut structure = [0; STRUCTURE_BYTES_MAX];
        let length = cbor::emit(WHAT, &Structure { protected, payload }, &mut structure)?;
        let signature = key.signature(&structure[..length]);
        cbor::emit(WHAT, &Envelope { protected, payload, signature: &signature }, buffer)
    }
}

fn read_protected(bytes: &[u8]) -> Result<Algorithm, decode::Error> {
    let mut decoder = Decoder::new(bytes);
    let header = decoder.map()?;
    let label = decoder.u8()?;
    let number = decoder.i64()?;
    if header != Some(1) || label != LABEL_ALGORITHM || decoder.position() != bytes.len() {
        return Err(decode::Error::message("the protected header of an order names its algorithm and nothing else"));
    }
    Ok(Algorithm::from_number(number))
}

struct Protected(Algorithm);

impl minicbor::Encode<()> for Protected {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut ()) -> Result<(), encode::Error<W::Error>> {
        e.map(1)?.u8(LABEL_ALGORITHM)?.i64(self.0.number())?.ok()
    }
}

/// What is signed: the `Sig_structure` of RFC 9052 §4.4, without external data.
struct Structure<'a> {
    protected: &'a [u8],
    payload: &'a [u8],
}

impl minicbor::Encode<()> for Structure<'_> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut ()) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?.str(CONTEXT)?.bytes(self.protected)?.bytes(&[])?.bytes(self.payload)?.ok()
    }
}

struct Envelope<'a> {
    protected: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
}

impl minicbor::Encode<()> for Envelope<'_> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut ()) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?.bytes(self.protected)?.map(0)?.bytes(self.payload)?.bytes(self.signature)?.ok()
    }
}
