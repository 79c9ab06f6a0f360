//! Random sequences of what people and machines do to one dataset, against a model in memory: run, crash, resume, append, a file that
//! changes upstream, a shorter recipe, a second writer, one who was suspended and wakes, replace, versions, gc, damage and repair; on the
//! local disk, and in a store that has no locks.
//!
//! After every single put or delete the store is read as any reader would, and through the eyes of one who opened it before the run: what
//! they see is the old dataset or the new one, whole. What a run committed is verified, every byte of it and against its sources.
//! 50 sequences; `GRISTMILL_MODEL_SEQUENCES=1000` runs more of them, on so many threads as `GRISTMILL_MODEL_THREADS` says, and
//! `GRISTMILL_MODEL_SEED` names the first, which a failure prints.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod dataset;
#[path = "../made_files/mod.rs"]
mod made_files;
mod process;
mod story;
mod upkeep;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use dataset::Chance;
use process::Life;
use story::Story;

const OPERATIONS: usize = 14;

impl Story {
    fn step(&mut self, chance: &mut Chance) {
        match chance.below(20) {
            0..=3 => self.run(false, &Life::endless()),
            4..=7 => {
                let (changes, done) = (1 + chance.below(40) as i64, chance.one_in(2));
                self.run(false, &Life::of(changes, done));
            }
            8 | 9 => {
                self.wanted = (self.wanted + 1 + chance.below(2)).min(self.upstream.len());
                self.tell(format!("{} files wanted", self.wanted));
            }
            10 => {
                let day = chance.below(self.upstream.len());
                self.write(day);
                self.tell(format!("file {day} changes to {}", self.upstream[day]));
            }
            11 => {
                self.wanted = 1 + chance.below(self.wanted);
                self.tell(format!("only {} files wanted", self.wanted));
            }
            12 => self.run(true, &Life::endless()),
            13 => self.run(true, &Life::of(1 + chance.below(40) as i64, true)),
            14 => self.sweep(chance.below(3), &Life::endless()),
            15 => self.sweep(0, &Life::of(1 + chance.below(12) as i64, chance.one_in(2))),
            16..=17 => self.damage(chance),
            // A lease's holder is known to live only when he has shown it: that takes seconds.
            18 if self.local || chance.one_in(5) => self.run_beside_another(),
            _ if !self.local => self.run_over_a_sleeper(chance),
            _ => self.run(false, &Life::endless()),
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_happens_readers_see_the_old_dataset_or_the_new_one() {
    let (count, first) = (number("GRISTMILL_MODEL_SEQUENCES", 50), number("GRISTMILL_MODEL_SEED", 1));
    let begun = std::time::Instant::now();
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..number("GRISTMILL_MODEL_THREADS", 3) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    play(seed);
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs();
    println!("{count} sequences of {OPERATIONS} operations, seeds {first} to {}, in {seconds} s", first + count - 1);
}

fn play(seed: u64) {
    let told = std::panic::catch_unwind(|| {
        let mut chance = Chance::new(seed);
        let mut story = Story::new(seed, &mut chance);
        (0..OPERATIONS).for_each(|_| story.step(&mut chance));
        // In the end a run without mishap publishes what is asked, or refuses; replacing always publishes.
        story.run(false, &Life::endless());
        story.run(true, &Life::endless());
        assert!(!story.local || !Path::new(&story.place.target).join(".gristmill").exists());
    });
    assert!(told.is_ok(), "seed {seed} failed: GRISTMILL_MODEL_SEED={seed} GRISTMILL_MODEL_SEQUENCES=1 repeats it");
}
