//! Walks the matrix: keys and their roles in, axes and inputs out.
//!
//! Time and memory are linear in the number of cells. Invariant: the position of an input on every axis is inside that axis,
//! and no position is without any input.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::template::Template;
use super::{Axis, Input, KeyValue, MAX_INPUTS, Role};
use crate::size::ByteSize;

/// Longest address, in bytes: no server takes a longer one.
const LONGEST_URL: usize = 8192;
/// Most bytes that all inputs may take.
const LARGEST_MATRIX: usize = 1 << 30;
/// What an input, and each of its values, takes besides its texts.
const INPUT: usize = 96;
/// Cells that exceptions may stand for, all together.
const MOST_STEPS: usize = 10 * MAX_INPUTS;

/// A key and its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its values, in order.
    pub values: Vec<KeyValue>,
}

/// The matrix before it is walked.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// What fills a cell.
    pub template: Template,
    /// Axes in order, each with its keys; a key belongs to one axis.
    pub axes: Vec<(Role, Vec<Key>)>,
    /// Cells that do not exist: for some keys, which of their values (by number). Keys not named: all values.
    pub except: Vec<BTreeMap<String, Vec<usize>>>,
}

/// The matrix, walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// Its axes, without positions where every cell is excepted.
    pub axes: Vec<Axis>,
    /// Its cells, row-major.
    pub inputs: Vec<Input>,
}

/// Why a matrix cannot be walked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// More than [`MAX_INPUTS`] cells.
    #[error("the pattern has {cells} inputs")]
    TooMany {
        /// How many (saturated).
        cells: usize,
    },
    /// An address that no server takes.
    #[error("an input's address may have {bytes} bytes; {LONGEST_URL} are possible")]
    LongUrl {
        /// How many (saturated).
        bytes: usize,
    },
    /// Inputs that are few enough, but whose addresses and values are too long all together.
    #[error("the inputs' addresses and values take {}", ByteSize(*bytes as u64))]
    TooLarge {
        /// How many (saturated).
        bytes: usize,
    },
    /// Exceptions that stand for too many cells, counted again and again.
    #[error("the exceptions stand for {steps} inputs and more, most of them again and again")]
    TooManyExceptions {
        /// How many were counted.
        steps: usize,
    },
    /// Every cell is excepted.
    #[error("no input is left")]
    Empty,
    /// Two cells have the same URL.
    #[error("two inputs have the same URL, `{url}`")]
    Duplicate {
        /// The URL.
        url: String,
    },
}

impl Matrix {
    /// Lists every input. `place` makes a filled template absolute.
    ///
    /// # Errors
    /// [`ExpandError`].
    pub fn expand(&self, place: impl Fn(String) -> String) -> Result<Expansion, ExpandError> {
        let full: Vec<Vec<Vec<usize>>> = self.axes.iter().map(|(_, keys)| combinations(keys)).collect::<Result<_, _>>()?;
        let lengths: Vec<usize> = full.iter().map(Vec::len).collect();
        let cells = product(&lengths)?;
        self.check_memory(cells)?;
        let excepted = self.excepted(&lengths, cells)?;
        let kept = kept_positions(&lengths, &excepted);
        let mut expansion = Expansion { axes: self.kept_axes(&full, &kept), inputs: Vec::with_capacity(cells) };
        let mut position = vec![0; lengths.len()];
        for excepted in excepted {
            if !excepted {
                let input = self.input(&full, &position, &kept, expansion.inputs.len(), &place);
                expansion.inputs.push(input);
            }
            advance(&mut position, &lengths);
        }
        unique(&expansion.inputs)?;
        if expansion.inputs.is_empty() { Err(ExpandError::Empty) } else { Ok(expansion) }
    }

    /// Refuses a matrix whose inputs would take more memory than any archive needs: a long address, or long values, a million times.
    fn check_memory(&self, cells: usize) -> Result<(), ExpandError> {
        let mut longest = HashMap::new();
        let mut bytes = INPUT;
        for key in self.axes.iter().flat_map(|(_, keys)| keys) {
            let value = key.values.iter().map(length).max().unwrap_or(0);
            longest.insert(key.name.as_str(), value);
            bytes = bytes.saturating_add(INPUT).saturating_add(key.name.len()).saturating_add(value);
        }
        let url = self.template.longest(|name| longest.get(name).copied().unwrap_or(0));
        if url > LONGEST_URL {
            return Err(ExpandError::LongUrl { bytes: url });
        }
        let bytes = bytes.saturating_add(url).saturating_mul(cells);
        if bytes > LARGEST_MATRIX { Err(ExpandError::TooLarge { bytes }) } else { Ok(()) }
    }

    /// One flag per cell, row-major.
    fn excepted(&self, lengths: &[usize], cells: usize) -> Result<Vec<bool>, ExpandError> {
        let mut flags = vec![false; cells];
        let mut steps = 0_usize;
        for exception in self.except.iter().collect::<BTreeSet<_>>() {
            let chosen: Vec<Vec<usize>> = self.axes.iter().map(|(_, keys)| matching(keys, exception)).collect();
            let counts: Vec<usize> = chosen.iter().map(Vec::len).collect();
            let covered = counts.iter().fold(1, |product: usize, &count| product.saturating_mul(count));
            if covered >= cells {
                return Err(ExpandError::Empty);
            }
            steps = steps.saturating_add(covered).saturating_add(counts.iter().sum());
            if steps > MOST_STEPS {
                return Err(ExpandError::TooManyExceptions { steps });
            }
            let mut index = vec![0; counts.len()];
            for _ in 0..covered {
                let number = index
                    .iter()
                    .zip(&chosen)
                    .zip(lengths)
                    .fold(0, |number, ((&i, positions), length)| number * length + positions.get(i).copied().unwrap_or(0));
                if let Some(flag) = flags.get_mut(number) {
                    *flag = true;
                }
                advance(&mut index, &counts);
            }
        }
        Ok(flags)
    }

    fn kept_axes(&self, full: &[Vec<Vec<usize>>], kept: &[Vec<Option<usize>>]) -> Vec<Axis> {
        let mut axes = Vec::with_capacity(self.axes.len());
        for (((role, keys), positions), kept) in self.axes.iter().zip(full).zip(kept) {
            let live = positions.iter().zip(kept).filter(|(_, kept)| kept.is_some());
            axes.push(Axis {
                role: role.clone(),
                keys: keys.iter().map(|key| key.name.clone()).collect(),
                positions: live.map(|(numbers, _)| values(keys, numbers).cloned().collect()).collect(),
            });
        }
        axes
    }

    fn input(
        &self,
        full: &[Vec<Vec<usize>>],
        position: &[usize],
        kept: &[Vec<Option<usize>>],
        number: usize,
        place: &impl Fn(String) -> String,
    ) -> Input {
        let mut input = Input { number, url: String::new(), position: Vec::with_capacity(position.len()), values: BTreeMap::new() };
        for ((((_, keys), positions), kept), &at) in self.axes.iter().zip(full).zip(kept).zip(position) {
            input.position.push(kept.get(at).copied().flatten().unwrap_or(0));
            let numbers = positions.get(at).map_or(&[][..], Vec::as_slice);
            input.values.extend(keys.iter().map(|key| key.name.clone()).zip(values(keys, numbers).cloned()));
        }
        input.url = place(self.template.fill(|name| input.values.get(name)));
        input
    }
}

/// A plain list of files: one axis without keys where there is a concat dimension, else one file and no axis.
///
/// # Errors
/// [`ExpandError::Duplicate`], [`ExpandError::TooMany`], [`ExpandError::Empty`].
pub fn listed(urls: Vec<String>, concat: Option<String>) -> Result<Expansion, ExpandError> {
    if urls.len() > MAX_INPUTS {
        return Err(ExpandError::TooMany { cells: urls.len() });
    }
    let axes = concat.map(|name| Axis { role: Role::Concat(name), keys: vec![], positions: vec![vec![]; urls.len()] });
    let rank = usize::from(axes.is_some());
    let inputs: Vec<Input> = urls
        .into_iter()
        .enumerate()
        .map(|(number, url)| Input { number, url, position: vec![number; rank], values: BTreeMap::new() })
        .collect();
    unique(&inputs)?;
    if inputs.is_empty() { Err(ExpandError::Empty) } else { Ok(Expansion { axes: axes.into_iter().collect(), inputs }) }
}

/// Bytes of a value as a text, or a little more.
fn length(value: &KeyValue) -> usize {
    match value {
        KeyValue::Text(text) => text.len(),
        KeyValue::Date(_) | KeyValue::Integer(_) => 32,
    }
}

fn product(lengths: &[usize]) -> Result<usize, ExpandError> {
    let cells = lengths.iter().fold(1, |product: usize, &length| product.saturating_mul(length));
    if cells > MAX_INPUTS { Err(ExpandError::TooMany { cells }) } else { Ok(cells) }
}

/// Every combination of the keys' values, by number, the last key fastest.
fn combinations(keys: &[Key]) -> Result<Vec<Vec<usize>>, ExpandError> {
    let lengths: Vec<usize> = keys.iter().map(|key| key.values.len()).collect();
    let mut numbers = vec![0; keys.len()];
    let mut all = Vec::new();
    for _ in 0..product(&lengths)? {
        all.push(numbers.clone());
        advance(&mut numbers, &lengths);
    }
    Ok(all)
}

/// The next position in row-major order; wraps to the first.
fn advance(position: &mut [usize], lengths: &[usize]) {
    for (place, &length) in position.iter_mut().zip(lengths).rev() {
        *place += 1;
        if *place < length {
            return;
        }
        *place = 0;
    }
}

fn values<'a>(keys: &'a [Key], numbers: &'a [usize]) -> impl Iterator<Item = &'a KeyValue> {
    keys.iter().zip(numbers).filter_map(|(key, &number)| key.values.get(number))
}

/// Positions of an axis that an exception covers: every combination of the values it names, all values of keys it does not.
fn matching(keys: &[Key], exception: &BTreeMap<String, Vec<usize>>) -> Vec<usize> {
    let mut positions = vec![0];
    for key in keys {
        let length = key.values.len();
        let numbers = exception.get(&key.name).cloned().unwrap_or_else(|| (0..length).collect());
        positions = positions.iter().flat_map(|before| numbers.iter().map(move |number| before * length + number)).collect();
    }
    positions
}

/// For each axis, the new number of each position; `None` where every cell is excepted.
fn kept_positions(lengths: &[usize], excepted: &[bool]) -> Vec<Vec<Option<usize>>> {
    let mut live: Vec<Vec<bool>> = lengths.iter().map(|&length| vec![false; length]).collect();
    let mut position = vec![0; lengths.len()];
    for &excepted in excepted {
        if !excepted {
            for (axis, &at) in live.iter_mut().zip(&position) {
                if let Some(flag) = axis.get_mut(at) {
                    *flag = true;
                }
            }
        }
        advance(&mut position, lengths);
    }
    live.into_iter().map(|axis| renumbered(&axis)).collect()
}

fn renumbered(live: &[bool]) -> Vec<Option<usize>> {
    let mut next = 0..;
    live.iter().map(|&live| if live { next.next() } else { None }).collect()
}

fn unique(inputs: &[Input]) -> Result<(), ExpandError> {
    let mut seen = HashMap::with_capacity(inputs.len());
    for input in inputs {
        if seen.insert(input.url.as_str(), input.number).is_some() {
            return Err(ExpandError::Duplicate { url: input.url.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::moment::range;

    fn key(name: &str, end: i64) -> Key {
        Key { name: name.to_owned(), values: range(1, end, 1).unwrap() }
    }

    fn matrix(except: &[&[(&str, &[usize])]]) -> Matrix {
        let except = except.iter().map(|cell| cell.iter().map(|(name, at)| ((*name).to_owned(), at.to_vec())).collect()).collect();
        Matrix {
            template: Template::parse("{v}/{y}-{m:02d}.nc").unwrap(),
            axes: vec![(Role::Merge, vec![key("v", 2)]), (Role::Concat("time".into()), vec![key("y", 2), key("m", 3)])],
            except,
        }
    }

    #[test]
    fn walks_row_major_over_axes_and_their_keys() {
        let whole = matrix(&[]).expand(|url| url).unwrap();
        let urls: Vec<&str> = whole.inputs.iter().map(|input| input.url.as_str()).collect();
        assert_eq!(urls[..4], ["1/1-01.nc", "1/1-02.nc", "1/1-03.nc", "1/2-01.nc"]);
        assert_eq!((urls.len(), whole.axes[1].positions.len()), (12, 6));
        assert_eq!(whole.inputs[9].position, [1, 3]);
    }

    #[test]
    fn an_excepted_slice_goes_and_an_excepted_cell_is_a_hole() {
        let whole = matrix(&[&[("y", &[0]), ("m", &[1])], &[("v", &[1]), ("y", &[1]), ("m", &[2])]]).expand(|url| url).unwrap();
        assert_eq!((whole.axes[0].positions.len(), whole.axes[1].positions.len(), whole.inputs.len()), (2, 5, 9));
        assert_eq!(whole.inputs.iter().map(|input| input.number).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        assert_eq!(whole.inputs[1].position, [0, 1]);
        assert!(whole.inputs.iter().all(|input| input.position != [1, 4]));
    }

    #[test]
    fn refuses_nothing_and_the_same_twice() {
        assert_eq!(matrix(&[&[("v", &[0, 1])]]).expand(|url| url), Err(ExpandError::Empty));
        let mut same = matrix(&[]);
        same.template = Template::parse("{v}-{y}.nc").unwrap();
        assert_eq!(same.expand(|url| url), Err(ExpandError::Duplicate { url: "1-1.nc".into() }));
        assert_eq!(listed(vec![], None), Err(ExpandError::Empty));
    }

    #[test]
    fn long_addresses_and_many_exceptions_are_refused_before_they_cost_anything() {
        let text = |length: usize| Key { name: "v".into(), values: vec![KeyValue::Text("x".repeat(length))] };
        let with = |template: &str, axes: Vec<Key>, except: Vec<BTreeMap<String, Vec<usize>>>| {
            Matrix { template: Template::parse(template).unwrap(), axes: vec![(Role::Concat("time".into()), axes)], except }
                .expand(|url| url)
        };
        assert!(matches!(with(&"{v}".repeat(1000), vec![text(100_000)], vec![]), Err(ExpandError::LongUrl { bytes: 100_000_000 })));
        let many = || vec![key("n", 1000), key("m", 1000), text(1000)];
        assert!(matches!(with("{n}{m}{v}", many(), vec![]), Err(ExpandError::TooLarge { .. })));
        let first = |count: usize| BTreeMap::from([("n".to_owned(), (0..count).collect::<Vec<_>>())]);
        let keys = |length: i64| vec![key("n", length), key("m", length)];
        let overlapping = (0..30).map(|number| first(500 + number)).collect();
        assert!(matches!(with("{n}-{m}", keys(1000), overlapping), Err(ExpandError::TooManyExceptions { .. })));
        // The same exception again and again is one.
        assert_eq!(with("{n}-{m}", keys(50), (0..100_000).map(|_| first(25)).collect()).unwrap().inputs.len(), 1250);
    }

    #[test]
    fn hundred_thousand_inputs_take_linear_time() {
        let mut large = matrix(&[]);
        large.axes = vec![(Role::Merge, vec![key("v", 4)]), (Role::Concat("time".into()), vec![key("y", 2500), key("m", 10)])];
        large.except = (0..2000).map(|number| BTreeMap::from([("v".to_owned(), vec![0]), ("y".to_owned(), vec![number])])).collect();
        let start = std::time::Instant::now();
        assert_eq!(large.expand(|url| url).unwrap().inputs.len(), 100_000 - 20_000);
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }
}
