//! Recipe text in; the [`Recipe`], or every problem at once, out.
//!
//! The only door to the YAML library. Pure: the folder that relative paths start from and the day are given, nothing is opened.
//! Invariant: no text, however large or nested, makes this panic, recurse without bound or take more than linear time.

use std::path::Path;

use jiff::civil::Date;

use super::diagnostic::{Code, Diagnostic};
use super::document::{Document, json_schema};
use super::resolve::Resolver;
use super::tree::{Content, Node, Place};
use super::{Recipe, RecipeText, lint, shape, tree};

/// Problems that are told at most.
const MOST_TOLD: usize = 200;

/// Reads a recipe. Relative paths in it start from the folder `base`.
///
/// # Errors
/// Every problem found, in the order of the text; at least one is an error. Warnings alone come with the recipe.
pub fn parse(text: &RecipeText, base: &Path) -> Result<(Recipe, Vec<Diagnostic>), Vec<Diagnostic>> {
    parse_on(text, base, None)
}

/// Reads a recipe on a given day, for ends that move (`end: today - 2 days`); without a day they are an error.
///
/// # Errors
/// As [`parse`].
pub fn parse_on(text: &RecipeText, base: &Path, today: Option<Date>) -> Result<(Recipe, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (recipe, mut problems) = attempt(text, base, today);
    problems.sort_by_key(|problem| problem.label.as_ref().map_or(0, |(span, _)| span.offset));
    let problems = first_of(problems);
    match recipe.filter(|_| !problems.iter().any(Diagnostic::is_error)) {
        Some(recipe) => Ok((recipe, problems)),
        None => Err(problems),
    }
}

/// The first problems, errors before advice if not all are told: a megabyte of text can hold a hundred thousand.
fn first_of(mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let more = problems.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        problems.sort_by_key(|problem| !problem.is_error());
        problems.truncate(MOST_TOLD);
        let last = problems.last().cloned();
        problems.extend(last.map(|last| Diagnostic { message: format!("… and {more} more problems"), label: None, help: None, ..last }));
    }
    problems
}

fn attempt(text: &RecipeText, base: &Path, today: Option<Date>) -> (Option<Recipe>, Vec<Diagnostic>) {
    let (root, mut problems) = tree::read(&text.text);
    let root = match root {
        Some(root) if !is_empty(&root) => root,
        None if !problems.is_empty() => return (None, problems),
        _ => {
            problems.push(Diagnostic::error(Code::EmptyValue, "the recipe is empty").help("`gristmill schema` prints what a recipe holds"));
            return (None, problems);
        }
    };
    let schema = json_schema();
    let shaped = shape::check(&root, &schema);
    problems.extend(shaped.problems);
    let document = shaped.value.map(serde_json::from_value::<Document>);
    let document = match document {
        Some(Ok(document)) => document,
        Some(Err(error)) => {
            // The walk and serde read the same schema, so this is for what a schema cannot say.
            problems.push(Diagnostic::error(Code::WrongType, error.to_string()).at(root.span, ""));
            return (None, problems);
        }
        None => return (None, problems),
    };
    let root = Place::root(&root);
    let mut resolver = Resolver { text, root, base, today, broken: shaped.broken, problems, used: Vec::new() };
    let recipe = resolver.recipe(document);
    let mut problems = resolver.problems;
    problems.extend(recipe.as_ref().map(lint::advice).unwrap_or_default());
    (recipe, problems)
}

fn is_empty(root: &Node) -> bool {
    matches!(&root.content, Content::Scalar { text, plain: true } if text.is_empty() || text == "~" || text == "null")
}
