//! What callers of the library put around target stores.
//!
//! Invariant: no file and no environment can put anything there.

use std::fmt;
use std::sync::Arc;

use super::TargetStore;

/// A store around another one.
type Wrap = dyn Fn(&str, Arc<dyn TargetStore>) -> Arc<dyn TargetStore> + Send + Sync;

/// What is put around every target store as it is opened, given its URL: nothing, or what a caller of the library puts there (a
/// store that misbehaves or records, to see what a run does then).
#[derive(Clone, Default)]
pub struct Wrapping(Option<Arc<Wrap>>);

impl Wrapping {
    /// Puts something around every target store.
    #[must_use]
    pub fn with(wrap: impl Fn(&str, Arc<dyn TargetStore>) -> Arc<dyn TargetStore> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(wrap)))
    }

    /// Puts something around that as well.
    #[must_use]
    pub fn within(self, wrap: impl Fn(&str, Arc<dyn TargetStore>) -> Arc<dyn TargetStore> + Send + Sync + 'static) -> Self {
        Self::with(move |url, store| wrap(url, self.around(url, store)))
    }

    /// The store with what is put around it.
    pub(super) fn around(&self, url: &str, store: Arc<dyn TargetStore>) -> Arc<dyn TargetStore> {
        match &self.0 {
            Some(wrap) => wrap(url, store),
            None => store,
        }
    }
}

impl fmt::Debug for Wrapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Wrapping(something)" } else { "Wrapping(nothing)" })
    }
}
