//! Something secret that is good for some time only.
//!
//! Invariant: what [`Expiring::fresh`] gives is good for a while yet, so that a request that is made with it arrives in time.

use std::time::{Duration, Instant};

/// Time that must be left, of long lives.
const MARGIN: Duration = Duration::from_mins(5);

/// A value and when to fetch another one.
#[derive(Debug, Clone)]
pub(in crate::store) struct Expiring<T> {
    value: T,
    /// `None`: it never expires.
    renew_at: Option<Instant>,
}

impl<T> Expiring<T> {
    /// A value that is good from now on for so long; of a short life the last fifth is not used.
    pub(in crate::store) fn new(value: T, life: Option<Duration>) -> Self {
        let renew_at = life.and_then(|life| Instant::now().checked_add(life.saturating_sub(MARGIN.min(life / 5))));
        Self { value, renew_at }
    }

    /// The value, if it is good for a while yet.
    pub(in crate::store) fn fresh(&self) -> Option<&T> {
        self.renew_at.is_none_or(|at| Instant::now() < at).then_some(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_renewed_before_its_end() {
        assert!(Expiring::new(1, None).fresh().is_some());
        assert!(Expiring::new(1, Some(Duration::ZERO)).fresh().is_none());
        let value = Expiring::new(1, Some(Duration::from_secs(1)));
        assert!(value.fresh().is_some());
        std::thread::sleep(Duration::from_millis(850));
        assert!(value.fresh().is_none());
        let hour = Expiring::new(1, Some(Duration::from_hours(1)));
        let left = hour.renew_at.map(|at| at.duration_since(Instant::now()));
        assert!(left.is_some_and(|left| left < Duration::from_mins(55) && left > Duration::from_mins(54)), "{left:?}");
    }
}
