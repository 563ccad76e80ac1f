//! What the hub says on the media connection, and in a call over MQTT.

use super::bytes::{Reader, Writer, check_camera};
use super::{CAMERA_ID_BYTES_MAX, LEASES_MAX, Quality};
use crate::Error;

const LEASES: u8 = 65;
const ASK: u8 = 66;
const FETCH: u8 = 67;
const MORE: u8 = 68;
const CANCEL: u8 = 69;

/// One live stream that the hub wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease<'a> {
    /// The hub's number for it; a stream that is wanted again after it ended has another.
    pub stream: u32,
    /// Which camera.
    pub camera: &'a str,
    /// Which of its streams.
    pub quality: Quality,
}

impl<'a> Lease<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let stream = reader.u32()?;
        let quality = Quality::from_number(reader.u8()?)?;
        Ok(Self { stream, quality, camera: reader.camera()? })
    }
}

/// All the live streams that the hub wants of a gateway now; one that is not named any more ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leases<'a> {
    count: u8,
    bytes: &'a [u8],
}

impl<'a> Leases<'a> {
    /// No stream: "open the media connection, I have something to ask".
    pub const NONE: Leases<'static> = Leases { count: 0, bytes: &[] };

    /// The longest set, in bytes.
    pub const BYTES_MAX: usize = LEASES_MAX * (4 + 1 + 1 + CAMERA_ID_BYTES_MAX);

    /// Writes a set into `buffer`, which [`HubMessage::Leases`] then borrows.
    ///
    /// # Errors
    /// More than [`LEASES_MAX`], an id that is none, or a buffer shorter than [`Leases::BYTES_MAX`] that is too short.
    pub fn write(leases: &[Lease<'_>], buffer: &'a mut [u8]) -> Result<Self, Error> {
        if leases.len() > LEASES_MAX {
            return Err(Error::TooLarge { what: "a set of leases", found: leases.len(), max: LEASES_MAX });
        }
        let length = leases.iter().map(|lease| 4 + 1 + 1 + lease.camera.len()).sum();
        let mut writer = Writer::new("a set of leases", buffer, length)?;
        for lease in leases {
            check_camera(lease.camera)?;
            writer.u32(lease.stream).u8(lease.quality.number()).short_text(lease.camera);
        }
        let length = writer.length();
        Ok(Self { count: leases.len() as u8, bytes: &buffer[..length] })
    }

    /// How many streams.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether no stream is wanted.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The streams that are wanted.
    pub fn iter(&self) -> impl Iterator<Item = Lease<'a>> + use<'a> {
        let mut reader = Reader::new("a set of leases", self.bytes).expect("the set was read or written before");
        (0..self.count).map(move |_| Lease::read(&mut reader).expect("every lease was read or written before"))
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let count = reader.u8()?;
        if usize::from(count) > LEASES_MAX {
            return Err(Error::TooLarge { what: "a set of leases", found: usize::from(count), max: LEASES_MAX });
        }
        let mut ahead = *reader;
        for _ in 0..count {
            Lease::read(&mut ahead)?;
        }
        ahead.end()?;
        Ok(Self { count, bytes: reader.rest() })
    }
}

/// A message from the hub to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubMessage<'a> {
    /// Which live streams are wanted, for [`LEASE_MS`](super::LEASE_MS). Also the payload of a call.
    Leases(Leases<'a>),
    /// A question, as JSON; answered by one [`Answer`](super::GatewayMessage::Answer).
    Ask {
        /// The hub's number for it.
        request: u32,
        /// The question.
        body: &'a [u8],
    },
    /// A span of a recording is wanted, as far as credit reaches.
    Fetch {
        /// The hub's number for it.
        request: u32,
        /// Which camera.
        camera: &'a str,
        /// Which of its streams.
        quality: Quality,
        /// From, UTC milliseconds of the gateway's clock.
        from_ms: i64,
        /// To, UTC milliseconds of the gateway's clock.
        to_ms: i64,
    },
    /// So many more bytes may be sent for a fetch.
    More {
        /// Which request.
        request: u32,
        /// How many.
        bytes: u32,
    },
    /// A question or a fetch is of no interest any more.
    Cancel {
        /// Which request.
        request: u32,
    },
    /// Of a kind that is not known here.
    Unknown {
        /// The kind byte.
        kind: u8,
        /// What follows it.
        body: &'a [u8],
    },
}

impl<'a> HubMessage<'a> {
    /// Reads a message, which must be all of `bytes`.
    ///
    /// # Errors
    /// What is too short, too long, or has a value that is not allowed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("a media message of the hub", bytes)?;
        let kind = reader.u8()?;
        let message = match kind {
            LEASES => {
                reader = reader.named("a set of leases");
                Self::Leases(Leases::read(&mut reader)?)
            }
            ASK => Self::Ask { request: reader.u32()?, body: reader.rest() },
            FETCH => {
                reader = reader.named("a fetch");
                Self::Fetch {
                    request: reader.u32()?,
                    quality: Quality::from_number(reader.u8()?)?,
                    from_ms: reader.i64()?,
                    to_ms: reader.i64()?,
                    camera: reader.camera()?,
                }
            }
            MORE => Self::More { request: reader.u32()?, bytes: reader.u32()? },
            CANCEL => Self::Cancel { request: reader.u32()? },
            _ => Self::Unknown { kind, body: reader.rest() },
        };
        reader.end()?;
        Ok(message)
    }

    /// How many bytes [`HubMessage::emit`] writes.
    pub fn encoded_len(&self) -> usize {
        1 + match self {
            Self::Leases(leases) => 1 + leases.bytes.len(),
            Self::Ask { body, .. } => 4 + body.len(),
            Self::Fetch { camera, .. } => 4 + 1 + 8 + 8 + 1 + camera.len(),
            Self::More { .. } => 4 + 4,
            Self::Cancel { .. } => 4,
            Self::Unknown { body, .. } => body.len(),
        }
    }

    /// Writes the message to the front of `buffer` and answers how many bytes it took.
    ///
    /// # Errors
    /// A buffer that is too short, a message that is too long, or an id that is none.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut writer = Writer::new("a media message", buffer, self.encoded_len())?;
        match *self {
            Self::Leases(leases) => writer.u8(LEASES).u8(leases.count).put(leases.bytes),
            Self::Ask { request, body } => writer.u8(ASK).u32(request).put(body),
            Self::Fetch { request, camera, quality, from_ms, to_ms } => {
                check_camera(camera)?;
                writer.u8(FETCH).u32(request).u8(quality.number()).i64(from_ms).i64(to_ms).short_text(camera)
            }
            Self::More { request, bytes } => writer.u8(MORE).u32(request).u32(bytes),
            Self::Cancel { request } => writer.u8(CANCEL).u32(request),
            Self::Unknown { kind, body } => writer.u8(kind).put(body),
        };
        Ok(writer.length())
    }
}
