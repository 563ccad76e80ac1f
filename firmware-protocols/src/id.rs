//! The names by which things are known: streams and their entries, presses, devices.
//!
//! All numbers here fit a signed 64-bit column, so that every database keeps them as they are.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decoder, Encoder, decode, encode};

use crate::Error;

/// The number of an entry in its stream: 1, 2, 3, … without holes.
pub type Sequence = u64;

/// The greatest [`Sequence`], [`Epoch`] or [`BootId`]: the greatest signed 64-bit number.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

/// How urgent a journal's entries are. The lanes never wait for one another, but that urgent goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Alarms upwards, orders downwards.
    Urgent = 0,
    /// Supervision, faults, play reports, configuration.
    Routine = 1,
}

impl Lane {
    /// Both lanes, the more urgent first.
    pub const ALL: [Self; 2] = [Self::Urgent, Self::Routine];

    /// The lane's number on the wire and in storage.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The lane with this number.
    pub const fn from_number(number: u64) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::Urgent),
            1 => Ok(Self::Routine),
            found => Err(Error::Refused { what: "a lane is 0 (urgent) or 1 (routine)", found }),
        }
    }

    /// The lane's word in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Routine => "routine",
        }
    }
}

impl<C> minicbor::Encode<C> for Lane {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.u8(self.number())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Lane {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Self::from_number(d.u64()?).map_err(|_| decode::Error::message("an unknown lane").at(at))
    }
}

/// A random number of 63 bits as an identifier.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $refusal:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Makes the identifier of 64 random bits, of which the highest is cleared.
            pub const fn from_random(random: u64) -> Self {
                Self(random & NUMBER_MAX)
            }

            /// The identifier with this number, as the wire and the storage keep it.
            pub const fn new(number: u64) -> Result<Self, Error> {
                if number > NUMBER_MAX {
                    return Err(Error::Refused { what: $refusal, found: number });
                }
                Ok(Self(number))
            }

            /// Its number, at most [`NUMBER_MAX`].
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.u64(self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let at = d.position();
                Self::new(d.u64()?).map_err(|_| decode::Error::message($refusal).at(at))
            }
        }
    };
}

random_id! {
    /// One life of a journal, from its opening to its closing: random, so that `(epoch, sequence)` is never used for two
    /// entries, whatever disk was rolled back, cloned or restored.
    Epoch, "an epoch has at most 63 bits"
}

random_id! {
    /// One run of a program on a machine: what its monotonic milliseconds count from.
    BootId, "a boot id has at most 63 bits"
}

/// One append-only stream of entries: a lane in one life of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// How urgent its entries are.
    pub lane: Lane,
    /// The life of the journal that they were written in.
    pub epoch: Epoch,
}

/// The name of one press: where its entry stands in the urgent lane. As text `{epoch:016x}-{sequence}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PressId {
    /// The life of the journal that the press was committed in.
    pub epoch: Epoch,
    /// Its entry's number in the urgent lane.
    pub sequence: Sequence,
}

impl fmt::Display for PressId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.sequence)
    }
}

impl FromStr for PressId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const MALFORMED: Error = Error::Malformed { what: "press id", at: 0 };
        let (epoch, sequence) = text.split_once('-').ok_or(MALFORMED)?;
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let plain_number = sequence.bytes().all(|byte| byte.is_ascii_digit()) && !sequence.starts_with('0');
        if epoch.len() != 16 || !epoch.bytes().all(lower_hex) || !plain_number {
            return Err(MALFORMED);
        }
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| MALFORMED)?;
        let sequence = sequence.parse().map_err(|_| MALFORMED)?;
        if sequence > NUMBER_MAX {
            return Err(MALFORMED);
        }
        Ok(Self { epoch: Epoch::new(epoch)?, sequence })
    }
}

impl<C> minicbor::Encode<C> for PressId {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let mut text = KeyWriter { bytes: [0; DEVICE_KEY_BYTES_MAX], length: 0 };
        fmt::write(&mut text, format_args!("{self}")).expect("16 digits, a dash and 19 digits fit");
        let text = core::str::from_utf8(&text.bytes[..text.length]).expect("digits are ASCII");
        e.str(text)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for PressId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        d.str()?.parse().map_err(|_| decode::Error::message("not a press id").at(at))
    }
}

/// The name of a content that travels as a file: its SHA-256. As text 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub [u8; Self::BYTES]);

impl ContentId {
    /// The length of a SHA-256.
    pub const BYTES: usize = 32;
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ContentId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const MALFORMED: Error = Error::Malformed { what: "content id", at: 0 };
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 2 * Self::BYTES || !text.bytes().all(lower_hex) {
            return Err(MALFORMED);
        }
        let mut bytes = [0; Self::BYTES];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| MALFORMED)?;
        }
        Ok(Self(bytes))
    }
}

impl<C> minicbor::Encode<C> for ContentId {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for ContentId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let bytes = d.bytes()?.try_into();
        bytes.map(Self).map_err(|_| decode::Error::message("a SHA-256 has 32 bytes").at(at))
    }
}

/// The longest [`DeviceKey`] in bytes: room for any serial number we have met, and small enough to be copied.
pub const DEVICE_KEY_BYTES_MAX: usize = 64;

/// By what a device is known: something that cannot be renamed, after the name space it is unique in, such as
/// `zigbee:0x00158d0001a2b3c4` or `lorawan:24e124535b316056`. Printable ASCII, 3 to 64 bytes, with a colon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey {
    bytes: [u8; DEVICE_KEY_BYTES_MAX],
    length: u8,
}

impl DeviceKey {
    /// The key of a Zigbee device, by its IEEE address.
    pub fn zigbee(ieee_address: u64) -> Self {
        Self::written(format_args!("zigbee:{ieee_address:#018x}"))
    }

    /// The key of a LoRaWAN device, by its `DevEUI`.
    pub fn lorawan(dev_eui: u64) -> Self {
        Self::written(format_args!("lorawan:{dev_eui:016x}"))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("a device key is ASCII: checked when made")
    }

    fn written(text: fmt::Arguments<'_>) -> Self {
        let mut writer = KeyWriter { bytes: [0; DEVICE_KEY_BYTES_MAX], length: 0 };
        fmt::write(&mut writer, text).expect("a name space and 16 digits fit a device key");
        Self { bytes: writer.bytes, length: writer.length as u8 }
    }
}

impl FromStr for DeviceKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let length = text.len();
        if length > DEVICE_KEY_BYTES_MAX {
            return Err(Error::TooLarge { what: "a device key", found: length, max: DEVICE_KEY_BYTES_MAX });
        }
        let (space, name) = text.split_once(':').unwrap_or_default();
        if space.is_empty() || name.is_empty() {
            return Err(Error::Malformed { what: "device key", at: 0 });
        }
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err(Error::Malformed { what: "device key", at });
        }
        let mut bytes = [0; DEVICE_KEY_BYTES_MAX];
        bytes[..length].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: length as u8 })
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.as_str())
    }
}

impl<C> minicbor::Encode<C> for DeviceKey {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for DeviceKey {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        d.str()?.parse().map_err(|_| decode::Error::message("not a device key").at(at))
    }
}

struct KeyWriter {
    bytes: [u8; DEVICE_KEY_BYTES_MAX],
    length: usize,
}

impl fmt::Write for KeyWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_press_id_reads_as_it_is_written() {
        let id = PressId { epoch: Epoch::new(0x1a2b).unwrap(), sequence: 42 };
        assert_eq!(id.to_string(), "0000000000001a2b-42");
        assert_eq!("0000000000001a2b-42".parse(), Ok(id));
    }

    #[test]
    fn a_press_id_has_one_spelling() {
        for text in [
            "",
            "-",
            "1a2b-42",
            "0000000000001A2B-42",
            "0000000000001a2b-042",
            "0000000000001a2b-0",
            "0000000000001a2b-+4",
            "0000000000001a2b-",
            "8000000000000000-1",
            "0000000000001a2b-9223372036854775808",
            "+000000000001a2b-1",
        ] {
            assert!(text.parse::<PressId>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn device_keys_are_named_by_their_address() {
        assert_eq!(DeviceKey::zigbee(0x0015_8d00_01a2_b3c4).as_str(), "zigbee:0x00158d0001a2b3c4");
        assert_eq!(DeviceKey::lorawan(0x24e1_2453_5b31_6056).as_str(), "lorawan:24e124535b316056");
        assert_eq!("lorawan:24e124535b316056".parse(), Ok(DeviceKey::lorawan(0x24e1_2453_5b31_6056)));
    }

    #[test]
    fn device_keys_are_refused_without_a_name_space_or_with_odd_letters() {
        for text in ["", ":", "zigbee", "zigbee:", ":1", "zigbee:a b", "zigbee:铜锣", &"z:".repeat(40)] {
            assert!(text.parse::<DeviceKey>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn random_ids_fit_a_signed_column() {
        assert_eq!(Epoch::from_random(u64::MAX).get(), NUMBER_MAX);
        assert!(Epoch::new(NUMBER_MAX + 1).is_err());
        assert!(BootId::new(NUMBER_MAX).is_ok());
    }
}
