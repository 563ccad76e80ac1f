//! Enumerations that are numbers on the wire.

/// A number on the wire that must be one of those known: what is to sound is never guessed.
macro_rules! known_number {
    ($name:ident, $refusal:literal, $($variant:ident = $number:literal),+) => {
        impl $name {
            /// Its number on the wire.
            pub const fn number(self) -> u8 {
                match self { $(Self::$variant => $number),+ }
            }

            /// The one with this number, if it is known.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.u8(self.number())?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let at = d.position();
                Self::from_number(d.u8()?).ok_or_else(|| minicbor::decode::Error::message($refusal).at(at))
            }
        }
    };
}

pub(super) use known_number;
