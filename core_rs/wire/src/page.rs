//! Page tokens: the position where the next page of a list begins.
//!
//! Owns the text of page tokens and what ties a token to one list. Refuses to know the lists.

use std::hash::Hasher as _;

use backlane_engine::error::Invalid;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Status;
use siphasher::sip::SipHasher13;

const DIGITS: usize = 16;

/// The token of the page that follows the execution `last` in the list of this tenant and status.
#[must_use]
pub fn page_token(tenant: &str, status: Option<Status>, last: Birth) -> String {
    format!("{last:016x}{:016x}", binding(tenant, status, last))
}

/// The last execution before the page that `token` stands for, in the list of this tenant and
/// status.
pub(crate) fn parse(tenant: &str, status: Option<Status>, token: &str) -> Result<Birth, Invalid> {
    token
        .get(..DIGITS)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .filter(|last| page_token(tenant, status, *last) == token)
        .ok_or_else(|| {
            Invalid::new(
                "page_token",
                "must be the next_page_token of a reply to the same list",
            )
        })
}

// A checksum over the list and the position. No protection against forgery: the checksum only
// catches a token of one list that is used for another by mistake.
fn binding(tenant: &str, status: Option<Status>, last: Birth) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(&last.to_le_bytes());
    hasher.write(&[status.map_or(0, |status| status as u8)]);
    hasher.write(tenant.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_of_another_list_is_refused() {
        let token = page_token("acme", Some(Status::Failed), 77);
        assert_eq!(Ok(77), parse("acme", Some(Status::Failed), &token));
        for (tenant, status) in [("acme", None), ("other", Some(Status::Failed))] {
            assert_eq!(
                "page_token",
                parse(tenant, status, &token).unwrap_err().field
            );
        }
    }

    proptest! {
        #[test]
        fn other_texts_are_refused(text in "\\PC{0,40}") {
            prop_assert!(parse("acme", None, &text).is_err());
        }

        #[test]
        fn every_token_reads_back_as_the_execution_it_was_made_for(last: u64) {
            prop_assert_eq!(Ok(last), parse("a", None, &page_token("a", None, last)));
        }
    }
}
