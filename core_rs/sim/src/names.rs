//! Names: the tenants, callables and offers of a run.
//!
//! Owns the choice of names. Refuses to know what is done with them.

use crate::dice::Dice;

/// The callables of an offer, and its tenants. No tenant means every tenant.
pub(crate) type Offered = (Vec<String>, Vec<String>);

/// The names of a run.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The tenants.
    pub(crate) tenants: Vec<String>,
    /// The callables.
    pub(crate) callables: Vec<String>,
    offers: Vec<Offered>,
}

/// The tenants whose executions keep the slow workers busy, in a run with several kinds of workers.
pub(crate) const SLOW_TENANTS: [&str; 3] = ["initech", "umbrella", "hooli"];
/// The tenants whose executions keep the quick workers busy.
pub(crate) const QUICK_TENANTS: [&str; 2] = ["acme", "globex"];
/// The callable of the slow workers.
pub(crate) const SLOW: &str = "video.encode";
/// The callable of the quick workers.
pub(crate) const QUICK: &str = "mail.send";

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Names {
    /// A few names.
    #[must_use]
    pub(crate) fn few() -> Self {
        let offers: [(&[&str], &[&str]); 6] = [
            (&["*"], &[]),
            (&["mail.*"], &[]),
            (&["mail.send", "llm.chat"], &["acme"]),
            (&["*"], &["globex", "initech"]),
            (&["report", "llm.*"], &[]),
            (&["mail.bulk"], &["acme", "globex"]),
        ];
        let offers = offers.iter().map(|(some, of)| (owned(some), owned(of)));
        Self {
            tenants: owned(&["acme", "globex", "initech"]),
            callables: owned(&["mail.send", "mail.bulk", "llm.chat", "report"]),
            offers: offers.collect(),
        }
    }

    /// Hundreds of names, and offers that cover a few or many of them.
    #[must_use]
    pub(crate) fn many(dice: &mut Dice) -> Self {
        let (tenants, areas) = (dice.between(200, 500), dice.between(10, 30));
        let tenants: Vec<_> = (0..tenants).map(|at| format!("tenant{at}")).collect();
        let callables = (0..areas * 10).map(|at| format!("area{}.job{at}", at / 10));
        let callables: Vec<_> = callables.collect();
        let areas: Vec<_> = (0..areas).map(|at| format!("area{at}.*")).collect();
        let some = |dice: &mut Dice, of: &[String], many: u64| -> Vec<String> {
            (0..many).map(|_| dice.pick(of).clone()).collect()
        };
        let offers = vec![
            (owned(&["*"]), Vec::new()),
            (some(dice, &areas, 3), Vec::new()),
            (some(dice, &callables, 60), Vec::new()),
            (owned(&["*"]), some(dice, &tenants, 40)),
            (some(dice, &areas, 8), some(dice, &tenants, 80)),
        ];
        Self {
            tenants,
            callables,
            offers,
        }
    }

    /// The names of a run with two kinds of workers.
    #[must_use]
    pub(crate) fn of_pools() -> Self {
        Self {
            tenants: owned(&[&QUICK_TENANTS[..], &SLOW_TENANTS[..]].concat()),
            callables: owned(&[QUICK, SLOW]),
            offers: Vec::new(),
        }
    }

    /// A random tenant.
    pub(crate) fn tenant(&self, dice: &mut Dice) -> String {
        dice.pick(&self.tenants).clone()
    }

    /// A random callable.
    pub(crate) fn callable(&self, dice: &mut Dice) -> String {
        dice.pick(&self.callables).clone()
    }

    /// A random offer.
    pub(crate) fn offer(&self, dice: &mut Dice) -> Offered {
        dice.pick(&self.offers).clone()
    }
}
