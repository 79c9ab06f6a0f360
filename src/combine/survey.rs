//! All inputs side by side: who holds which variable, described how, at which cell of the matrix.
//!
//! Inputs whose description of a variable is equal share a variant, so that everything later looks at variants (few), not inputs (many).
//! Invariant: holders are in the order of the inputs, and a variant's first holder is the first input described so.

use std::collections::HashMap;
use std::sync::Arc;

use super::SharedSchema;
use crate::cf::time::is_reference;
use crate::dataset::{Attribute, Variable};
use crate::grid::{Shape, elements, unravel};
use crate::pattern::Role;
use crate::recipe::Recipe;

/// One scanned input and its place.
#[derive(Debug)]
pub(super) struct Member<'a> {
    /// Number of the input.
    pub(super) input: usize,
    /// Where it is, without query string.
    pub(super) url: &'a str,
    pub(super) schema: &'a SharedSchema,
    /// Position on each concat axis.
    pub(super) cell: Vec<usize>,
    /// Row-major position over all merge axes.
    pub(super) merge: usize,
}

/// Time units and calendar as attributes write them.
type Clock<'a> = (&'a str, Option<&'a str>);

/// One way in which inputs describe a variable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant<'a> {
    pub(super) variable: &'a Variable,
    /// Time units and calendar, its own or (of boundary variables, CF §7.1) its parent's.
    pub(super) clock: Option<Clock<'a>>,
    /// The first member described so.
    pub(super) member: usize,
}

/// A variable in all inputs that hold it.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) variants: Vec<Variant<'a>>,
    /// (member, variant), in the order of the members.
    pub(super) holders: Vec<(usize, usize)>,
    /// Concat axes that it has: (axis, dimension of the variable), in the order of the axes.
    pub(super) axes: Vec<(usize, usize)>,
    /// The group that names this one as `bounds` or `climatology`.
    pub(super) parent: Option<usize>,
    /// True if some variable names it as bounds, climatology or grid mapping.
    pub(super) descriptive: bool,
}

/// All inputs side by side.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) members: Vec<Member<'a>>,
    pub(super) groups: Vec<Group<'a>>,
    pub(super) by_name: HashMap<&'a str, usize>,
    /// Number of positions on each concat axis.
    pub(super) counts: Vec<usize>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(recipe: &'a Recipe, schemas: impl Iterator<Item = (usize, &'a SharedSchema)>) -> Self {
        let members = schemas.map(|(input, schema)| member(recipe, input, schema)).collect();
        let counts = concat_axes(recipe).map(|(_, axis)| axis.positions.len()).collect();
        let mut survey = Self { recipe, members, groups: Vec::new(), by_name: HashMap::new(), counts };
        survey.group();
        survey.relate();
        survey.inherit();
        survey
    }

    pub(super) fn url(&self, member: usize) -> &'a str {
        self.members.get(member).map_or("", |member| member.url)
    }

    fn group(&mut self) {
        let mut known: Vec<HashMap<Vec<u8>, usize>> = Vec::new();
        // What is equal is mostly one in memory: then it was placed before.
        let mut placed: HashMap<*const Variable, (usize, usize)> = HashMap::new();
        for number in 0..self.members.len() {
            let Some(variables) = self.members.get(number).map(|member| &*member.schema.variables) else { continue };
            for variable in variables {
                let place = *placed.entry(Arc::as_ptr(variable)).or_insert_with(|| self.place(variable, number, &mut known));
                if let Some(group) = self.groups.get_mut(place.0) {
                    group.holders.push((number, place.1));
                }
            }
        }
    }

    /// The group and variant of a variable, made if they are new; `known` are the descriptions of each group's variants.
    fn place(&mut self, variable: &'a Variable, member: usize, known: &mut Vec<HashMap<Vec<u8>, usize>>) -> (usize, usize) {
        let at = *self.by_name.entry(&variable.name).or_insert_with(|| {
            let axes = axes_of(self.recipe, variable);
            self.groups.push(Group { name: &variable.name, variants: vec![], holders: vec![], axes, parent: None, descriptive: false });
            known.push(HashMap::new());
            known.len() - 1
        });
        let (Some(group), Some(known)) = (self.groups.get_mut(at), known.get_mut(at)) else { return (at, 0) };
        let variant = *known.entry(description(variable)).or_insert_with(|| {
            group.variants.push(Variant { variable, clock: clock(variable), member });
            group.variants.len() - 1
        });
        (at, variant)
    }

    /// Finds boundary and grid mapping variables.
    fn relate(&mut self) {
        let mut found: Vec<(usize, Option<usize>)> = Vec::new();
        for (parent, group) in self.groups.iter().enumerate() {
            for variant in &group.variants {
                for name in ["bounds", "climatology", "grid_mapping"] {
                    let words = variant.variable.attributes.text(name).unwrap_or_default().split_whitespace();
                    let children = words.filter_map(|word| self.find(group.name, word.trim_end_matches(':')));
                    found.extend(children.map(|child| (child, (name != "grid_mapping").then_some(parent))));
                }
            }
        }
        for (child, parent) in found {
            if let Some(group) = self.groups.get_mut(child) {
                group.descriptive = true;
                group.parent = group.parent.or(parent).filter(|&parent| parent != child);
            }
        }
    }

    /// The group that `word` names beside `owner`, which may be inside a group of the file.
    fn find(&self, owner: &str, word: &str) -> Option<usize> {
        let prefix = owner.rsplit_once('/').map_or(String::new(), |(path, _)| format!("{path}/"));
        self.by_name.get(format!("{prefix}{word}").as_str()).or_else(|| self.by_name.get(word)).copied()
    }

    /// Splits variants of boundary variables without units by the units of their parents.
    fn inherit(&mut self) {
        let clocks: Vec<(usize, HashMap<usize, Variant<'a>>)> = self
            .groups
            .iter()
            .enumerate()
            .filter_map(|(child, group)| Some((child, self.groups.get(group.parent?)?)))
            .filter(|(_, parent)| parent.variants.iter().any(|variant| variant.clock.is_some()))
            .map(|(child, parent)| {
                (child, parent.holders.iter().filter_map(|&(member, variant)| Some((member, *parent.variants.get(variant)?))).collect())
            })
            .collect();
        for (child, parents) in clocks {
            if let Some(group) = self.groups.get_mut(child) {
                split(group, &parents);
            }
        }
    }
}

fn split<'a>(group: &mut Group<'a>, parents: &HashMap<usize, Variant<'a>>) {
    let mut variants: Vec<Variant<'a>> = Vec::new();
    let mut known: HashMap<(usize, Option<Clock<'_>>), usize> = HashMap::new();
    for (member, old) in &mut group.holders {
        let Some(mut variant) = group.variants.get(*old).copied() else { continue };
        if variant.variable.attributes.get("units").is_none() {
            variant.clock = parents.get(member).and_then(|parent| parent.clock);
        }
        variant.member = *member;
        *old = *known.entry((*old, variant.clock)).or_insert_with(|| {
            variants.push(variant);
            variants.len() - 1
        });
    }
    group.variants = variants;
}

/// Concat axes of the recipe with their dimension, in the order of `combine.concat`.
pub(super) fn concat_axes(recipe: &Recipe) -> impl Iterator<Item = (&str, &crate::pattern::Axis)> {
    recipe.axes.iter().filter_map(|axis| match &axis.role {
        Role::Concat(dimension) => Some((dimension.as_str(), axis)),
        Role::Merge => None,
    })
}

fn axes_of(recipe: &Recipe, variable: &Variable) -> Vec<(usize, usize)> {
    let place = |(axis, (dimension, _)): (usize, (&str, _))| Some((axis, variable.dimensions.iter().position(|name| name == dimension)?));
    concat_axes(recipe).enumerate().filter_map(place).collect()
}

fn member<'a>(recipe: &'a Recipe, input: usize, schema: &'a SharedSchema) -> Member<'a> {
    // Inputs are numbered in their order, so the number is nearly always the place in the list.
    let found =
        recipe.inputs.get(input).filter(|found| found.number == input).or_else(|| recipe.inputs.iter().find(|found| found.number == input));
    let mut member = Member { input, url: "", schema, cell: Vec::new(), merge: 0 };
    let Some(found) = found else { return member };
    member.url = found.url.split(['?', '#']).next().unwrap_or_default();
    for (axis, &position) in recipe.axes.iter().zip(&found.position) {
        match axis.role {
            Role::Concat(_) => member.cell.push(position),
            Role::Merge => member.merge = member.merge * axis.positions.len() + position,
        }
    }
    member
}

fn clock(variable: &Variable) -> Option<Clock<'_>> {
    let units = variable.attributes.text("units").filter(|units| is_reference(units) && !variable.dtype.is_text())?;
    Some((units, variable.attributes.text("calendar")))
}

/// Bytes that are equal exactly for equal descriptions.
fn description(variable: &Variable) -> Vec<u8> {
    fn part(bytes: &mut Vec<u8>, part: &[u8]) {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
    let mut bytes = vec![variable.dtype as u8, u8::from(variable.coordinate), variable.dimensions.len() as u8];
    variable.dimensions.iter().for_each(|name| part(&mut bytes, name.as_bytes()));
    for (name, value) in variable.attributes.iter() {
        part(&mut bytes, name.as_bytes());
        match value {
            Attribute::Text(text) => part(&mut bytes, text.as_bytes()),
            Attribute::Texts(texts) => {
                bytes.push(1);
                for text in texts {
                    part(&mut bytes, text.as_bytes());
                }
            }
            Attribute::Numbers(numbers) => {
                bytes.push(2);
                for number in numbers {
                    part(&mut bytes, &[&[number.dtype() as u8], number.to_bytes().as_slice()].concat());
                }
            }
        }
    }
    bytes
}

impl<'a> Group<'a> {
    pub(super) fn variant(&self, variant: usize) -> Option<&Variant<'a>> {
        self.variants.get(variant)
    }

    /// True if it is a coordinate wherever it is described so first.
    pub(super) fn is_coordinate(&self) -> bool {
        self.variants.iter().any(|variant| variant.variable.coordinate)
    }

    pub(super) fn is_index(&self) -> bool {
        self.variants.iter().any(|variant| variant.variable.is_index())
    }

    /// Holders (member, variant) at each cell of the variable's axes; cells are numbered row-major over the positions of those axes.
    pub(super) fn cells(&self, survey: &Survey<'_>) -> Cells {
        let counts: Shape = self.axes.iter().map(|&(axis, _)| survey.counts.get(axis).copied().unwrap_or(0) as u64).collect();
        let mut holders = vec![Vec::new(); usize::try_from(elements(&counts)).unwrap_or(0)];
        for &holder in &self.holders {
            let Some(place) = survey.members.get(holder.0) else { continue };
            let cell = self.axes.iter().fold(0, |number, &(axis, _)| {
                number * survey.counts.get(axis).copied().unwrap_or(0) + place.cell.get(axis).copied().unwrap_or(0)
            });
            if let Some(cell) = holders.get_mut(cell) {
                cell.push(holder);
            }
        }
        Cells { counts, holders }
    }
}

/// Who holds a variable where.
#[derive(Debug)]
pub(super) struct Cells {
    /// Positions on each of the variable's concat axes.
    pub(super) counts: Shape,
    /// Holders (member, variant) of each cell, row-major.
    pub(super) holders: Vec<Vec<(usize, usize)>>,
}

impl Cells {
    /// Position of a cell on each axis.
    pub(super) fn position(&self, cell: usize) -> Vec<usize> {
        unravel(cell as u64, &self.counts).into_iter().map(|position| position as usize).collect()
    }
}
