//! Merges the listings of layered trees as they are read.
//!
//! The design choice: the names given so far are remembered, so that each appears once. That
//! takes memory by the number of entries that the caller takes, which the caller limits.

use std::collections::HashSet;
use std::vec;

use medusa_core::sys::persona::Persona;

use super::LayeredTree;
use crate::error::{Error, ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{Detail, DirEntry, Entries, FileSystem as _};

struct Merged {
    current: Option<Entries>,
    lower: vec::IntoIter<Entries>,
    seen: HashSet<Box<[u8]>>,
    /// Names that are hidden in the lower trees; seen from the second listing on.
    whited_out: Vec<Box<[u8]>>,
}

/// Starts the listings of all trees that have the directory.
pub(super) fn list(
    tree: &LayeredTree,
    who: &Persona,
    path: &VirtualPath,
    detail: Detail,
) -> Result<Entries> {
    // The first place is the upper tree's, which whiteouts do not apply to.
    let mut listings: Vec<Entries> = Vec::new();
    let mut found = false;
    for (depth, layer) in tree.layers(path).enumerate() {
        match layer.list(who, path, detail) {
            Ok(listing) => {
                found = true;
                listings.push(listing);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                listings.push(Box::new(std::iter::empty()));
            }
            // A file below hides the directories further below.
            Err(error) if error.kind() == ErrorKind::NotDirectory && depth > 0 => break,
            Err(error) => return Err(error),
        }
    }
    if !found {
        // Told by the lookup whether that is a file.
        tree.metadata(who, path)?;
        return Err(Error::new(ErrorKind::NotDirectory, "list", path));
    }
    let whited_out = tree
        .whiteouts()
        .iter()
        .filter(|hidden| hidden.parent().as_ref() == Some(path))
        .filter_map(|hidden| hidden.name().map(Box::from))
        .collect();
    let mut lower = listings.into_iter();
    let current = lower.next();
    Ok(Box::new(Merged { current, lower, seen: HashSet::new(), whited_out }))
}

impl Iterator for Merged {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.current.as_mut()?.next() {
                Some(Ok(entry)) => {
                    // Nothing comes after the last listing, so nothing need be remembered.
                    let new = if self.lower.as_slice().is_empty() {
                        !self.seen.contains(&entry.name)
                    } else {
                        self.seen.insert(entry.name.clone())
                    };
                    if new {
                        return Some(Ok(entry));
                    }
                }
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    self.current = self.lower.next();
                    self.seen.extend(self.whited_out.drain(..));
                }
            }
        }
    }
}
