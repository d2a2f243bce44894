//! Retries: whether another attempt follows, and after which delay.
//!
//! Owns the decision and the delay. Refuses to know clocks and timers: it returns milliseconds.

use std::hash::Hasher as _;

use strum::VariantArray;

/// The category of an error: the part of the system that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
#[repr(u8)]
pub enum Category {
    /// The provider of a language model failed.
    Llm = 1,
    /// A tool failed.
    Tool = 2,
    /// The network failed.
    Network = 3,
    /// A time limit was exceeded.
    Timeout = 4,
    /// A policy forbids the execution.
    PolicyViolation = 5,
    /// A quota is used up.
    QuotaExceeded = 6,
    /// Backlane itself failed.
    KernelInternal = 7,
    /// The input is invalid.
    Validation = 8,
}

impl Category {
    /// Every category.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether a retry cannot help.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        matches!(
            self,
            Self::PolicyViolation | Self::QuotaExceeded | Self::KernelInternal | Self::Validation
        )
    }

    /// The category with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// How the delay grows with the number of spent attempts `n`, from the initial delay `d` and the
/// multiplier `m`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
#[repr(u8)]
pub enum Strategy {
    /// A constant delay: `d`.
    Fixed = 1,
    /// A delay that grows by `d` each time: `d·n`.
    Linear = 2,
    /// A delay that is multiplied each time: `d·m^(n−1)`.
    #[default]
    Exponential = 3,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The strategy with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// The retry rule of an execution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts that may be spent, including the first; at least 1.
    pub max_attempts: u32,
    /// How the delay grows from attempt to attempt.
    pub strategy: Strategy,
    /// Delay after the first spent attempt, in milliseconds.
    pub initial_delay_ms: u64,
    /// Factor of the exponential strategy; finite and at least 0.
    pub backoff_multiplier: f64,
    /// Longest delay, in milliseconds.
    pub max_delay_ms: u64,
    /// Whether delays are spread randomly by up to 25 % in both directions.
    pub jitter: bool,
    /// Categories that are retried: bit n stands for category n. 0 means every category that is not
    /// fatal.
    pub retry_on: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            strategy: Strategy::Exponential,
            initial_delay_ms: 1_000,
            backoff_multiplier: 2.0,
            max_delay_ms: 60_000,
            jitter: true,
            retry_on: 0,
        }
    }
}

impl Retry {
    /// Whether errors of this category are retried.
    #[must_use]
    pub fn covers(&self, category: Category) -> bool {
        !category.is_fatal() && (self.retry_on == 0 || self.retry_on & (1 << category as u32) != 0)
    }

    /// Delay in milliseconds before the next attempt, after `spent` spent attempts. `seed` decides
    /// the jitter: the same seed gives the same delay.
    #[must_use]
    pub fn delay_ms(&self, spent: u32, seed: u64) -> u64 {
        let n = spent.max(1);
        let initial = as_float(self.initial_delay_ms);
        let raw = match self.strategy {
            Strategy::Fixed => initial,
            Strategy::Linear => initial * f64::from(n),
            Strategy::Exponential => {
                let exponent = i32::try_from(n - 1).unwrap_or(i32::MAX);
                initial * self.backoff_multiplier.powi(exponent)
            }
        };
        // 0 × ∞ is NaN: an initial delay of zero stays zero, however large the multiplier has
        // grown.
        let raw = if raw.is_nan() { 0.0 } else { raw };
        let capped = as_whole(raw).min(self.max_delay_ms);
        if self.jitter {
            spread(capped, seed).min(self.max_delay_ms)
        } else {
            capped
        }
    }
}

/// The seed of the jitter, from the execution's id and its attempt.
#[must_use]
pub fn jitter_seed(id: &[u8; 20], attempt: u32) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(id);
    hasher.write_u32(attempt);
    hasher.finish()
}

// Spreads a delay by up to 25 %: the seed picks one of 2^53 factors from 0.75 to 1.25.
fn spread(delay_ms: u64, seed: u64) -> u64 {
    let unit = as_float(seed >> 11) / as_float(1 << 53);
    as_whole(as_float(delay_ms) * (0.75 + unit / 2.0))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "delays need no more than 53 bits"
)]
fn as_float(whole: u64) -> f64 {
    whole as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-integer cast saturates, which is what a delay wants"
)]
fn as_whole(float: f64) -> u64 {
    float.round() as u64
}

/// The decision about an execution after a reported error or a timed-out attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The execution ends.
    End,
    /// Another attempt follows; this attempt is spent.
    Retry {
        /// Delay before the next attempt, in milliseconds.
        delay_ms: u64,
    },
    /// Another attempt follows; no attempt is spent.
    Throttled {
        /// Delay before the next attempt, in milliseconds.
        delay_ms: u64,
    },
}

/// The inputs of a verdict.
#[derive(Debug, Clone, Copy)]
pub struct Trouble<'a> {
    /// The retry rule of the execution, where it has one.
    pub retry: Option<&'a Retry>,
    /// The category of the error.
    pub category: Category,
    /// Whether another attempt may follow. False forbids a retry.
    pub retryable: bool,
    /// Whether the worker asks for a later retry that spends no attempt.
    pub throttled: bool,
    /// Delay that the worker asks for, in milliseconds, instead of the computed delay.
    pub retry_after_ms: Option<u64>,
    /// Number of spent attempts, including this one.
    pub spent: u32,
    /// The seed of the jitter, from [`jitter_seed`].
    pub seed: u64,
}

/// Decides, in this order: fatal category or forbidden retry, throttled, no retry rule, retry rule.
#[must_use]
pub fn verdict(trouble: &Trouble<'_>) -> Verdict {
    if trouble.category.is_fatal() || !trouble.retryable {
        return Verdict::End;
    }
    if trouble.throttled {
        let delay_ms = trouble.retry_after_ms.unwrap_or(0);
        return Verdict::Throttled { delay_ms };
    }
    match trouble.retry {
        Some(retry) if retry.covers(trouble.category) && trouble.spent < retry.max_attempts => {
            let computed = || retry.delay_ms(trouble.spent, trouble.seed);
            Verdict::Retry {
                delay_ms: trouble.retry_after_ms.unwrap_or_else(computed),
            }
        }
        _ => Verdict::End,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn plain(strategy: Strategy) -> Retry {
        Retry {
            strategy,
            jitter: false,
            ..Retry::default()
        }
    }

    fn trouble(retry: Option<&Retry>) -> Trouble<'_> {
        Trouble {
            retry,
            category: Category::Tool,
            retryable: true,
            throttled: false,
            retry_after_ms: None,
            spent: 1,
            seed: 0,
        }
    }

    #[test]
    fn delays_follow_their_strategy() {
        let delays = |strategy| [1, 2, 3, 4].map(|spent| plain(strategy).delay_ms(spent, 0));
        assert_eq!([1_000, 1_000, 1_000, 1_000], delays(Strategy::Fixed));
        assert_eq!([1_000, 2_000, 3_000, 4_000], delays(Strategy::Linear));
        assert_eq!([1_000, 2_000, 4_000, 8_000], delays(Strategy::Exponential));
    }

    #[test]
    fn no_delay_is_above_the_cap_even_after_overflow() {
        let retry = Retry {
            backoff_multiplier: f64::MAX,
            ..plain(Strategy::Exponential)
        };
        assert_eq!(60_000, retry.delay_ms(u32::MAX, 0));
        let none = Retry {
            initial_delay_ms: 0,
            ..retry
        };
        assert_eq!(0, none.delay_ms(u32::MAX, 0));
    }

    #[test]
    fn a_fatal_category_ends_an_execution_whatever_else_is_reported() {
        let retry = Retry {
            retry_on: u32::MAX,
            ..Retry::default()
        };
        for category in Category::ALL
            .iter()
            .copied()
            .filter(|category| category.is_fatal())
        {
            let asked = Trouble {
                category,
                throttled: true,
                ..trouble(Some(&retry))
            };
            assert_eq!(Verdict::End, verdict(&asked));
        }
        let forbidden = Trouble {
            retryable: false,
            ..trouble(Some(&retry))
        };
        assert_eq!(Verdict::End, verdict(&forbidden));
    }

    #[test]
    fn throttling_needs_no_retry_rule() {
        let asked = Trouble {
            throttled: true,
            retry_after_ms: Some(7),
            ..trouble(None)
        };
        assert_eq!(Verdict::Throttled { delay_ms: 7 }, verdict(&asked));
    }

    #[test]
    fn a_rule_retries_its_categories_until_the_attempts_are_spent() {
        let retry = Retry {
            retry_on: 1 << Category::Tool as u32,
            ..plain(Strategy::Fixed)
        };
        let after = |spent| {
            verdict(&Trouble {
                spent,
                ..trouble(Some(&retry))
            })
        };
        assert_eq!(Verdict::Retry { delay_ms: 1_000 }, after(2));
        assert_eq!(Verdict::End, after(3));
        let other = Trouble {
            category: Category::Network,
            ..trouble(Some(&retry))
        };
        assert_eq!(Verdict::End, verdict(&other));
        assert_eq!(Verdict::End, verdict(&trouble(None)));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_quarter_and_the_cap(
            initial in 0..1_000_000_u64, cap in 0..2_000_000_u64, seed in any::<u64>(),
        ) {
            let retry = Retry {
                initial_delay_ms: initial, max_delay_ms: cap, strategy: Strategy::Fixed,
                ..Retry::default()
            };
            let (delay, base) = (retry.delay_ms(1, seed), initial.min(cap));
            prop_assert!(delay <= cap);
            prop_assert!(delay * 4 + 4 >= base * 3 && delay * 4 <= base * 5 + 4);
            prop_assert_eq!(delay, retry.delay_ms(1, seed));
        }
    }
}
