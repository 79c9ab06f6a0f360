//! `expect`: what must hold of the result.

use std::collections::BTreeMap;

use super::Resolver;
use crate::recipe::diagnostic::{Code, Span};
use crate::recipe::document::{Expect, Word};
use crate::recipe::{ExpectRule, Expectation};

impl Resolver<'_> {
    pub(super) fn expectations(&mut self, written: BTreeMap<String, Expect>) -> Vec<Expectation> {
        let mut expectations = Vec::new();
        for (name, expect) in written {
            let rules = self.rules(&name, &expect);
            let place = self.root.get("expect").get(&name);
            if rules.is_empty() && !self.has_errors() {
                self.error(Code::EmptyValue, place.key(), format!("nothing is expected of `{name}`"), "add a rule, or remove the entry");
            }
            expectations.extend(rules.into_iter().map(|(rule, span)| Expectation { name: name.clone(), span, rule }));
        }
        expectations
    }

    fn rules(&mut self, name: &str, expect: &Expect) -> Vec<(ExpectRule, Span)> {
        let place = self.root.get("expect").get(name);
        let mut rules = Vec::new();
        if let Some(text) = &expect.regular {
            let period = self.period(place.get("regular").span(), text);
            rules.extend(period.map(|period| (ExpectRule::Regular(period), place.get("regular").key())));
        }
        if let Some(length) = expect.length {
            match u64::try_from(length) {
                Ok(length) => rules.push((ExpectRule::Length(length), place.get("length").key())),
                Err(_) => self.error(Code::BadLength, place.get("length").span(), "a length is not negative", "write a whole number"),
            }
        }
        if let Some(bounds) = &expect.values_between {
            match bounds.as_slice() {
                [low, high] if low <= high => rules.push((ExpectRule::ValuesBetween(*low, *high), place.get("values_between").key())),
                _ => {
                    let span = place.get("values_between").span();
                    self.error(Code::BadBounds, span, "the bounds are not two numbers, the smaller one first", "write [-3, 45]");
                }
            }
        }
        let missing = expect.missing_values.as_ref().and_then(|missing| missing.at_most.as_ref());
        if let Some(Word(text)) = missing {
            let share = self.share(place.get("missing_values").get("at_most").span(), text);
            rules.extend(share.map(|share| (ExpectRule::MissingAtMost(share), place.get("missing_values").key())));
        }
        let flags = [
            ("no_empty_chunks", expect.no_empty_chunks, ExpectRule::NoEmptyChunks),
            ("monotonic", expect.monotonic, ExpectRule::Monotonic),
        ];
        for (key, written, rule) in flags {
            match written {
                Some(true) => rules.push((rule, place.get(key).key())),
                Some(false) => {
                    let message = format!("`{key}: false` expects nothing");
                    self.error(Code::EmptyValue, place.get(key).key(), message, "write `true`, or remove it");
                }
                None => {}
            }
        }
        if let Some(units) = &expect.units {
            rules.push((ExpectRule::Units(units.clone()), place.get("units").key()));
        }
        if expect.first.is_some() || expect.last.is_some() {
            let text = |word: &Option<Word>| word.as_ref().map(|word| word.0.clone());
            let spot = if expect.first.is_some() { place.get("first") } else { place.get("last") };
            rules.push((ExpectRule::FirstLast(text(&expect.first), text(&expect.last)), spot.key()));
        }
        rules
    }

    /// `60 %` or 0.6, as 0 to 1.
    fn share(&mut self, span: Span, text: &str) -> Option<f64> {
        let percent = text.trim().strip_suffix('%');
        let number = percent.unwrap_or(text).trim().parse::<f64>().ok();
        let share =
            number.map(|number| if percent.is_some() { number / 100.0 } else { number }).filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            self.error(
                Code::BadShare,
                span,
                format!("`{text}` is not a share"),
                "write a percentage such as 60 %, or a number from 0 to 1",
            );
        }
        share
    }
}
