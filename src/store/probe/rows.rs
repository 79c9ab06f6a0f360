//! What a probe found, in words: one row per question.
//!
//! Invariant: every answer is shown, the bad ones as plainly as the good.

use super::{Abilities, Further, Lag, Parts, RACERS, Support};

/// A question and its answer.
type Row = (&'static str, String);

impl Abilities {
    /// Every question and its answer, for people.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            ("bytes read back", self.altered.clone().unwrap_or_else(|| "as they were sent".to_owned())),
            ("create, or fail (If-None-Match: *)", self.create.name().to_owned()),
        ];
        if !self.winners.is_empty() {
            rows.push(("several that create at once", self.races()));
        }
        rows.push(("replace this version only (If-Match)", self.replace.name().to_owned()));
        rows.extend(self.further.iter().flat_map(Further::rows));
        rows
    }

    fn races(&self) -> String {
        let rounds = self.winners.len();
        if self.winners.iter().all(|&winners| winners <= 1) {
            return format!("one of {RACERS} wins, in each of {rounds} rounds");
        }
        let most = self.winners.iter().max().copied().unwrap_or(0);
        format!("not exclusive: in round {rounds} {most} of {RACERS} were told that they won")
    }
}

impl Further {
    fn rows(&self) -> Vec<Row> {
        let parts = match &self.parts {
            Parts::Whole => "as it was sent".to_owned(),
            Parts::Needless => "not needed here".to_owned(),
            Parts::Broken(why) => format!("broken: {why}"),
        };
        let unfinished = match (&self.parts, self.unfinished) {
            (Parts::Needless, _) => "none here",
            (_, Support::Honoured) => "can be listed and aborted",
            (_, Support::Ignored) => "are not listed",
            (_, Support::Refused) => "cannot be listed",
        };
        let seen = |lag: Lag| lag.to_string();
        vec![
            ("a new object is listed", seen(self.unlisted)),
            ("an overwritten object is read anew", seen(self.stale)),
            ("a deleted object is gone", seen(self.undeleted)),
            ("an object uploaded in two parts", parts),
            ("uploads begun and not finished", unfinished.to_owned()),
        ]
    }
}
