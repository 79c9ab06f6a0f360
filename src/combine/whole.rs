//! Putting the whole together: dimensions, then each variable's storage, attributes and content.
//!
//! Invariant: a result is only given out if no conflict was found anywhere.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::attributes;
use super::axes::{Joined, check_dimensions, check_order, check_presence, measure};
use super::conflicts::Conflicts;
use super::contents::{View, hole};
use super::overlaps::{Kept, Steps};
use super::storage::Findings;
use super::survey::{Cells, Group, Survey};
use super::times::{Clock, Clocks, Retimed, read, retime};
use super::{Combined, ConcatAxis, Content, KeptSteps, Scanned, SourceForms, forms, gaps, places, storage};
use crate::array::Array;
use crate::cf::calendar::Calendar;
use crate::cf::time::TimeUnits;
use crate::dataset::{Attribute, Attributes, Encoding, Schema, Variable};
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::recipe::{OverlapPolicy, Recipe, Used};

/// Combines scanned inputs (in the order of their numbers) into one dataset.
///
/// The result's schema has no chunks (the planner chooses) and, as `coordinates` attributes, names the coordinates anew.
///
/// # Errors
/// Every conflict between the inputs at once, each with variable, files and both values (of one kind, twenty in full).
pub fn combine(recipe: &Recipe, scanned: &[Scanned]) -> Result<Combined, Vec<Diagnostic>> {
    let survey = Survey::new(recipe, scanned.iter().map(|one| (one.input, &one.schema)));
    let mut conflicts = Conflicts::default();
    if survey.members.is_empty() {
        conflicts.add(Code::VariableAbsent, "there is no file to combine".to_owned(), "check the dates and lists under `inputs`");
    }
    let whole = Combined { used: recipe.used.clone(), ..Combined::empty() };
    let mut work = Work { survey: &survey, scanned, conflicts, warnings: Vec::new(), whole, order: Vec::new() };
    work.dimensions();
    // Without its dimension nothing can be concatenated: all else that could be said would follow from that.
    if work.conflicts.holds(Code::ConcatDimensionAbsent) {
        return Err(work.conflicts.finish());
    }
    let retimed = retime(&survey, scanned, &mut work.conflicts, &mut work.whole.used);
    places::check(&survey, &mut work.conflicts);
    work.overlaps(&retimed);
    for (number, group) in survey.groups.iter().enumerate() {
        work.variable(group, &retimed.of(number));
    }
    work.attributes_of_whole();
    work.finish()
}

impl Combined {
    fn empty() -> Self {
        Self {
            schema: Schema::default(),
            axes: vec![],
            contents: vec![],
            warnings: vec![],
            used: vec![],
            gaps: vec![],
            kept: KeptSteps::new(),
            source_chunks: BTreeMap::new(),
            source_forms: BTreeMap::new(),
        }
    }
}

/// The whole in the making.
struct Work<'a> {
    survey: &'a Survey<'a>,
    scanned: &'a [Scanned],
    conflicts: Conflicts,
    warnings: Vec<String>,
    whole: Combined,
    /// Groups whose variables are in the schema, in its order.
    order: Vec<&'a Group<'a>>,
}

impl<'a> Work<'a> {
    fn dimensions(&mut self) {
        let (axes, dimensions) = measure(self.survey, &mut self.conflicts);
        self.whole.axes = axes;
        self.whole.schema.dimensions = dimensions;
    }

    /// Leaves out steps that other files hold too, where the recipe says which are kept.
    fn overlaps(&mut self, clocks: &Clocks) {
        if self.survey.recipe.combine.overlap == OverlapPolicy::Fail {
            return;
        }
        for number in 0..self.whole.axes.len() {
            let Some(axis) = self.whole.axes.get(number) else { continue };
            let index = self.survey.by_name.get(axis.dimension.as_str()).copied();
            let found = index.and_then(|index| Some((index, self.survey.groups.get(index)?)));
            let Some((index, group)) = found.filter(|(_, group)| group.is_index() && group.axes == [(number, 0)]) else { continue };
            let Clock::Joined(retimed) = clocks.of(index) else { continue };
            // What is wrong with it is told when its turn comes.
            let (mut conflicts, mut warnings, mut used) = (Conflicts::default(), Vec::new(), Vec::new());
            let mut findings = Findings { conflicts: &mut conflicts, warnings: &mut warnings, used: &mut used };
            let Some(storage) = storage::decide(self.survey, group, retimed, &mut findings) else { continue };
            let cells = group.cells(self.survey);
            let steps = Steps { survey: self.survey, scanned: self.scanned, group, cells: &cells, conversions: &storage.conversions };
            let (kept, used) = steps.choose(axis);
            self.whole.used.extend(used);
            self.leave_out(number, &kept);
        }
    }

    fn leave_out(&mut self, number: usize, kept: &Kept) {
        let Some(axis) = self.whole.axes.get_mut(number) else { return };
        for (&position, runs) in kept {
            if let Some(length) = axis.lengths.get_mut(position) {
                *length = runs.iter().map(|(_, length)| length).sum();
            }
        }
        let (dimension, length) = (axis.dimension.clone(), axis.lengths.iter().sum());
        if let Some(whole) = self.whole.schema.dimensions.iter_mut().find(|whole| whole.name == dimension) {
            whole.length = length;
        }
        for member in &self.survey.members {
            let runs = member.cell.get(number).and_then(|position| kept.get(position));
            if let (Some(runs), Ok(input)) = (runs, u32::try_from(member.input)) {
                self.whole.kept.entry(input).or_default().insert(dimension.clone(), runs.clone());
            }
        }
    }

    fn variable(&mut self, group: &'a Group<'a>, clock: &Clock<'_>) {
        let survey = self.survey;
        let present = check_presence(survey, group, &mut self.conflicts, &mut self.whole.used);
        if !check_dimensions(survey, group, &mut self.conflicts) {
            return;
        }
        let Clock::Joined(retimed) = *clock else { return };
        let mut findings = Findings { conflicts: &mut self.conflicts, warnings: &mut self.warnings, used: &mut self.whole.used };
        let Some(mut storage) = storage::decide(survey, group, retimed, &mut findings) else { return };
        let cells = group.cells(survey);
        if hole(group, &cells, &self.whole.axes).is_some() {
            storage.mark_for_holes(group);
        }
        let Some(first) = group.variants.first().map(|variant| variant.variable) else { return };
        let told = self.warnings.len();
        let attributes = attributes::of_variable(survey, group, &storage, &mut self.conflicts, &mut self.warnings);
        self.note_attributes(group.name, told);
        let mut variable = Variable {
            name: group.name.to_owned(),
            dtype: storage.dtype,
            dimensions: first.dimensions.clone(),
            attributes,
            coordinate: group.is_coordinate(),
            encoding: Encoding { fill: storage.fill.clone(), ..Encoding::default() },
        };
        set_clock(group, retimed, &mut variable.attributes);
        storage.attributes.iter().for_each(|(name, value)| variable.attributes.set(name, value.clone()));
        let shape = self.whole.schema.shape(&variable);
        let (axes, kept) = (&self.whole.axes, &self.whole.kept);
        let view = View { survey, scanned: self.scanned, group, storage: &storage, axes, shape: &shape, cells: &cells, kept };
        let Some(content) = view.content(present, &mut self.conflicts, &mut self.whole.used) else { return };
        if let (Content::Known(array), true) = (&content, group.is_index()) {
            self.check_index(group, &cells, array, &variable.attributes);
        }
        if let Some(chunks) = &first.encoding.chunks {
            self.whole.source_chunks.insert(variable.name.clone(), chunks.clone());
        }
        if let (Content::Pieces(_), true) = (&content, forms::may_matter(survey.recipe)) {
            self.whole.source_forms.insert(variable.name.clone(), SourceForms::of(survey, group));
        }
        self.whole.schema.variables.push(variable);
        self.whole.contents.push(content);
        self.order.push(group);
    }

    fn check_index(&mut self, group: &'a Group<'a>, cells: &Cells, array: &Array, attributes: &Attributes) {
        let Some(axis) = group.axes.first().and_then(|&(axis, _)| self.whole.axes.get(axis)) else { return };
        let file = |holders: &Vec<(usize, usize)>| holders.first().map_or("", |&(member, _)| self.survey.url(member));
        let units = attributes.text("units").and_then(|units| read((units, attributes.text("calendar"))).ok());
        let files: Vec<&str> = cells.holders.iter().map(file).collect();
        let ends = axis.lengths.iter().scan(0, |end, length| {
            *end += *length;
            Some(*end)
        });
        let joined = Joined { name: group.name, files: &files, values: array, units, ends: ends.collect() };
        check_order(self.survey, &joined, &mut self.conflicts, &mut self.whole.used);
        let (gaps, count) = units.map_or((Vec::new(), 0), |units| gaps::gaps(group.name, array, &units));
        if let Some(first) = gaps.first() {
            let more = if count == 1 { "a gap".to_owned() } else { format!("{count} gaps, the first") };
            self.warnings.push(format!("coordinate `{}` has {more} between {} and {}", group.name, first.after, first.before));
        }
        self.whole.gaps.extend(gaps);
    }

    /// Attributes that were left out, or taken from the first file, are policies that mattered.
    fn note_attributes(&mut self, place: &str, told: usize) {
        for (policy, words) in [("attributes: drop_conflicts", " are left out: "), ("attributes: override", " are the first file's: ")] {
            let said = self.warnings.iter().skip(told).filter_map(|warning| warning.split_once(words));
            self.whole.used.extend(said.map(|(_, names)| Used::new(policy, place, format!("differ between files: {names}"))));
        }
    }

    fn attributes_of_whole(&mut self) {
        let members = || self.survey.members.iter().map(|member| member.schema).enumerate();
        // Lists that are one in memory say nothing new.
        let mut seen = HashSet::new();
        let lists = members().filter(|(_, schema)| seen.insert(Arc::as_ptr(&schema.attributes)));
        let sets = lists.map(|(number, schema)| (number, schema.attributes.iter().map(|one| (one.0.as_str(), &one.1))));
        let told = self.warnings.len();
        self.whole.schema.attributes = attributes::of_whole(self.survey, sets, &mut self.conflicts, &mut self.warnings);
        self.note_attributes("the dataset", told);
        let mut seen = HashSet::new();
        let groups: Vec<(usize, &BTreeMap<String, Attributes>)> = members()
            .filter(|(_, schema)| seen.insert(Arc::as_ptr(&schema.groups)))
            .map(|(number, schema)| (number, &*schema.groups))
            .collect();
        let paths: BTreeSet<&String> = groups.iter().flat_map(|(_, groups)| groups.keys()).collect();
        for path in paths {
            let sets = groups.iter().filter_map(|(number, groups)| Some((*number, groups.get(path)?.iter())));
            let told = self.warnings.len();
            let merged = attributes::of_whole(self.survey, sets, &mut self.conflicts, &mut self.warnings);
            self.note_attributes(path, told);
            self.whole.schema.groups.insert(path.clone(), merged);
        }
    }

    fn finish(mut self) -> Result<Combined, Vec<Diagnostic>> {
        if !self.conflicts.is_empty() {
            return Err(self.conflicts.finish());
        }
        name_coordinates(&mut self.whole.schema, &self.order);
        self.warn_of_axes();
        self.warn_of_bounds();
        self.whole.warnings = self.warnings;
        Ok(self.whole)
    }

    fn warn_of_axes(&mut self) {
        for ConcatAxis { dimension, .. } in &self.whole.axes {
            if self.whole.schema.variable(dimension).is_none() {
                self.warnings.push(format!("dimension `{dimension}` has no coordinate; its order is that of the files"));
            }
        }
    }

    /// Cells of a concat coordinate should touch: the upper bound of one is the lower bound of the next.
    fn warn_of_bounds(&mut self) {
        for (group, content) in self.order.iter().zip(&self.whole.contents) {
            let Content::Known(array) = content else { continue };
            let of_index = group.parent.and_then(|parent| self.survey.groups.get(parent)).is_some_and(Group::is_index);
            if !of_index || group.axes.is_empty() || array.shape.get(1..) != Some(&[2]) {
                continue;
            }
            let values: Vec<f64> = array.scalars().map(crate::array::Scalar::as_f64).collect();
            let touches = |pair: &[f64]| matches!(pair, [_, a, b, _] if a == b) || matches!(pair, [a, _, _, b] if a == b);
            let gap = (0..values.len().saturating_sub(2)).step_by(2).find(|&at| values.get(at..at + 4).is_some_and(|pair| !touches(pair)));
            if let Some(at) = gap {
                self.warnings.push(format!("bounds `{}`: cells {} and {} do not touch", group.name, at / 2, at / 2 + 1));
            }
        }
    }
}

/// Units and calendar of a time variable: the new ones, or the first file's with its calendar said aloud.
fn set_clock(group: &Group<'_>, retimed: Option<&Retimed>, attributes: &mut Attributes) {
    let Some((units, calendar)) = group.variants.first().and_then(|variant| variant.clock) else { return };
    if !group.variants.iter().all(|variant| variant.clock.is_some()) {
        return;
    }
    let own = group.variants.iter().any(|variant| variant.variable.attributes.get("units").is_some());
    if !own {
        return;
    }
    let known = Calendar::named(calendar).unwrap_or(Calendar::Standard);
    let text = retimed.map_or(units, |retimed| retimed.units.as_str());
    attributes.set("units", Attribute::Text(text.to_owned()));
    if calendar.is_some() || TimeUnits::parse(text, known).is_ok() {
        attributes.set("calendar", Attribute::Text(calendar.unwrap_or(known.name()).to_owned()));
    }
}

/// Writes `coordinates` attributes: each data variable names the coordinates, other than indexes, that have no dimensions but its own;
/// coordinates that no variable can name are named by the whole.
fn name_coordinates(schema: &mut Schema, order: &[&Group<'_>]) {
    let split =
        |name: &str| name.rsplit_once('/').map_or((String::new(), name.to_owned()), |(path, own)| (path.to_owned(), own.to_owned()));
    let coordinates: Vec<Variable> =
        schema.variables.iter().filter(|variable| variable.coordinate && !variable.is_index()).cloned().collect();
    let descriptive: BTreeSet<&str> = order.iter().filter(|group| group.descriptive).map(|group| group.name).collect();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for variable in schema.variables.iter_mut().filter(|variable| !variable.coordinate && !descriptive.contains(variable.name.as_str())) {
        let path = split(&variable.name).0;
        let fits = |one: &&Variable| split(&one.name).0 == path && one.dimensions.iter().all(|name| variable.dimensions.contains(name));
        let found: Vec<&Variable> = coordinates.iter().filter(fits).collect();
        named.extend(found.iter().map(|one| one.name.clone()));
        if !found.is_empty() {
            let text = found.iter().map(|one| split(&one.name).1).collect::<Vec<_>>().join(" ");
            variable.attributes.set("coordinates", Attribute::Text(text));
        }
    }
    let left: Vec<&str> = coordinates.iter().map(|one| one.name.as_str()).filter(|name| !named.contains(*name)).collect();
    if !left.is_empty() {
        schema.attributes.set("coordinates", Attribute::Text(left.join(" ")));
    }
}
