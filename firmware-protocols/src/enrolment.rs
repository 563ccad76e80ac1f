//! Enrolment: how a gateway that holds nothing but a claim makes itself known at the hub's HTTPS port.

/// The application protocol (RFC 7301) that a gateway offers beside `http/1.1` while it enrols. The claim pins the county's own
/// authority, and the port may serve browsers a certificate from elsewhere: by this word the hub knows which of the two is
/// asked for. What is spoken is HTTP/1.1 either way.
pub const ENROLMENT_PROTOCOL: &[u8] = b"tongluo-enrolment";
