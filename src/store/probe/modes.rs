//! What follows from a store's abilities: which ways of writing are safe there.
//!
//! Pure. Invariant: a mode that relies on an ability is never allowed without it, unless the operator gives his word.

use serde::{Deserialize, Serialize};

use super::{Abilities, RACERS, Support};

/// A way of writing to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A first write at the target itself: nothing is visible before its end.
    InPlace,
    /// Writing where readers are: an append, or `--replace=non-atomic`.
    Append,
    /// A prefix of its own for every version, and a pointer.
    Versioned,
    /// Holding the target against other runs.
    Lease,
    /// Transactions of Icechunk.
    Icechunk,
}

/// Whether a mode is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is.
    Yes,
    /// It is, unless two runs begin in the same moment and a request takes longer than the lease waits.
    BestEffort,
    /// Only where the operator knows that nobody else writes: `--single-writer`.
    Alone,
    /// It is not.
    No,
}

/// Whether a mode is safe, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which.
    pub mode: Mode,
    /// Whether.
    pub answer: Answer,
    /// Why: part of a sentence.
    pub reason: String,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::InPlace, Self::Append, Self::Versioned, Self::Lease, Self::Icechunk];

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InPlace => "first write in place",
            Self::Append => "append in place",
            Self::Versioned => "--versioned",
            Self::Lease => "lease",
            Self::Icechunk => "icechunk",
        }
    }
}

impl Answer {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::BestEffort => "best effort",
            Self::Alone => "only with --single-writer",
            Self::No => "no",
        }
    }
}

impl Abilities {
    /// Whether a mode is safe on this store.
    #[must_use]
    pub fn verdict(&self, mode: Mode) -> Verdict {
        let verdict = |answer, reason: String| Verdict { mode, answer, reason };
        if let Some(altered) = &self.altered {
            return verdict(Answer::No, format!("it does not give back what it was given: {altered}"));
        }
        if let Some(lack) = self.lack_of_creation() {
            return match mode {
                Mode::InPlace => verdict(
                    Answer::BestEffort,
                    format!("{lack}, so a lease is held by reading it back after a wait; nothing is visible before the end"),
                ),
                Mode::Lease => verdict(Answer::BestEffort, format!("{lack}: a lease is written, and read back after a wait")),
                Mode::Append => verdict(Answer::Alone, format!("{lack}, so two runs could write at once where readers already are")),
                Mode::Versioned => {
                    verdict(Answer::Yes, format!("every version has a prefix of its own; {lack}, so the pointer of the later run wins"))
                }
                Mode::Icechunk => verdict(Answer::Alone, format!("{lack}, so a commit could undo another's")),
            };
        }
        match mode {
            Mode::Icechunk if self.replace != Support::Honoured => verdict(
                Answer::Alone,
                format!("it cannot replace a certain version only ({}), so a commit could undo another's", self.replace.name()),
            ),
            Mode::InPlace | Mode::Append => verdict(Answer::Yes, "one run at a time can hold the target".to_owned()),
            Mode::Versioned => {
                verdict(Answer::Yes, "every version has a prefix of its own, and one run at a time holds the pointer".to_owned())
            }
            Mode::Lease => verdict(Answer::Yes, "of several that create one object exactly one wins".to_owned()),
            Mode::Icechunk => verdict(Answer::Yes, "it creates, or replaces a certain version, or fails".to_owned()),
        }
    }

    /// What is wrong with its creating puts, if anything.
    fn lack_of_creation(&self) -> Option<String> {
        match self.create {
            Support::Refused => Some("the store has no \"create, or fail\"".to_owned()),
            Support::Ignored => Some("the store takes \"create, or fail\" and overwrites all the same".to_owned()),
            Support::Honoured => {
                let most = self.winners.iter().copied().max().filter(|&most| most > 1)?;
                Some(format!("of {RACERS} that created one object at once up to {most} were told that they did"))
            }
        }
    }
}

impl Support {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Ignored => "silently ignored",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abilities(create: Support, winners: &[usize], replace: Support) -> Abilities {
        let (gristmill, endpoint) = (env!("CARGO_PKG_VERSION").to_owned(), "there".to_owned());
        Abilities { gristmill, endpoint, create, winners: winners.to_vec(), replace, altered: None, further: None }
    }

    fn answers(of: &Abilities) -> [Answer; 5] {
        Mode::ALL.map(|mode| of.verdict(mode).answer)
    }

    #[test]
    fn only_exclusive_creation_makes_appending_safe() {
        use Answer::{Alone, BestEffort, No, Yes};
        use Support::{Honoured, Ignored, Refused};
        assert_eq!(answers(&abilities(Honoured, &[1, 1], Honoured)), [Yes; 5]);
        assert_eq!(answers(&abilities(Honoured, &[1, 0], Refused)), [Yes, Yes, Yes, Yes, Alone]);
        for weak in [abilities(Honoured, &[1, 5], Honoured), abilities(Ignored, &[], Ignored), abilities(Refused, &[], Refused)] {
            assert!(!weak.creates_exclusively());
            assert_eq!(answers(&weak), [BestEffort, Alone, Yes, BestEffort, Alone]);
        }
        let altering = Abilities { altered: Some("one byte more".into()), ..abilities(Honoured, &[1], Honoured) };
        assert_eq!(answers(&altering), [No; 5]);
        assert!(altering.verdict(Mode::Append).reason.contains("one byte more"));
    }

    #[test]
    fn answers_hold_for_their_server_and_version() {
        let told = abilities(Support::Honoured, &[1], Support::Honoured);
        assert!(told.hold("there") && !told.hold("elsewhere"));
        assert!(!Abilities { gristmill: "0.0.1".into(), ..told }.hold("there"));
    }
}
