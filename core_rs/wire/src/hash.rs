//! The hashes that request ids are known by.
//!
//! Owns how a request id and a body become 128 bits each. They are kept on disk for a day, so
//! neither the keys nor what is hashed may ever change: a repeated request would then look like
//! a new one, or like another body. Refuses to know what the requests are.

use std::hash::Hasher as _;

use backlane_engine::fact::RequestKey;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

// Arbitrary, and fixed for ever.
const KEY_SEEDS: (u64, u64) = (0x6261_636B_6C61_6E65, 0x7265_7175_6573_7431);
const BODY_SEEDS: (u64, u64) = (0x6261_636B_6C61_6E65, 0x626F_6479_0000_0001);

/// Requests whose ids are apart from those of other families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// One execution, however it is waited for.
    Enqueue = 1,
    /// A batch as a whole.
    Batch = 2,
}

/// What a request is known by. The body is encoded canonically, without the request id.
pub(crate) fn request_key(family: Family, tenant: &str, id: &str, body: &[u8]) -> RequestKey {
    // No tenant holds a zero byte, so it ends where the zero is.
    let parts: [&[u8]; 4] = [&[family as u8], tenant.as_bytes(), &[0], id.as_bytes()];
    RequestKey {
        key: hash(KEY_SEEDS, &parts),
        body: hash(BODY_SEEDS, &[body]),
    }
}

fn hash(seeds: (u64, u64), parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = SipHasher13::new_with_keys(seeds.0, seeds.1);
    for part in parts {
        hasher.write(part);
    }
    u128::from(hasher.finish128()).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_every_version() {
        let known = request_key(Family::Enqueue, "acme", "r1", b"body");
        let text = |bytes: [u8; 16]| format!("{:032x}", u128::from_le_bytes(bytes));
        assert_eq!("9ef4f7fb1c1323441c15f72c1e0cd061", text(known.key));
        assert_eq!("96ba5bf037182985e45f62bb59755ce9", text(known.body));
    }

    #[test]
    fn family_tenant_and_id_each_make_another_key() {
        let key = |family, tenant, id| request_key(family, tenant, id, b"").key;
        let known = key(Family::Enqueue, "ab", "c");
        assert_ne!(known, key(Family::Batch, "ab", "c"));
        assert_ne!(known, key(Family::Enqueue, "a", "bc"));
        assert_ne!(known, key(Family::Enqueue, "ab", "d"));
    }
}
