//! Exit codes (DESIGN section 8), by name. Published: a code never changes its meaning.

/// Done, or nothing to do.
pub const DONE: u8 = 0;
/// A fault of ours.
pub const INTERNAL: u8 = 1;
/// Recipe or usage.
pub const RECIPE: u8 = 2;
/// A source file, permanently.
pub const SOURCE: u8 = 3;
/// The data contract.
pub const DATA: u8 = 4;
/// A passing fault: trying again helps.
pub const TEMPORARY: u8 = 5;
/// The target is held by another run, or holds something else.
pub const CONFLICT: u8 = 6;
/// What was written is not what was read.
pub const VERIFICATION: u8 = 7;
/// Cannot be done within the memory, disk or budget.
pub const RESOURCES: u8 = 8;
/// Interrupted; running again resumes.
pub const INTERRUPTED: u8 = 75;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::diagnostic::Class;

    #[test]
    fn classes_of_problems_use_these_codes() {
        let codes = Class::ALL.map(Class::exit);
        assert_eq!(codes, [RECIPE, RECIPE, SOURCE, DATA, TEMPORARY, CONFLICT, VERIFICATION, RESOURCES]);
    }
}
