//! How each input stores a variable: chunk lengths and filters, so that the planner can tell which chunks may be moved as they are.
//!
//! Facts only; what is done with them is the planner's. Invariant: inputs of one form differ in nothing that a mover of chunks could
//! see in their headers.

use super::survey::{Group, Survey};
use crate::array::DataType;
use crate::dataset::Variable;
use crate::grid::Shape;
use crate::recipe::{CodecsChoice, OutputFormat, Recipe};

/// Forms told apart; inputs of yet another one count as [`SourceForms::number`] of no form.
const MOST: usize = 256;

/// One way in which inputs store a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceForm {
    /// Type of its elements.
    pub dtype: DataType,
    /// Chunk lengths after the steps; `None` where it is not chunked.
    pub chunks: Option<Shape>,
    /// Names of its filters, first applied first.
    pub filters: Vec<String>,
}

/// The forms of a variable, and which input has which.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceForms {
    /// Distinct forms, in the order of the first input that has each.
    pub forms: Vec<SourceForm>,
    /// (input, form), by ascending input; inputs of the first form are left out.
    others: Vec<(u32, u16)>,
}

/// True if the recipe lets chunks be moved: by its own word, or by leaving the codecs of a Zarr 2 store open.
pub(super) fn may_matter(recipe: &Recipe) -> bool {
    let asked = |choice: &Option<CodecsChoice>| matches!(choice, Some(CodecsChoice::Source));
    recipe.output.format == OutputFormat::Zarr2 || recipe.output.encoding.values().any(|(choice, _)| asked(&choice.codecs))
}

impl SourceForms {
    pub(super) fn of(survey: &Survey<'_>, group: &Group<'_>) -> Self {
        let mut found = Self::default();
        let mut place = 0;
        for &(number, _) in &group.holders {
            let Some(member) = survey.members.get(number) else { continue };
            let variables = &member.schema.variables;
            // Files of one archive list their variables in one order, nearly always.
            if variables.get(place).is_none_or(|variable| variable.name != group.name) {
                place = variables.iter().position(|variable| variable.name == group.name).unwrap_or(0);
            }
            if let Some(variable) = variables.get(place) {
                found.note(member.input as u32, variable);
            }
        }
        found.others.sort_unstable();
        found
    }

    fn note(&mut self, input: u32, variable: &Variable) {
        let encoding = &variable.encoding;
        let same = |form: &SourceForm| form.dtype == variable.dtype && form.chunks == encoding.chunks && form.filters == encoding.filters;
        let number = self.forms.iter().position(same).unwrap_or(self.forms.len());
        if number == self.forms.len() && number < MOST {
            self.forms.push(SourceForm { dtype: variable.dtype, chunks: encoding.chunks.clone(), filters: encoding.filters.clone() });
        }
        if number > 0 {
            self.others.push((input, number as u16));
        }
    }

    /// The position of an input's form in [`SourceForms::forms`]; past their end for forms that are too many to tell apart.
    #[must_use]
    pub fn number(&self, input: u32) -> usize {
        self.others.binary_search_by_key(&input, |&(input, _)| input).map_or(0, |at| usize::from(self.others[at].1))
    }
}
