//! Which offers are kept while no worker uses them.
//!
//! Owns the tests of idle offers. Refuses to test leases: the suite of the crate does.

use super::*;
use crate::rules::access::TenantScope;

fn spec(callable: &str) -> OfferSpec {
    OfferSpec {
        callables: [callable.into()].into(),
        tenants: TenantScope::Any,
    }
}

#[test]
fn an_offer_that_comes_and_goes_alone_is_never_built_again() {
    let (mut offers, tenants) = (Offers::default(), Tenants::default());
    let key = offers.acquire(spec("mail"), &tenants);
    offers.release(key, &tenants);
    for _ in 0..1_000 {
        assert_eq!(key, offers.acquire(spec("mail"), &tenants));
        offers.release(key, &tenants);
    }
    assert_eq!(1, offers.idle.len());
}

#[test]
fn only_the_newest_offers_without_a_use_are_kept() {
    let (mut offers, tenants) = (Offers::default(), Tenants::default());
    for number in 0..500 {
        let key = offers.acquire(spec(&number.to_string()), &tenants);
        offers.release(key, &tenants);
    }
    assert_eq!(IDLE_KEPT, offers.by_key.len());
    assert_eq!(IDLE_KEPT, offers.by_spec.len());
    assert!(offers.patterns.covering("0").is_empty());
    assert_eq!(1, offers.patterns.covering("499").len());
}
