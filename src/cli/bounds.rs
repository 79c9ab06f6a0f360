//! `--untrusted` and the limits of a run, as every command takes them.
//!
//! Invariant: what is given here only ever adds to what the settings say: distrust cannot be taken back, a limit is the last word.

use std::time::Duration;

use clap::Args;

use crate::size::ByteSize;
use crate::store::{Access, Limits};

/// How far a recipe is trusted, and how much it may read.
#[derive(Debug, Clone, Default, Args)]
pub struct Bounds {
    /// The recipe may be a stranger's: public servers only, no files of this machine, no credentials, and limits
    #[arg(long, global = true)]
    pub untrusted: bool,
    /// Most files that are opened
    #[arg(long, global = true, value_name = "N", hide_short_help = true)]
    pub max_inputs: Option<u64>,
    /// Most bytes that are read, such as 10GiB
    #[arg(long, global = true, value_name = "SIZE", hide_short_help = true)]
    pub max_bytes: Option<ByteSize>,
    /// Longest time, in minutes
    #[arg(long, global = true, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_minutes: Option<u64>,
}

impl Bounds {
    /// The environment as settings read it: the flag stands in for its variable.
    pub(super) fn environment(&self, name: &str) -> Option<String> {
        if self.untrusted && name == "GRISTMILL_UNTRUSTED" { Some("1".to_owned()) } else { std::env::var(name).ok() }
    }

    /// Puts the limits into the settings.
    pub(super) fn put_into(&self, access: &mut Access) {
        let time = self.max_minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
        access.limits = Limits { inputs: self.max_inputs, bytes: self.max_bytes, time }.or(access.limits);
    }
}
