//! Ids and names: how they are created, read and refused.
//!
//! Owns the KSUID form of execution ids, the text of lease tokens and the allowed characters of
//! names that callers choose. Refuses to know the objects that have these names.

use std::fmt;

use crate::error::Invalid;
use crate::rules::base62;

/// Seconds between the Unix epoch and the KSUID epoch.
pub const KSUID_EPOCH_SECONDS: u64 = 1_400_000_000;
/// Longest name of a tenant, worker or other object that callers name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest callable name, in bytes.
pub const MAX_CALLABLE_BYTES: usize = 256;

const PREFIX: &str = "exec_";
const BIRTH_BITS: u32 = 48;

/// The birth number of an execution: unique within its store, counted up from 1, never reused,
/// below 2^48.
pub type Birth = u64;

/// The id of an execution: a KSUID whose 16 bytes are birth number (6), salt (2) and random (8).
///
/// The birth number finds the execution without a map, and the random bytes make the id
/// unguessable. The ids of one store sort in the order of their enqueues, as texts too. The id does
/// not name the shard: calls are routed by their tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId {
    /// Seconds since the KSUID epoch.
    pub seconds: u32,
    /// The birth number of the execution.
    pub birth: Birth,
    /// Random bytes after the birth number.
    pub salt: u16,
    /// Random bytes, compared on every use of the id.
    pub random: u64,
}

impl ExecutionId {
    /// The 20 bytes of the KSUID.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.seconds.to_be_bytes());
        bytes[4..10].copy_from_slice(&self.birth.to_be_bytes()[2..]);
        bytes[10..12].copy_from_slice(&self.salt.to_be_bytes());
        bytes[12..].copy_from_slice(&self.random.to_be_bytes());
        bytes
    }

    /// The id that 20 bytes of a KSUID stand for.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        let wide = bytes.map(u64::from);
        let number = |range: std::ops::Range<usize>| {
            wide[range].iter().fold(0, |sum, byte| (sum << 8) | byte)
        };
        Self {
            seconds: u32::try_from(number(0..4)).unwrap_or(u32::MAX),
            birth: number(4..10),
            salt: u16::try_from(number(10..12)).unwrap_or(u16::MAX),
            random: number(12..20),
        }
    }

    /// Reads an id from its text: `exec_` and 27 base62 characters.
    ///
    /// # Errors
    /// [`Invalid`] naming `field` where the text has any other form.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        text.strip_prefix(PREFIX)
            .and_then(base62::decode)
            .map(Self::from_bytes)
            .ok_or_else(|| Invalid::new(field, "must be `exec_` followed by a 27-character KSUID"))
    }

    /// Whether a birth number fits in an id.
    #[must_use]
    pub const fn birth_fits(birth: Birth) -> bool {
        birth >> BIRTH_BITS == 0
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(PREFIX)?;
        base62::write(out, self.to_bytes())
    }
}

/// The right to report on one lease. No two leases have the same token, even across restarts, nodes
/// and restored backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseToken {
    /// The shard that gave the lease. Workers' commands are routed by this number.
    pub shard: u16,
    /// The epoch of the shard: it grows, durably, whenever a process takes the shard.
    pub epoch: u64,
    /// Number of the lease within its epoch.
    pub counter: u64,
    /// A random number. It distinguishes the leases of two stores that were restored from one
    /// backup.
    pub random: u64,
}

const TOKEN_PREFIX: &str = "lt_";

impl LeaseToken {
    /// Reads a lease token from its text; `None` for a text that no server wrote, which is treated
    /// as a stale token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(TOKEN_PREFIX)?.split('_');
        let mut hex = || u64::from_str_radix(parts.next()?, 16).ok();
        let token = Self {
            shard: u16::try_from(hex()?).ok()?,
            epoch: hex()?,
            counter: hex()?,
            random: hex()?,
        };
        // A token has exactly one text: "+1", "01", "A" and a fifth part are refused.
        (token.to_string() == text).then_some(token)
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shard,
            epoch,
            counter,
            random,
        } = self;
        write!(
            out,
            "{TOKEN_PREFIX}{shard:x}_{epoch:x}_{counter:x}_{random:x}"
        )
    }
}

/// Checks the name of a tenant, a worker or another object that callers name.
///
/// # Errors
/// [`Invalid`] naming `field` where the name breaks a rule.
pub fn check_name(field: &str, name: &str) -> Result<(), Invalid> {
    check_text(field, name, MAX_NAME_BYTES)
}

/// Checks the name of a callable.
///
/// # Errors
/// [`Invalid`] naming `field` where the name breaks a rule.
pub fn check_callable(field: &str, name: &str) -> Result<(), Invalid> {
    check_text(field, name, MAX_CALLABLE_BYTES)
}

fn check_text(field: &str, name: &str, most: usize) -> Result<(), Invalid> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@/-".contains(&byte);
    if name.is_empty() {
        return Err(Invalid::new(field, "must not be empty"));
    }
    if name.len() > most {
        return Err(Invalid::new(
            field,
            format!("must be at most {most} characters"),
        ));
    }
    if !name.bytes().all(legal) {
        return Err(Invalid::new(
            field,
            "may hold letters, digits and . _ : @ / - only",
        ));
    }
    Ok(())
}

/// Checks a request id or dedup key: 1 to `most` printable ASCII characters.
///
/// # Errors
/// [`Invalid`] naming `field` where the key breaks a rule.
pub fn check_key(field: &str, key: &str, most: usize) -> Result<(), Invalid> {
    if key.is_empty() || key.len() > most || !key.bytes().all(|byte| (0x20..0x7F).contains(&byte)) {
        let rule = format!("must be 1 to {most} printable ASCII characters");
        return Err(Invalid::new(field, rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_ksuid_is_the_published_one() {
        let id = ExecutionId::from_bytes([0xFF; 20]);
        assert_eq!("exec_aWgEPTl1tmebfsQzFP4bxwgy80V", id.to_string());
    }

    #[test]
    fn texts_that_are_no_id_are_refused_with_the_name_of_the_field() {
        for text in [
            "",
            "exec_",
            "step_aWgEPTl1tmebfsQzFP4bxwgy80V",
            "exec_aWgEPTl1tmebfsQzFP4bxwgy80W",
            "exec_aWgEPTl1tmebfsQzFP4bxwgy80",
            "exec_aWgEPTl1tmebfsQzFP4bxwgy8-V",
        ] {
            let error = ExecutionId::parse("execution_id", text).unwrap_err();
            assert_eq!("execution_id", error.field, "{text}");
        }
    }

    #[test]
    fn only_the_exact_text_of_a_token_is_read() {
        let token = LeaseToken {
            shard: 0,
            epoch: 1,
            counter: 0xAB,
            random: 0xF,
        };
        assert_eq!(Some(token), LeaseToken::parse("lt_0_1_ab_f"));
        for text in [
            "",
            "lt_1_ab",
            "lt_0_1_ab",
            "lt_0_1_AB_f",
            "lt_0_01_ab_f",
            "lt_0_+1_ab_f",
            "lt_0_1_ab_f_2",
            "lt_10000_1_ab_f",
            "0_1_ab_f",
        ] {
            assert_eq!(None, LeaseToken::parse(text), "{text}");
        }
    }

    #[test]
    fn names_have_allowed_characters_and_a_maximum_length() {
        assert!(check_name("tenant_id", "acme.eu:prod/a-b@c_1").is_ok());
        assert!(check_name("tenant_id", &"a".repeat(128)).is_ok());
        for bad in ["", "a b", "ä", &"a".repeat(129)] {
            assert_eq!("tenant_id", check_name("tenant_id", bad).unwrap_err().field);
        }
        assert!(check_callable("callable_name", &"a".repeat(256)).is_ok());
        assert!(check_callable("callable_name", &"a".repeat(257)).is_err());
    }

    proptest! {
        #[test]
        fn every_id_reads_back_from_its_text(bytes in any::<[u8; 20]>()) {
            let id = ExecutionId::from_bytes(bytes);
            prop_assert_eq!(bytes, id.to_bytes());
            prop_assert_eq!(Ok(id), ExecutionId::parse("id", &id.to_string()));
        }

        #[test]
        fn ids_of_one_second_sort_by_birth(
            a in 0..1_u64 << 48,
            b in 0..1_u64 << 48,
            parts: [(u16, u64); 2],
        ) {
            prop_assume!(a != b);
            let id = |birth, (salt, random)| {
                ExecutionId { seconds: 9, birth, salt, random }.to_string()
            };
            prop_assert_eq!(a.cmp(&b), id(a, parts[0]).cmp(&id(b, parts[1])));
        }

        #[test]
        fn every_token_reads_back_from_its_text(shard: u16, epoch: u64, counter: u64, random: u64) {
            let token = LeaseToken { shard, epoch, counter, random };
            prop_assert_eq!(Some(token), LeaseToken::parse(&token.to_string()));
        }
    }
}
