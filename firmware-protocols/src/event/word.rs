//! Enumerations that are words on the wire.

/// An enumeration that is a word on the wire, and keeps words that it does not know.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name<'a> {
            $($(#[$variant_doc])* $variant,)+
            /// A word that this code does not know.
            Other(&'a str),
        }

        impl<'a> $name<'a> {
            /// The one with this name.
            pub fn from_name(name: &'a str) -> Self {
                match name {
                    $($word => Self::$variant,)+
                    other => Self::Other(other),
                }
            }

            /// Its name on the wire, in storage and on pages.
            pub const fn name(&self) -> &'a str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(name) => name,
                }
            }
        }

        impl<C> minicbor::Encode<C> for $name<'_> {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(self.name())?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name<'b> {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                d.str().map(Self::from_name)
            }
        }
    };
}

pub(super) use word;
