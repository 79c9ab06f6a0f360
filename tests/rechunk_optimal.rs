//! The choice of slabs and stages against brute force: every slab, every scratch grid, on grids small enough to try them all.

use gristmill::grid::{ChunkGrid, Region, Shape, elements, positions, ravel};
use gristmill::rechunk::{Effort, Scratch, SlabProblem};
use proptest::prelude::*;

/// How much dearer than the cheapest way what is chosen may be, beside one whole pass.
const FACTOR: f64 = 1.25;

fn limits() -> impl Strategy<Value = SlabProblem> {
    let lengths = |most: u64| prop::collection::vec(1..=most, 2);
    (lengths(24), lengths(9), lengths(9), 16u64..3_000).prop_map(|(shape, object, source, limit)| {
        let clipped = |lengths: Shape| lengths.iter().zip(&shape).map(|(one, whole)| *one.min(whole)).collect();
        SlabProblem { object: clipped(object), source: clipped(source), shape, item: 4, limit }
    })
}

fn all(most: &[u64]) -> Vec<Shape> {
    positions(&Region::whole(most)).map(|position| position.iter().map(|index| index + 1).collect()).collect()
}

/// Source elements decoded when slabs of `counts` chunks of `written` are filled from whole chunks of `read`.
fn decoded(read: &ChunkGrid, written: &ChunkGrid, counts: &[u64]) -> u64 {
    let slabs = ChunkGrid::new(written.counts(), counts.to_vec());
    let slab = |number: u64| written.covered(&slabs.region(&slabs.index(number)));
    let chunk = |index: Vec<u64>| read.region(&index).elements();
    (0..slabs.chunks()).flat_map(|number| positions(&read.touching(&slab(number))).map(chunk).collect::<Vec<_>>()).sum()
}

/// The least that one stage must decode, in elements; `None` if not even one object fits.
fn best_one(problem: &SlabProblem) -> Option<u64> {
    let (source, target) = grids(problem);
    let fits = |counts: &Shape| problem.slab(counts.clone()).bytes <= problem.limit;
    all(&target.counts()).into_iter().filter(fits).map(|counts| decoded(&source, &target, &counts)).min()
}

fn grids(problem: &SlabProblem) -> (ChunkGrid, ChunkGrid) {
    (ChunkGrid::new(problem.shape.clone(), problem.source.clone()), ChunkGrid::new(problem.shape.clone(), problem.object.clone()))
}

/// The fewest scratch objects with which both stages read everything once within the limit.
fn fewest_objects(problem: &SlabProblem, object_limit: u64) -> Option<u64> {
    let (source, target) = grids(problem);
    let whole = elements(&problem.shape);
    let once = |read: &ChunkGrid, written: &ChunkGrid, clipped: bool| {
        let bytes = |counts: &Shape| {
            let lengths = counts
                .iter()
                .zip(&written.chunk)
                .zip(&problem.shape)
                .map(|((count, chunk), whole)| if clipped { (count * chunk).min(*whole) } else { count * chunk });
            lengths.product::<u64>() * problem.item
        };
        all(&written.counts()).into_iter().any(|counts| bytes(&counts) <= problem.limit && decoded(read, written, &counts) == whole)
    };
    let grid = |lengths: Shape| ChunkGrid::new(problem.shape.clone(), lengths);
    let small = |grid: &ChunkGrid| elements(&grid.chunk) * problem.item <= object_limit;
    let works = |grid: &ChunkGrid| once(&source, grid, true) && once(grid, &target, false);
    all(&problem.shape).into_iter().map(grid).filter(|grid| small(grid) && works(grid)).map(|grid| grid.chunks()).min()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stages_are_as_few_and_as_cheap_as_brute_force_finds(problem in limits(), decode in 1u32..40, object_limit in 16u64..1_000, each in 0u32..200) {
        let Some(least) = best_one(&problem) else { return Ok(()) };
        let whole = elements(&problem.shape);
        let effort = Effort { decode: f64::from(decode) * 1e6, stored: 0, fetch: 0.0 };
        let scratch = Scratch { object: object_limit, byte: 12e6, each: f64::from(each) * 1e6 };
        let choice = problem.choose(&effort, Some(&scratch));
        prop_assert!(choice.one.0.bytes <= problem.limit);

        // As few stages as can be: two only where no slab that fits decodes everything once.
        if least == whole {
            prop_assert!(choice.detour().is_none() && choice.two.is_none() && choice.one.1.decoded == whole * problem.item, "{choice:?}");
        }
        // As cheap: in units of elements decoded once.
        let pass = effort.decode * (whole * problem.item) as f64;
        let one = (least - whole) as f64 / whole as f64 * pass;
        let two = fewest_objects(&problem, object_limit).map(|objects| scratch.byte * (whole * problem.item) as f64 + scratch.each * objects as f64);
        let best = two.map_or(one, |two| two.min(one));
        let (source, target) = grids(&problem);
        let chosen = match (choice.detour(), &choice.two) {
            (Some(_), Some((_, counted))) => counted.cost as f64 * 1e3,
            _ => (decoded(&source, &target, &choice.one.0.objects) - whole) as f64 / whole as f64 * pass,
        };
        prop_assert!(pass + chosen <= FACTOR * (pass + best), "chosen {chosen}, best {best} (one stage {one}, two {two:?}), {problem:?} {choice:?}");
    }

    #[test]
    fn every_element_is_written_once_within_the_limit(problem in limits(), object_limit in 16u64..1_000) {
        prop_assume!(best_one(&problem).is_some());
        let scratch = Scratch { object: object_limit, byte: 0.0, each: 0.0 };
        let choice = problem.choose(&Effort { decode: 1e6, stored: 0, fetch: 0.0 }, Some(&scratch));
        let (_, target) = grids(&problem);
        let mut ways = vec![(target.clone(), choice.one.0.objects.clone())];
        if let Some(stages) = choice.detour() {
            ways.push((ChunkGrid::new(problem.shape.clone(), stages.object.clone()), stages.first.objects.clone()));
            ways.push((target, stages.second.objects.clone()));
        }
        for (grid, counts) in ways {
            let slabs = ChunkGrid::new(grid.counts(), counts);
            let mut written = vec![0_u32; elements(&problem.shape) as usize];
            for number in 0..slabs.chunks() {
                let objects = slabs.region(&slabs.index(number));
                let held: u64 = positions(&objects).map(|index| grid.region(&index).elements()).sum();
                prop_assert!(held * problem.item <= problem.limit);
                for index in positions(&objects) {
                    positions(&grid.region(&index)).for_each(|position| written[ravel(&position, &problem.shape) as usize] += 1);
                }
            }
            prop_assert!(written.iter().all(|&times| times == 1));
        }
    }
}
