//! What is remembered of a scanned file, in memory and in segments on disk.
//!
//! A segment holds the files of a stretch of the matrix; schemas, values and digests that several of them share are written once. Invariant: a
//! record belongs to one file at one URL, under the same keys, the same steps and the same version of this program.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::array::Array;
use crate::combine::{Interner, SharedSchema, Wanted};
use crate::dataset::{Attribute, Attributes, Dimension, Identity, Variable};
use crate::pattern::{Input, KeyValue};
use crate::transform::{Absent, Step};

/// Changes whenever what scanning finds in a file may change without a new version of the program.
const FORMAT: u32 = 2;

/// Which file, under which keys and steps.
pub(super) type Place = u128;

/// What scanning found in a file.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) identity: Identity,
    pub(super) schema: SharedSchema,
    pub(super) values: BTreeMap<Arc<str>, Arc<Array>>,
    pub(super) digests: Arc<BTreeMap<String, String>>,
    pub(super) absence: Arc<Absence>,
}

impl Record {
    /// What of the wanted is not in it; values do for a digest.
    pub(super) fn lacking(&self, wanted: &Wanted) -> Wanted {
        let has = |name: &str| self.values.contains_key(name);
        Wanted {
            values: wanted.values.iter().filter(|name| !has(name)).cloned().collect(),
            digests: wanted.digests.iter().filter(|name| !self.digests.contains_key(*name) && !has(name)).cloned().collect(),
        }
    }
}

/// What the steps name and a file lacks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(super) struct Absence {
    /// Names in the steps that the file does not have.
    pub(super) absent: Vec<Absent>,
    /// Variables of the file itself, if any is absent: for the message.
    pub(super) names: Vec<String>,
    /// Variables of the file that cannot be read and that no step takes away, with the reason.
    #[serde(default)]
    pub(super) refused: Vec<(String, String)>,
}

/// Places of inputs under given steps.
pub(super) struct Placer(Xxh3);

impl Placer {
    pub(super) fn new(steps: &[Step]) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(&serde_json::to_vec(&(env!("CARGO_PKG_VERSION"), FORMAT, steps)).unwrap_or_default());
        Self(hasher)
    }

    pub(super) fn place(&self, input: &Input) -> Place {
        let mut hasher = self.0.clone();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(input.url.as_bytes());
        for (name, value) in &input.values {
            part(name.as_bytes());
            let kind = match value {
                KeyValue::Date(_) => b"d",
                KeyValue::Integer(_) => b"i",
                KeyValue::Text(_) => b"t",
            };
            part(kind);
            part(value.to_string().as_bytes());
        }
        hasher.digest128()
    }
}

/// Records as they lie on disk: parts in lists, records by their numbers there.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Segment {
    dimensions: Vec<Vec<Dimension>>,
    variables: Vec<Variable>,
    attributes: Vec<(String, Attribute)>,
    groups: Vec<BTreeMap<String, Attributes>>,
    schemas: Vec<SegmentSchema>,
    arrays: Vec<Array>,
    digests: Vec<BTreeMap<String, String>>,
    absences: Vec<Absence>,
    names: Vec<String>,
    records: Vec<SegmentRecord>,
    /// Places of files that are not there.
    gone: Vec<String>,
}

/// Numbers of dimensions, variables, attributes and groups.
type SegmentSchema = (usize, Vec<usize>, Vec<usize>, usize);

#[derive(Debug, Serialize, Deserialize)]
struct SegmentRecord {
    place: String,
    identity: Identity,
    schema: usize,
    /// Numbers of name and array.
    values: Vec<(usize, usize)>,
    digests: usize,
    absence: usize,
}

/// Numbers of what was written already, by its address or bytes.
#[derive(Default)]
struct Written {
    dimensions: HashMap<usize, usize>,
    variables: HashMap<usize, usize>,
    attributes: HashMap<usize, usize>,
    groups: HashMap<usize, usize>,
    schemas: HashMap<[usize; 4], usize>,
    arrays: HashMap<usize, usize>,
    digests: HashMap<usize, usize>,
    absences: HashMap<usize, usize>,
    names: HashMap<Arc<str>, usize>,
}

fn address<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared).addr()
}

/// The number of a shared part in its list, where it is added if it is new.
fn number<T: Clone>(written: &mut HashMap<usize, usize>, list: &mut Vec<T>, part: &Arc<T>) -> usize {
    *written.entry(address(part)).or_insert_with(|| {
        list.push((**part).clone());
        list.len() - 1
    })
}

impl Segment {
    /// Packs what was found at each place; `None`: no file.
    pub(super) fn pack<'a>(found: impl Iterator<Item = (Place, Option<&'a Record>)>) -> Self {
        let (mut segment, mut written) = (Self::default(), Written::default());
        for (place, record) in found {
            let place = format!("{place:032x}");
            match record {
                Some(record) => segment.add(place, record, &mut written),
                None => segment.gone.push(place),
            }
        }
        segment
    }

    fn add(&mut self, place: String, record: &Record, written: &mut Written) {
        let schema = self.add_schema(&record.schema, written);
        let values = record.values.iter().map(|(name, array)| {
            let name = *written.names.entry(Arc::clone(name)).or_insert_with(|| {
                self.names.push(name.to_string());
                self.names.len() - 1
            });
            (name, number(&mut written.arrays, &mut self.arrays, array))
        });
        let values = values.collect();
        let digests = number(&mut written.digests, &mut self.digests, &record.digests);
        let absence = number(&mut written.absences, &mut self.absences, &record.absence);
        self.records.push(SegmentRecord { place, identity: record.identity.clone(), schema, values, digests, absence });
    }

    fn add_schema(&mut self, schema: &SharedSchema, written: &mut Written) -> usize {
        let key = [address(&schema.dimensions), address(&schema.variables), address(&schema.attributes), address(&schema.groups)];
        if let Some(&known) = written.schemas.get(&key) {
            return known;
        }
        let packed = (
            number(&mut written.dimensions, &mut self.dimensions, &schema.dimensions),
            schema.variables.iter().map(|variable| number(&mut written.variables, &mut self.variables, variable)).collect(),
            schema.attributes.iter().map(|attribute| number(&mut written.attributes, &mut self.attributes, attribute)).collect(),
            number(&mut written.groups, &mut self.groups, &schema.groups),
        );
        self.schemas.push(packed);
        written.schemas.insert(key, self.schemas.len() - 1);
        self.schemas.len() - 1
    }

    /// What was found at each place; nothing if the segment contradicts itself.
    pub(super) fn unpack(self, interner: &Interner) -> Option<HashMap<Place, Option<Record>>> {
        let dimensions: Vec<_> = self.dimensions.into_iter().map(|dimensions| interner.dimensions(dimensions)).collect();
        let variables: Vec<_> = self.variables.into_iter().map(|variable| interner.variable(variable)).collect();
        let attributes: Vec<_> = self.attributes.into_iter().map(|attribute| interner.attribute(attribute)).collect();
        let groups: Vec<_> = self.groups.into_iter().map(|groups| interner.groups(groups)).collect();
        let schema = |(dimension, variable, attribute, group): &SegmentSchema| {
            let (variables, attributes) = (chosen(&variables, variable)?, chosen(&attributes, attribute)?);
            Some(interner.assemble(Arc::clone(dimensions.get(*dimension)?), variables, attributes, Arc::clone(groups.get(*group)?)))
        };
        let schemas: Vec<SharedSchema> = self.schemas.iter().map(schema).collect::<Option<_>>()?;
        let arrays: Vec<Arc<Array>> = self.arrays.into_iter().map(|array| interner.array(array)).collect();
        let digests: Vec<_> = self.digests.into_iter().map(|digests| interner.digests(digests)).collect();
        let absences: Vec<Arc<Absence>> = self.absences.into_iter().map(Arc::new).collect();
        let names: Vec<Arc<str>> = self.names.iter().map(|name| interner.name(name)).collect();
        let mut found = HashMap::with_capacity(self.records.len() + self.gone.len());
        for packed in self.records {
            let values = packed.values.iter().map(|&(name, array)| Some((Arc::clone(names.get(name)?), Arc::clone(arrays.get(array)?))));
            let record = Record {
                identity: packed.identity,
                schema: schemas.get(packed.schema)?.clone(),
                values: values.collect::<Option<_>>()?,
                digests: Arc::clone(digests.get(packed.digests)?),
                absence: Arc::clone(absences.get(packed.absence)?),
            };
            found.insert(Place::from_str_radix(&packed.place, 16).ok()?, Some(record));
        }
        for place in &self.gone {
            found.insert(Place::from_str_radix(place, 16).ok()?, None);
        }
        Some(found)
    }
}

/// Parts by their numbers.
fn chosen<T>(parts: &[Arc<T>], numbers: &[usize]) -> Option<Vec<Arc<T>>> {
    numbers.iter().map(|&number| parts.get(number).cloned()).collect()
}
