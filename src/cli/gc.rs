//! `gristmill gc TARGET`: takes away what earlier runs left and nobody needs.

use std::io;
use std::time::Duration;

use clap::Args;

use super::Terminal;
use super::interrupt::stop_flag;
use super::load::settings;
use crate::run::gc::{Swept, Wish, gc};
use crate::size::ByteSize;

/// Takes away what earlier runs left and nobody needs.
#[derive(Debug, Args)]
pub struct Gc {
    /// Where runs wrote to: a path, or `s3://bucket/prefix`.
    pub target: String,
    /// Only show what would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Leave versions that were current, begun or published less than this ago (s, min, h, d, w).
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    pub older_than: Duration,
    /// Leave so many of the newest versions that are no longer current, whatever their age.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep: usize,
}

/// `7d`, `12h`, `30min`, `90s`, `2w`, `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let seconds = match (unit.trim(), number) {
        ("", "0") | ("s", _) => 1,
        ("min" | "m", _) => 60,
        ("h", _) => 3600,
        ("d", _) => 86_400,
        ("w", _) => 604_800,
        _ => return Err("write a number and a unit, such as 7d, 12h, 30min or 90s".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a whole number before the unit".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

impl Gc {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let config = terminal.global.config.clone();
        let access = match settings(config.as_deref(), terminal)? {
            Ok(access) => access,
            Err(exit) => return Ok(exit),
        };
        let wish = Wish { target: self.target, dry_run: self.dry_run, older_than: self.older_than, keep: self.keep };
        match gc(&wish, &access, &stop_flag()) {
            Ok(swept) if terminal.global.json => {
                terminal.print(&(serde_json::to_string_pretty(&swept).unwrap_or_default() + "\n"))?;
                Ok(super::exit::DONE)
            }
            Ok(swept) => terminal.print(&shown(&swept)).map(|()| super::exit::DONE),
            Err(error) => {
                error.problems().iter().try_for_each(|problem| terminal.tell(&format!("{problem}\n")))?;
                Ok(error.exit())
            }
        }
    }
}

fn shown(swept: &Swept) -> String {
    let head = match (swept.items.is_empty(), swept.dry_run) {
        (true, _) => "nothing to remove",
        (false, true) => "would remove",
        (false, false) => "removed",
    };
    let mut lines = vec![format!("{}: {head}\n", swept.target)];
    lines.extend(swept.items.iter().map(|item| {
        let (kind, bytes) = (item.kind.name(), ByteSize(item.bytes));
        format!("  {kind} {}: {} objects, {bytes} ({})\n", item.name, item.objects, item.why)
    }));
    if !swept.items.is_empty() {
        lines.push(format!("in all {} objects, {}\n", swept.objects, ByteSize(swept.bytes)));
    }
    let kept = swept.kept.iter().map(|stays| format!("kept: version {} ({})\n", stays.version, stays.why));
    let notes = swept.notes.iter().map(|note| format!("note: {note}\n"));
    lines.into_iter().chain(kept).chain(notes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        let seconds = |text: &str| duration(text).map(|time| time.as_secs()).ok();
        assert_eq!(["0", "90s", "30min", "12h", "7d", "2w"].map(seconds), [0, 90, 1800, 43_200, 604_800, 1_209_600].map(Some));
        assert_eq!(["", "7", "d", "-1d", "1.5h", "7 years"].map(seconds), [None; 6]);
    }
}
