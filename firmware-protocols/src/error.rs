//! Why bytes could not be read, or a value could not be written.

use core::fmt;

/// Why bytes could not be read, or a value could not be written. Says what failed, with which value, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes end too early, or are not of the form that `what` has.
    Malformed {
        /// What was being read.
        what: &'static str,
        /// How many bytes had been read when it failed.
        at: usize,
    },
    /// The bytes are of a version of `what` that this code does not know.
    Version {
        /// What was being read.
        what: &'static str,
        /// The version it claims.
        found: u64,
    },
    /// The form is right and a value in it is not allowed.
    Refused {
        /// The value and what is allowed, as a phrase.
        what: &'static str,
        /// The value that was found.
        found: u64,
    },
    /// Over a limit of this crate.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: usize,
        /// How large it may be.
        max: usize,
    },
    /// The caller's buffer has no room for it.
    Full {
        /// What was being written.
        what: &'static str,
        /// How many bytes the buffer has.
        capacity: usize,
    },
}

impl Error {
    /// An error of the CBOR decoder, with the position it knows.
    pub(crate) fn decoding(what: &'static str, error: &minicbor::decode::Error) -> Self {
        Self::Malformed { what, at: error.position().unwrap_or(0) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { what, at } => write!(f, "{what} is malformed at byte {at}"),
            Self::Version { what, found } => write!(f, "{what} has version {found}, which is not known here"),
            Self::Refused { what, found } => write!(f, "{what}, but it is {found}"),
            Self::TooLarge { what, found, max } => write!(f, "{what} is {found} and may be at most {max}"),
            Self::Full { what, capacity } => write!(f, "{what} does not fit into {capacity} bytes"),
        }
    }
}

impl core::error::Error for Error {}
