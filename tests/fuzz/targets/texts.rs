//! Recipes and URL templates.

use std::path::Path;

use gristmill::pattern::KeyValue;
use gristmill::pattern::template::{KeyKind, Template};
use gristmill::recipe::diagnostic::{Diagnostic, render_annotation, render_json, render_terminal};
use gristmill::recipe::{RecipeText, parse};

/// A recipe: every problem at once with its place, or a recipe whose inputs are few and short enough.
pub(crate) fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let text = RecipeText { name: "fuzz.yaml".to_owned(), text: text.to_owned() };
    let problems = match parse(&text, Path::new("/base")) {
        Ok((recipe, advice)) => {
            // Inputs that are to be found are not known yet.
            assert_eq!(recipe.inputs.is_empty(), recipe.find.is_some());
            assert!(recipe.inputs.len() <= gristmill::pattern::MAX_INPUTS);
            assert!(recipe.inputs.iter().take(100).all(|input| input.url.len() <= 10_000 && input.number < recipe.inputs.len()));
            assert!(!advice.iter().any(Diagnostic::is_error));
            advice
        }
        Err(problems) => {
            assert!(problems.iter().any(Diagnostic::is_error));
            problems
        }
    };
    let few = problems.get(..problems.len().min(20)).unwrap();
    for shown in [render_terminal(few, &text, false), render_terminal(few, &text, true), render_annotation(few, &text)] {
        assert_eq!(shown.is_empty(), few.is_empty());
    }
    assert!(
        render_terminal(few, &text, false).chars().all(|letter| !letter.is_control() || letter == '\n'),
        "control characters are shown"
    );
    serde_json::from_str::<serde_json::Value>(&render_json(few, &text)).unwrap();
}

/// A template, then a line break, then a value of its keys: filled only if nothing is wrong with it, and as short as foretold.
pub(crate) fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (text, value) = text.split_once('\n').unwrap_or((text, "value"));
    let Ok(template) = Template::parse(text) else { return };
    let number = value.len() as i64 * 7919 - 100;
    let date = "1981-09-30T06:05:04".parse::<gristmill::pattern::moment::Moment>().unwrap().last;
    let values = [
        (KeyKind::Texts, KeyValue::Text(value.to_owned())),
        (KeyKind::Integers, KeyValue::Integer(number)),
        (KeyKind::Dates, KeyValue::Date(date)),
    ];
    for (kind, value) in values {
        if !template.problems(|_| Some(kind)).is_empty() {
            continue;
        }
        let longest = template.longest(|_| value.to_string().len());
        if longest <= 1 << 20 {
            let filled = template.fill(|_| Some(&value));
            assert!(filled.len() <= longest, "{} bytes where {longest} were foretold", filled.len());
        }
    }
}
