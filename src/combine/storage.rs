//! How each variable is stored in the result: type, packing, marks of missing values, and the conversion of each variant to it.
//!
//! Invariant: raw numbers that mean different things are never put side by side unconverted.

use super::conflicts::Conflicts;
use super::survey::{Group, Survey, Variant};
use super::times::Retimed;
use crate::array::{DataType, FillValue, Scalar};
use crate::cf::Conversion;
use crate::cf::packing::{Marks, PACKING_ATTRIBUTES, Packing, common_type, is_unsigned, marks, packing};
use crate::cf::units::Linear;
use crate::dataset::Attribute;
use crate::recipe::diagnostic::Code;
use crate::recipe::{EncodingChoice, Used};

/// How a variable is stored.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) dtype: DataType,
    /// One per variant.
    pub(super) conversions: Vec<Conversion>,
    /// Attributes that say how raw values are to be read; the source's own are left out.
    pub(super) attributes: Vec<(String, Attribute)>,
    pub(super) fill: Option<FillValue>,
    /// True if `valid_min` and its like, which count in raw values, no longer fit.
    pub(super) revalued: bool,
    /// The one `units` of files that write it differently.
    pub(super) units: Option<String>,
    /// True if values were converted to those units, so that limits of the files mean nothing.
    pub(super) rescaled: bool,
}

/// What one variant says of its raw values.
struct Raw {
    dtype: DataType,
    packing: Option<Packing>,
    unsigned: bool,
    marks: Marks,
}

/// Where what was found while deciding goes.
pub(super) struct Findings<'f> {
    pub(super) conflicts: &'f mut Conflicts,
    pub(super) warnings: &'f mut Vec<String>,
    pub(super) used: &'f mut Vec<Used>,
}

/// Decides the storage of a group; `None` after a conflict was noted.
pub(super) fn decide(survey: &Survey<'_>, group: &Group<'_>, retimed: Option<&Retimed>, findings: &mut Findings<'_>) -> Option<Storage> {
    let raws: Vec<Raw> = group.variants.iter().map(Raw::of).collect();
    warn_unfit(survey, group, &raws, findings.warnings);
    if let Some(retimed) = retimed {
        return Some(Storage::of_times(retimed));
    }
    let Some(dtype) = common(&raws) else {
        report_types(survey, group, "no type holds the values of both exactly", findings.conflicts);
        return None;
    };
    if raws.iter().any(|raw| raw.dtype != dtype) && survey.recipe.combine.strict.dtype {
        report_types(survey, group, "and the recipe says `dtype: fail`", findings.conflicts);
        return None;
    }
    let linears = super::rescale::linears(survey, group, findings).ok()?;
    let packed_alike =
        raws.windows(2).all(|pair| matches!(pair, [left, right] if left.packing == right.packing && left.unsigned == right.unsigned));
    if !packed_alike && survey.recipe.combine.strict.packing && !dtype.is_text() {
        report_packing(survey, group, &raws, findings.conflicts);
        return None;
    }
    let mut storage = match &linears {
        _ if dtype.is_text() => Storage::of_texts(raws.len()),
        Some(linears) if linears.iter().any(|linear| !linear.is_identity()) => Storage::rescaled(&raws, linears),
        _ if packed_alike => Storage::of_like(group, &raws, dtype),
        _ => {
            let message = "packing differs between files, so it is stored unpacked as float64";
            findings.warnings.push(format!("variable `{}`: {message}", group.name));
            findings.used.push(Used::new("packing: unpack", group.name, message));
            Storage::unpacked(&raws)
        }
    };
    if linears.is_some() {
        storage.units = group.variants.first().and_then(|variant| variant.variable.attributes.text("units")).map(str::to_owned);
    }
    if raws.iter().any(|raw| raw.dtype != dtype) && !storage.revalued {
        let message = format!("types differ between files; it is stored as {dtype}, which holds all of them exactly");
        findings.used.push(Used::new("dtype: widen", group.name, message.clone()));
        findings.warnings.push(format!("variable `{}`: {message}", group.name));
    }
    if let Some(choice) = choice(survey, group).filter(|_| !dtype.is_text()) {
        storage.choose(&raws, choice, group.name, linears.as_deref(), findings.warnings);
    }
    if let Some(units) = &storage.units {
        storage.attributes.push(("units".to_owned(), Attribute::Text(units.clone())));
    }
    Some(storage)
}

/// What the recipe's `packing: fail` forbids.
fn report_packing(survey: &Survey<'_>, group: &Group<'_>, raws: &[Raw], conflicts: &mut Conflicts) {
    let said = |raw: &Raw| {
        let unsigned = if raw.unsigned { ", read as unsigned" } else { "" };
        raw.packing.map_or(format!("not packed{unsigned}"), |packing| {
            format!("packed with scale_factor {} and add_offset {}{unsigned}", packing.scale, packing.offset)
        })
    };
    let (Some(first), Some(variant)) = (raws.first(), group.variants.first()) else { return };
    let differs = |(raw, _): &(&Raw, &Variant<'_>)| raw.packing != first.packing || raw.unsigned != first.unsigned;
    let Some((other, another)) = raws.iter().zip(&group.variants).find(differs) else { return };
    let message = format!(
        "variable `{}` is {} in `{}` but {} in `{}`",
        group.name,
        said(first),
        survey.url(variant.member),
        said(other),
        survey.url(another.member)
    );
    conflicts.add(Code::PackingMismatch, message, "remove `packing: fail`, or choose a packing for it under `output.encoding`");
}

impl Raw {
    fn of(variant: &Variant<'_>) -> Self {
        let variable = variant.variable;
        Self { dtype: variable.dtype, packing: packing(variable), unsigned: is_unsigned(variable), marks: marks(variable) }
    }
}

fn common(raws: &[Raw]) -> Option<DataType> {
    let unpacked = raws.iter().any(|raw| {
        raw.packing != raws.first().and_then(|first| first.packing) || raw.unsigned != raws.first().is_some_and(|first| first.unsigned)
    });
    let first = raws.first()?.dtype;
    // Unpacking ends in float64, so every type must fit in there.
    let start = if unpacked { common_type(first, DataType::Float64) } else { Some(first) };
    let common = raws.iter().try_fold(start?, |common, raw| common_type(common, raw.dtype))?;
    // Bytes read as unsigned mean other numbers in a wider type.
    (!raws.iter().any(|raw| raw.unsigned && raw.dtype != common && !unpacked)).then_some(common)
}

fn report_types(survey: &Survey<'_>, group: &Group<'_>, why: &str, conflicts: &mut Conflicts) {
    let Some(first) = group.variants.first() else { return };
    for other in group.variants.iter().filter(|other| other.variable.dtype != first.variable.dtype) {
        let message = format!(
            "variable `{}` is {} in `{}` but {} in `{}`; {why}",
            group.name,
            first.variable.dtype,
            survey.url(first.member),
            other.variable.dtype,
            survey.url(other.member)
        );
        conflicts.add(Code::TypeMismatch, message, "drop the variable, or bake the files as separate datasets");
    }
}

fn warn_unfit(survey: &Survey<'_>, group: &Group<'_>, raws: &[Raw], warnings: &mut Vec<String>) {
    let unfit = raws.iter().zip(&group.variants).flat_map(|(raw, variant)| raw.marks.unfit.iter().map(move |unfit| (unfit, variant)));
    if let Some(((name, value), variant)) = unfit.into_iter().next() {
        let (url, dtype) = (survey.url(variant.member), variant.variable.dtype);
        warnings.push(format!(
            "variable `{}`: `{name}` is {} in `{url}`, which {dtype} cannot hold; it is left out",
            group.name,
            value.plain()
        ));
    }
}

/// The recipe's own type or packing for the variable; `*` is for data variables only.
fn choice<'a>(survey: &Survey<'a>, group: &Group<'_>) -> Option<&'a EncodingChoice> {
    let encoding = &survey.recipe.output.encoding;
    let general = || encoding.get("*").filter(|_| !group.is_coordinate() && !group.descriptive);
    let own = encoding.get(group.name).filter(|(choice, _)| choice.dtype.is_some() || choice.packing.is_some());
    own.or_else(general).map(|(choice, _)| choice).filter(|choice| choice.dtype.is_some() || choice.packing.is_some())
}

impl Storage {
    fn of_texts(variants: usize) -> Self {
        let fill = Some(FillValue::Text(String::new()));
        Self {
            dtype: DataType::String,
            conversions: vec![Conversion::Keep; variants],
            attributes: vec![],
            fill,
            revalued: false,
            units: None,
            rescaled: false,
        }
    }

    fn of_times(retimed: &Retimed) -> Self {
        let (mark, dtype) = (retimed.fill, retimed.dtype);
        Self {
            dtype,
            conversions: retimed.conversions.clone(),
            attributes: mark.map(|mark| ("_FillValue".to_owned(), Attribute::Numbers(vec![mark]))).into_iter().collect(),
            fill: mark.or_else(|| Scalar::nan(dtype)).map(FillValue::Number),
            revalued: true,
            units: None,
            rescaled: true,
        }
    }

    fn unpacked(raws: &[Raw]) -> Self {
        let unpack = |raw: &Raw| match raw.packing {
            None if !raw.unsigned => to_float(raw, DataType::Float64),
            packing => Conversion::Unpack {
                scale: packing.map_or(1.0, |packing| packing.scale),
                offset: packing.map_or(0.0, |packing| packing.offset),
                missing: raw.marks.all.clone(),
                unsigned: raw.unsigned,
            },
        };
        Self::of_doubles(raws.iter().map(unpack).collect(), false)
    }

    /// Unpacked, in the first input's units.
    fn rescaled(raws: &[Raw], linears: &[Linear]) -> Self {
        let rescale = |(raw, &units): (&Raw, &Linear)| Conversion::Rescale {
            unpack: raw.packing.map_or((1.0, 0.0), |packing| (packing.scale, packing.offset)),
            units,
            missing: raw.marks.all.clone(),
            unsigned: raw.unsigned,
        };
        Self::of_doubles(raws.iter().zip(linears).map(rescale).collect(), true)
    }

    fn of_doubles(conversions: Vec<Conversion>, rescaled: bool) -> Self {
        let fill = Some(FillValue::Number(Scalar::Float64(f64::NAN)));
        Self { dtype: DataType::Float64, conversions, attributes: vec![], fill, revalued: true, units: None, rescaled }
    }

    /// All variants mean the same by the same number, but for marks of missing values.
    fn of_like(group: &Group<'_>, raws: &[Raw], dtype: DataType) -> Self {
        let mut kept = Self { dtype, conversions: vec![], attributes: vec![], fill: None, revalued: false, units: None, rescaled: false };
        if let Some(first) = group.variants.first() {
            let packing = |name: &&str| !["_FillValue", "missing_value"].contains(name);
            kept.attributes.extend(
                PACKING_ATTRIBUTES
                    .iter()
                    .filter(|name| packing(name))
                    .filter_map(|name| Some(((*name).to_owned(), first.variable.attributes.get(name)?.clone()))),
            );
        }
        if dtype.is_float() {
            kept.fill = Scalar::nan(dtype).map(FillValue::Number);
            kept.conversions = raws.iter().map(|raw| to_float(raw, dtype)).collect();
        } else {
            kept.mark_integers(raws);
        }
        kept
    }

    /// Integers keep their marks; where those differ, the first input's mark is used throughout.
    fn mark_integers(&mut self, raws: &[Raw]) {
        let dtype = self.dtype;
        let cast = |marks: &Marks| -> Vec<Scalar> { marks.all.iter().filter_map(|mark| mark.cast(dtype)).collect() };
        let fill = raws.iter().find_map(|raw| raw.marks.fill.and_then(|fill| fill.cast(dtype)));
        let mark = fill.or_else(|| raws.iter().flat_map(|raw| cast(&raw.marks)).next());
        let alike = raws.iter().all(|raw| cast(&raw.marks) == raws.first().map(|first| cast(&first.marks)).unwrap_or_default());
        self.fill = fill.map(FillValue::Number);
        if alike {
            if let Some(raw) = raws.first() {
                self.attributes.extend(fill.map(|fill| ("_FillValue".to_owned(), Attribute::Numbers(vec![fill]))));
                // `missing_value` stays as it is, even where it repeats `_FillValue`, as long as all files write it alike.
                let alike = raws.iter().all(|other| other.marks.missing == raw.marks.missing);
                let mut others: Vec<Scalar> = raw.marks.missing.iter().filter_map(|mark| mark.cast(dtype)).collect();
                if !alike {
                    others = cast(&raw.marks).into_iter().filter(|mark| Some(*mark) != fill).collect();
                }
                if !others.is_empty() {
                    self.attributes.push(("missing_value".to_owned(), Attribute::Numbers(others)));
                }
            }
            let keep = |raw: &Raw| {
                if raw.dtype == dtype { Conversion::Keep } else { Conversion::Widen { to: dtype, missing: vec![], fill: None } }
            };
            self.conversions = raws.iter().map(keep).collect();
        } else if let Some(mark) = mark {
            self.remark(raws, mark);
        }
    }

    /// Every mark becomes this one, and valid values equal to it are refused.
    fn remark(&mut self, raws: &[Raw], mark: Scalar) {
        let dtype = self.dtype;
        let convert = |raw: &Raw| match raw.marks.all.as_slice() {
            [only] if raw.dtype == dtype && *only == mark => Conversion::Keep,
            all if raw.dtype == dtype => Conversion::Refill { from: all.to_vec(), to: mark },
            all => Conversion::Widen { to: dtype, missing: all.to_vec(), fill: Some(mark) },
        };
        self.conversions = raws.iter().map(convert).collect();
        self.attributes.push(("_FillValue".to_owned(), Attribute::Numbers(vec![mark])));
        self.fill = Some(FillValue::Number(mark));
    }

    /// The format's default mark, for integers that have none but must be filled where a file is missing.
    pub(super) fn mark_for_holes(&mut self, group: &Group<'_>) {
        if self.fill.is_none() && self.dtype.is_integer() {
            let raws: Vec<Raw> = group.variants.iter().map(Raw::of).collect();
            if let (Some(mark), false) =
                (default_fill(self.dtype), self.conversions.iter().any(|one| matches!(one, Conversion::Retime { .. })))
            {
                self.remark(&raws, mark);
            }
        }
    }

    /// The recipe's own type or packing in place of the source's.
    fn choose(&mut self, raws: &[Raw], choice: &EncodingChoice, name: &str, linears: Option<&[Linear]>, warnings: &mut Vec<String>) {
        let whole = if self.dtype.is_integer() { self.dtype } else { DataType::Int16 };
        let dtype = choice.dtype.unwrap_or(whole);
        if dtype.is_text() || (choice.packing.is_none() && dtype == self.dtype) {
            return;
        }
        let packing = raws.first().and_then(|raw| raw.packing).filter(|_| !self.revalued);
        let pack = choice.packing.or_else(|| packing.filter(|_| dtype.is_integer()).map(|packing| (packing.scale, packing.offset)));
        let mark = choice.fill.and_then(|fill| Scalar::Int64(fill).cast(dtype)).or_else(|| Scalar::nan(dtype)).or_else(|| lowest(dtype));
        let Some(fill) = mark else { return };
        if raws.iter().any(|raw| common_type(raw.dtype, DataType::Float64).is_none()) {
            warnings.push(format!("variable `{name}`: its 64-bit integers pass through float64 on their way to {dtype}"));
        }
        let repack = |(number, raw): (usize, &Raw)| Conversion::Repack {
            unpack: raw.packing.map_or((1.0, 0.0), |packing| (packing.scale, packing.offset)),
            missing: raw.marks.all.clone(),
            pack: pack.unwrap_or((1.0, 0.0)),
            fill,
            unsigned: raw.unsigned,
            units: linears.and_then(|linears| linears.get(number)).copied().filter(|linear| !linear.is_identity()),
        };
        self.conversions = raws.iter().enumerate().map(repack).collect();
        self.attributes.clear();
        if let Some((scale, offset)) = pack {
            self.attributes.push(("scale_factor".to_owned(), Attribute::Numbers(vec![Scalar::Float64(scale)])));
            self.attributes.push(("add_offset".to_owned(), Attribute::Numbers(vec![Scalar::Float64(offset)])));
        }
        if dtype.is_integer() {
            self.attributes.push(("_FillValue".to_owned(), Attribute::Numbers(vec![fill])));
        }
        (self.dtype, self.fill, self.revalued) =
            (dtype, Some(FillValue::Number(fill)), packing.is_some() || pack.is_some() || self.revalued);
    }
}

/// To a float type that holds every value, with NaN for missing ones.
fn to_float(raw: &Raw, dtype: DataType) -> Conversion {
    if raw.dtype != dtype {
        return Conversion::Widen { to: dtype, missing: raw.marks.all.clone(), fill: None };
    }
    let missing: Vec<Scalar> = raw.marks.all.iter().copied().filter(|mark| !mark.as_f64().is_nan()).collect();
    if missing.is_empty() { Conversion::Keep } else { Conversion::MissingToNan { missing } }
}

fn lowest(dtype: DataType) -> Option<Scalar> {
    match dtype {
        DataType::Int8 => Some(Scalar::Int8(i8::MIN)),
        DataType::Int16 => Some(Scalar::Int16(i16::MIN)),
        DataType::Int32 => Some(Scalar::Int32(i32::MIN)),
        DataType::Int64 => Some(Scalar::Int64(i64::MIN)),
        other => default_fill(other),
    }
}

/// The format's default fill values (`NC_FILL_*`).
fn default_fill(dtype: DataType) -> Option<Scalar> {
    match dtype {
        DataType::Int8 => Some(Scalar::Int8(-127)),
        DataType::Int16 => Some(Scalar::Int16(-32767)),
        DataType::Int32 => Some(Scalar::Int32(-2_147_483_647)),
        DataType::Int64 => Some(Scalar::Int64(-9_223_372_036_854_775_806)),
        DataType::UInt8 => Some(Scalar::UInt8(u8::MAX)),
        DataType::UInt16 => Some(Scalar::UInt16(u16::MAX)),
        DataType::UInt32 => Some(Scalar::UInt32(u32::MAX)),
        DataType::UInt64 => Some(Scalar::UInt64(u64::MAX - 1)),
        _ => None,
    }
}
