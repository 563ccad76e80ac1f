//! Orders: what parses has one form, no bytes that a key did not sign verify, and bodies of any kind do not panic.
#![no_main]

use firmware_protocols::order::{Algorithm, Order, SIGNATURE_BYTES, SignedOrder, Verify};
use libfuzzer_sys::fuzz_target;

/// A key that takes any signature, so that what stands behind the signature is reached.
struct Credulous;

impl Verify for Credulous {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Ed25519
    }

    fn verifies(&self, message: &[u8], _: &[u8; SIGNATURE_BYTES]) -> bool {
        assert_eq!(message[..12], *b"\x84\x6aSignature1");
        true
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(signed) = SignedOrder::parse(bytes) else { return };
    let _ = signed.verify(&Credulous).map(|order| order.body());
    for kind in 0..8 {
        let _ = Order { kind, ..*signed.claimed() }.body();
    }
});
