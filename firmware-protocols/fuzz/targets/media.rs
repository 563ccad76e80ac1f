//! The media connection: what parses is written again as it was; and our own MP4, from bytes that are none.
#![no_main]

use firmware_protocols::media::mp4::{fragments, read_init, retime};
use firmware_protocols::media::{Codec, DecodeOrder, GatewayMessage, HubMessage, is_random_access};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = GatewayMessage::parse(bytes) {
        let mut buffer = vec![0; message.encoded_len()];
        // A name of a codec may be longer on the wire than we would write it.
        if message.emit(&mut buffer).is_ok() {
            assert_eq!(GatewayMessage::parse(&buffer), Ok(message));
        }
    }
    if let Ok(message) = HubMessage::parse(bytes) {
        let mut buffer = vec![0; message.encoded_len()];
        message.emit(&mut buffer).expect("what was parsed is legal");
        assert_eq!(HubMessage::parse(&buffer), Ok(message));
        if let HubMessage::Leases(leases) = message {
            assert_eq!(leases.iter().count(), leases.len());
        }
    }
    for codec in [Codec::H264, Codec::H265] {
        is_random_access(codec, bytes);
    }
    for fragment in fragments(bytes).flatten() {
        fragment.samples().for_each(drop);
    }
    let _ = read_init(bytes);
    let _ = retime(&mut bytes.to_vec(), 1);

    let mut order = DecodeOrder::new(usize::from(bytes.first().copied().unwrap_or(0)));
    let mut last = 0;
    for eight in bytes.chunks_exact(8) {
        let times = order.push(i64::from_le_bytes(eight.try_into().expect("a chunk of eight has eight bytes")));
        assert!(times.decode_90k > last);
        last = times.decode_90k;
    }
});
