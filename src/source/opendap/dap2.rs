//! A DAP2 dataset's documents as one: declarations and the attributes that belong to them.
//!
//! Pure. Invariant: what is declared is either a variable or refused by name.

use super::das::{self, Container, Entry};
use super::dds::{self, Declaration, Form};
use super::declared::{Contents, Declared, Kind, WireError};
use crate::array::{DataType, Scalar};
use crate::dataset::{Attribute, Attributes};

/// Ends of names of containers whose attributes are those of the whole: `NC_GLOBAL`, `HDF5_GLOBAL`, `CF_GLOBAL`…
const GLOBAL: &str = "_GLOBAL";
/// What servers say about themselves among a variable's attributes.
const HIDDEN: [&str; 3] = ["_ChunkSizes", "DODS", "origname"];

/// Puts DDS and DAS together.
///
/// # Errors
/// [`WireError`] where one of them makes no sense.
pub(super) fn contents(dds: &[u8], das: &[u8]) -> Result<Contents, (&'static str, WireError)> {
    let declarations = dds::parse(dds).map_err(|error| ("DDS", error))?;
    let attributes = das::parse(das).map_err(|error| ("DAS", error))?;
    let mut contents = Contents::default();
    let maps: Vec<String> = declarations.into_iter().flat_map(|declaration| add(&mut contents, declaration)).collect();
    for map in maps {
        let known = |name: &str| name == map;
        if !contents.variables.iter().any(|variable| known(&variable.name)) && !contents.refused.iter().any(|(name, _)| known(name)) {
            contents.refused.push((map, "it is declared as the map of a Grid only".to_owned()));
        }
    }
    describe(&mut contents, &attributes);
    Ok(contents)
}

/// Adds a declaration; gives the names of the maps that came with it.
fn add(contents: &mut Contents, declaration: Declaration) -> Vec<String> {
    let Declaration { name, form } = declaration;
    let mut refuse = |reason: String| {
        contents.refused.push((name.clone(), reason));
        Vec::new()
    };
    match form {
        Form::Array(kind, axes) => {
            contents.variables.push(Declared { name, kind, axes, attributes: Attributes::default() });
            Vec::new()
        }
        Form::Grid(array, maps) => {
            let Form::Array(kind, mut axes) = array.form else {
                return refuse("it is a Grid of a type that DAP2 does not have".to_owned());
            };
            // Axes without a name have that of their map.
            for (axis, map) in axes.iter_mut().zip(&maps) {
                axis.name.get_or_insert_with(|| map.name.clone());
            }
            contents.variables.push(Declared { name, kind, axes, attributes: Attributes::default() });
            maps.into_iter().map(|map| map.name).collect()
        }
        Form::Unknown(kind) => {
            let kind: String = kind.chars().filter(|character| !character.is_control()).take(40).collect();
            refuse(format!("DAP2 has no type `{kind}`; try the dataset's `dap4://` address"))
        }
        Form::Structure(..) => refuse("it is a Structure, not an array".to_owned()),
        Form::Sequence => refuse("it is a Sequence, not an array".to_owned()),
    }
}

/// Gives each container of the DAS to what it belongs to.
fn describe(contents: &mut Contents, attributes: &Container) {
    let mut whole = Attributes::default();
    for (name, entry) in attributes {
        match entry {
            Entry::Value(value) => keep(&mut contents.refused, &mut whole, "", name, value),
            Entry::Container(inner) if contents.variables.iter().any(|variable| variable.name == *name) => {
                of_variable(contents, name, inner);
            }
            Entry::Container(inner) if name == "DODS_EXTRA" => contents.unlimited = unlimited(inner),
            Entry::Container(inner) if name.ends_with(GLOBAL) => flatten(&mut contents.refused, &mut whole, ("", ""), inner),
            // pydap tells the dimensions once more.
            Entry::Container(inner) if name == "dimensions" && inner.iter().all(|(_, entry)| matches!(entry, Entry::Value(_))) => {}
            Entry::Container(_) if contents.refused.iter().any(|(refused, _)| refused == name) => {}
            Entry::Container(inner) => flatten(&mut contents.refused, &mut whole, ("", name), inner),
        }
    }
    contents.attributes = whole;
}

/// Name of the dimension that grows, as libdap's servers tell it.
fn unlimited(extra: &Container) -> Option<String> {
    extra.iter().find_map(|(name, entry)| match entry {
        Entry::Value(Ok(value)) if name == "Unlimited_Dimension" => value.text().map(str::to_owned),
        _ => None,
    })
}

fn of_variable(contents: &mut Contents, name: &str, entries: &Container) {
    let Contents { variables, refused, .. } = contents;
    let Some(variable) = variables.iter_mut().find(|variable| variable.name == name) else { return };
    let is_axis = |inner: &str| variable.axes.iter().any(|axis| axis.name.as_deref() == Some(inner));
    for (inner, entry) in entries {
        match entry {
            Entry::Value(value) => keep(refused, &mut variable.attributes, name, inner, value),
            // Of a Grid, some servers tell the array's attributes and those of its maps inside.
            Entry::Container(of_array) if inner == name => flatten(refused, &mut variable.attributes, (name, ""), of_array),
            Entry::Container(_) if is_axis(inner) || HIDDEN.contains(&inner.as_str()) => {}
            Entry::Container(deeper) => flatten(refused, &mut variable.attributes, (name, inner), deeper),
        }
    }
    settle(variable);
}

/// Adds the attributes of a container, those of inner ones as `container.attribute`.
fn flatten(refused: &mut Vec<(String, String)>, attributes: &mut Attributes, (owner, prefix): (&str, &str), entries: &Container) {
    for (name, entry) in entries {
        let full = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match entry {
            Entry::Value(value) => keep(refused, attributes, owner, &full, value),
            Entry::Container(inner) => flatten(refused, attributes, (owner, &full), inner),
        }
    }
}

fn keep(refused: &mut Vec<(String, String)>, attributes: &mut Attributes, owner: &str, name: &str, value: &Result<Attribute, String>) {
    if HIDDEN.contains(&name) {
        return;
    }
    match value {
        Ok(value) => attributes.set(name, value.clone()),
        Err(reason) => refused.push((format!("{owner}@{name}"), reason.clone())),
    }
}

/// Undoes what DAP2 cannot say: bytes that are signed (libdap and THREDDS write `_Unsigned "false"`), and numbers of the variable's own type
/// that came as another one.
pub(super) fn settle(variable: &mut Declared) {
    if variable.kind == Kind::Byte {
        let unsigned = variable.attributes.remove("_Unsigned");
        if unsigned.as_ref().and_then(Attribute::text).is_some_and(|text| text.eq_ignore_ascii_case("false")) {
            variable.kind = Kind::Int8;
        }
    }
    let dtype = variable.kind.dtype();
    for (name, value) in &mut variable.attributes.0 {
        let Attribute::Numbers(numbers) = value else { continue };
        let own = matches!(name.as_str(), "_FillValue" | "missing_value");
        if own || dtype == DataType::Int8 {
            let settled: Option<Vec<Scalar>> = numbers.iter().map(|&number| of_type(number, dtype, own)).collect();
            numbers.clone_from(&settled.unwrap_or_else(|| numbers.clone()));
        }
    }
}

/// A number as one of another type: eight bits stay what they are, others if nothing is lost that the type could hold.
fn of_type(number: Scalar, dtype: DataType, own: bool) -> Option<Scalar> {
    match (number, dtype) {
        (Scalar::UInt8(bits), DataType::Int8) => Some(Scalar::Int8(bits.cast_signed())),
        (number, dtype) if own && !dtype.is_text() => number.nearest(dtype),
        (number, _) => Some(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents_of(dds: &str, das: &str) -> Contents {
        contents(dds.as_bytes(), das.as_bytes()).unwrap()
    }

    #[test]
    fn attributes_find_their_owners() {
        let dds = "Dataset { Grid { Array: Float32 SST[2][x = 3]; Maps: Float64 t[t = 2]; Int32 x[x = 3]; } SST; Float64 t[t = 2]; Byte b; Byte u; } d;";
        let das = r#"Attributes {
            NC_GLOBAL { String title "a"; } dimensions { Int32 x 3; } DODS_EXTRA { String Unlimited_Dimension "t"; }
            SST { SST { Float64 _FillValue -1e34; Int32 _ChunkSizes 1, 3; } t { String units "no"; } more { String a "b"; } String units "degC"; }
            b { Byte _FillValue 255; Byte valid_max 127; String _Unsigned "false"; Int16 n 300; } u { Byte _FillValue 255; String _Unsigned "true"; }
            String history "h"; EXTRA { Int32 n 1; } }"#;
        let found = contents_of(dds, das);
        assert_eq!(found.attributes.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["title", "history", "EXTRA.n"]);
        assert_eq!(found.unlimited.as_deref(), Some("t"));
        let [sst, _, b, u] = found.variables.as_slice() else { panic!("{found:?}") };
        assert_eq!(sst.attributes.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["_FillValue", "more.a", "units"]);
        assert_eq!(sst.attributes.number("_FillValue"), Some(Scalar::Float32(-1e34)));
        assert_eq!(sst.axes.iter().map(|axis| axis.name.as_deref()).collect::<Vec<_>>(), [Some("t"), Some("x")]);
        assert_eq!((b.kind, b.attributes.number("_FillValue")), (Kind::Int8, Some(Scalar::Int8(-1))));
        assert_eq!((b.attributes.number("valid_max"), b.attributes.number("n")), (Some(Scalar::Int8(127)), Some(Scalar::Int16(300))));
        assert_eq!((u.kind, u.attributes.number("_FillValue")), (Kind::Byte, Some(Scalar::UInt8(255))));
        assert_eq!(found.refused, [("x".to_owned(), "it is declared as the map of a Grid only".to_owned())]);
    }

    #[test]
    fn what_is_no_array_is_refused_by_name() {
        let dds = "Dataset { Structure { Byte a; } s; Sequence { Byte b; } q; Int64 big[2]; Grid { Array: Int64 g[2]; Maps: Byte x[2]; } g; Byte fine; } d;";
        let found = contents_of(dds, "Attributes { q { String a \"b\"; } fine { String note \"a \"b\" c\";\n } }");
        let names: Vec<&str> = found.refused.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["s", "q", "big", "g", "fine@note"]);
        assert_eq!((found.variables.len(), found.attributes.0.len()), (1, 0));
    }
}
