//! Archives that were found, looked into: their members are what is found then.
//!
//! Not for reading members. Invariant: an archive that `exclude` names is not opened, and one whose members all fail to match is told of.

use std::sync::Arc;

use super::walk::at_once;
use super::{DiscoverError, Found, Search, records};
use crate::event::Reporter;
use crate::pattern::archived::is_archive;
use crate::pattern::glob::Glob;
use crate::recipe::diagnostic::Code;
use crate::store::{self, Archives, Member, shown};

/// Names in a message.
const SHOWN: usize = 5;

/// The archive at an address, as something found.
pub(super) fn archive(url: &str) -> Found {
    let path = records::path(url);
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    Found { url: url.to_owned(), path: name, ..Found::default() }
}

/// Puts the members that match into the place of their archives; files that are no archives, by their names, stay.
pub(super) fn look_into(
    search: Search<'_>,
    found: Vec<Found>,
    glob: &Glob,
    reporter: &Arc<dyn Reporter>,
) -> Result<Vec<Found>, DiscoverError> {
    let (packed, mut files): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|one| is_wanted(search, one));
    let store = store::archives(search.access, Arc::clone(reporter));
    let held = at_once(&packed, &|archive| list(search, &*store, archive))?;
    let before = files.len();
    for (archive, members) in packed.iter().zip(&held) {
        let matching = members.iter().filter(|member| matches(glob, &member.name));
        files.extend(matching.map(|member| inside(archive, member)));
    }
    if files.is_empty() && !packed.is_empty() {
        return Err(nothing(search, &packed, &held));
    }
    search.limits.files(files.len() - before)?;
    Ok(files)
}

fn is_wanted(search: Search<'_>, found: &Found) -> bool {
    is_archive(&found.path) && !search.find.exclude.iter().any(|glob| glob.matches(&found.path))
}

fn list(search: Search<'_>, store: &dyn Archives, archive: &Found) -> Result<Vec<Member>, DiscoverError> {
    search.limits.document()?;
    Ok(store.members(&archive.url)?)
}

/// True if the whole name of a member matches: a glob of one name means members that lie in no folder.
fn matches(glob: &Glob, name: &str) -> bool {
    let names = name.split('/').filter(|name| !name.is_empty());
    glob.ends(&names.fold(glob.start(), |way, name| glob.after(&way, name)))
}

/// A member, with what is told of its archive.
fn inside(archive: &Found, member: &Member) -> Found {
    let path = format!("{}!{}", archive.path, member.name);
    Found { url: member.url.clone(), path, size: Some(member.size), checksum: None, ..archive.clone() }
}

fn nothing(search: Search<'_>, archives: &[Found], held: &[Vec<Member>]) -> DiscoverError {
    let first = archives.iter().zip(held).map(|(archive, members)| {
        let names: Vec<String> = members.iter().take(SHOWN).map(|member| format!("`{}`", shown(&member.name))).collect();
        let more = if members.len() > SHOWN { ", …" } else { "" };
        format!("`{}` holds {} files: {}{more}", shown(&archive.path), members.len(), names.join(", "))
    });
    let example = first.take(1).collect::<String>();
    let message = format!("no member of the {} archives that were found matches; {example}", archives.len());
    search.refuse(Code::NothingFound, message, "`*.nc` means members in no folder, `**/*.nc` those in any")
}
