//! The hashes of request ids.
//!
//! Owns how a request id and a body become 128 bits each. The hashes are kept on disk for a day,
//! so neither the keys nor the hashed bytes may ever change: a repeated request would then look
//! like a new one, or like another body. Refuses to know what the requests ask for.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

// Chosen arbitrarily. The seeds must never change.
const KEY_SEEDS: (u64, u64) = (0x6261_636B_6C61_6E65, 0x7265_7175_6573_7431);
const BODY_SEEDS: (u64, u64) = (0x6261_636B_6C61_6E65, 0x626F_6479_0000_0001);

/// The first byte of every hashed body: the list of fields that count. Another list is another
/// version, and every body of it differs from every body of this one.
const BODY_VERSION: u8 = 1;

/// The kinds of requests whose ids are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request for one execution, whichever call sent it: `Enqueue`, `EnqueueStream` or `Run`.
    Enqueue = 1,
    /// A request for a whole batch.
    Batch = 2,
    /// A request that provides an input to an execution.
    Input = 3,
    /// A request to redrive one execution.
    Redrive = 4,
}

/// The hash of a request id within its tenant.
pub(crate) fn key(kind: Kind, tenant: &str, id: &str) -> [u8; 16] {
    let mut hasher = SipHasher13::new_with_keys(KEY_SEEDS.0, KEY_SEEDS.1);
    hasher.write(&[kind as u8]);
    hasher.write(tenant.as_bytes());
    // No tenant's name holds a zero byte, so the zero marks the end of the tenant.
    hasher.write(&[0]);
    hasher.write(id.as_bytes());
    u128::from(hasher.finish128()).to_le_bytes()
}

/// The hash of a request's body, field by field. Each field is preceded by its length, so that no
/// two lists of fields are the same bytes.
pub(crate) struct Body(SipHasher13);

impl Body {
    pub(crate) fn new() -> Self {
        let mut hasher = SipHasher13::new_with_keys(BODY_SEEDS.0, BODY_SEEDS.1);
        hasher.write(&[BODY_VERSION]);
        Self(hasher)
    }

    /// Adds a field that is always present.
    pub(crate) fn field(&mut self, value: &[u8]) {
        self.0.write(&(value.len() as u64).to_le_bytes());
        self.0.write(value);
    }

    /// Adds a field that may be absent. An absent field hashes differently from an empty one.
    pub(crate) fn optional(&mut self, value: Option<&[u8]>) {
        self.count(usize::from(value.is_some()));
        if let Some(value) = value {
            self.field(value);
        }
    }

    /// Adds the number of the items that follow.
    pub(crate) fn count(&mut self, items: usize) {
        self.0.write(&(items as u64).to_le_bytes());
    }

    pub(crate) fn finish(self) -> [u8; 16] {
        u128::from(self.0.finish128()).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: [u8; 16]) -> String {
        format!("{:032x}", u128::from_le_bytes(bytes))
    }

    #[test]
    fn the_hashes_are_those_of_every_version() {
        let known = key(Kind::Enqueue, "acme", "r1");
        assert_eq!("9ef4f7fb1c1323441c15f72c1e0cd061", text(known));
        let mut body = Body::new();
        body.field(b"body");
        body.optional(None);
        body.optional(Some(b""));
        body.count(2);
        assert_eq!("4e86da4d348ebf810b44224276302634", text(body.finish()));
    }

    #[test]
    fn kind_tenant_and_id_each_make_another_key() {
        let known = key(Kind::Enqueue, "ab", "c");
        assert_ne!(known, key(Kind::Batch, "ab", "c"));
        assert_ne!(known, key(Kind::Enqueue, "a", "bc"));
        assert_ne!(known, key(Kind::Enqueue, "ab", "d"));
    }

    #[test]
    fn fields_with_other_boundaries_make_another_body() {
        let of = |fields: &[&[u8]]| {
            let mut body = Body::new();
            for field in fields {
                body.field(field);
            }
            body.finish()
        };
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        let optional = |value| {
            let mut body = Body::new();
            body.optional(value);
            body.finish()
        };
        assert_ne!(optional(None), optional(Some(b"")));
    }
}
