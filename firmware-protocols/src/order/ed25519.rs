//! Ed25519 for orders, by `ed25519-dalek`.

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};

use super::{Algorithm, SIGNATURE_BYTES, Sign, Verify};

impl Verify for VerifyingKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Ed25519
    }

    /// Strictly: a signature that only a lenient reader takes, or a key under which anything verifies, is refused.
    fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl Sign for SigningKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Ed25519
    }

    fn signature(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        ed25519_dalek::Signer::sign(self, message).to_bytes()
    }
}
