//! Interned policies: most executions share a few policies, so each slot holds only a number.
//!
//! Owns the table of policies and its reference counts. Refuses to know what a policy means.

use std::collections::BTreeMap;

use crate::fact::Policy;

// Floats have no total order, but their bits do. Equal bits are the equality that interning needs.
type PolicyBits = (u64, u32, Option<(u32, u32, u64, u64, u64, bool, u32)>, u8);

fn bits(policy: &Policy) -> PolicyBits {
    let retry = policy.retry.map(|retry| {
        (
            retry.max_attempts,
            retry.strategy as u32,
            retry.initial_delay_ms,
            retry.backoff_multiplier.to_bits(),
            retry.max_delay_ms,
            retry.jitter,
            retry.retry_on,
        )
    });
    (
        policy.timeout_ms,
        policy.max_worker_losses,
        retry,
        policy.cancellation as u8,
    )
}

#[derive(Debug, Default)]
pub(super) struct Policies {
    entries: Vec<(Policy, u64)>,
    free: Vec<u32>,
    by_bits: BTreeMap<PolicyBits, u32>,
}

impl Policies {
    pub(super) fn get(&self, key: u32) -> &Policy {
        &self.entries[key as usize].0
    }

    pub(super) fn intern(&mut self, policy: &Policy) -> u32 {
        let key = *self.by_bits.entry(bits(policy)).or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.entries.push((*policy, 0));
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            })
        });
        let entry = &mut self.entries[key as usize];
        entry.0 = *policy;
        entry.1 += 1;
        key
    }

    pub(super) fn release(&mut self, key: u32) {
        let entry = &mut self.entries[key as usize];
        entry.1 -= 1;
        if entry.1 == 0 {
            self.by_bits.remove(&bits(&entry.0));
            self.free.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(timeout_ms: u64) -> Policy {
        Policy {
            timeout_ms,
            max_worker_losses: 3,
            retry: None,
            cancellation: crate::rules::status::Cancellation::default(),
        }
    }

    #[test]
    fn equal_policies_share_a_place_that_is_used_again() {
        let mut policies = Policies::default();
        let first = policies.intern(&policy(1));
        assert_eq!(first, policies.intern(&policy(1)));
        let second = policies.intern(&policy(2));
        policies.release(first);
        assert_eq!(&policy(1), policies.get(first));
        policies.release(first);
        assert_eq!(first, policies.intern(&policy(3)));
        assert_eq!(&policy(2), policies.get(second));
    }
}
