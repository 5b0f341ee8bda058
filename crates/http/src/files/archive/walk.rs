//! Walks a directory and all that is beneath it, entry by entry.
//!
//! The one design choice: the directories on the way down are open, and nothing else is remembered,
//! so that the memory of a walk depends on the depth of the tree only, which is bounded.
//!
//! Left out is what a client would not get by asking for it: hidden names, what may not be read,
//! links that lead nowhere or outside, and what is neither a file nor a directory. A link to a file
//! is that file; a link to a directory is left out, for it could lead round in a circle.

use medusa_core::Aborted;
use medusa_fs::{Detail, DirEntry, Entries, Error, ErrorKind, Kind, OpenFile, VirtualPath};

use crate::files::Source;
use crate::files::archive::Member;
use crate::files::civil::unix_seconds;
use crate::limits::{ARCHIVE_DEPTH, ARCHIVE_ENTRIES};

/// A walk on its way.
pub(super) struct Walk {
    source: Source,
    /// What all names in the archive begin with.
    base: Vec<u8>,
    /// The directories that are being read, from the top down.
    levels: Vec<(VirtualPath, Entries)>,
    seen: usize,
    begun: bool,
}

/// What the next step of a walk came upon.
pub(super) enum Walked {
    /// Something that is left out.
    Nothing,
    Directory(Member),
    /// A file, with its name in the archive.
    File(Vec<u8>, OpenFile),
    End,
}

/// What a directory without a name, the root, is called in an archive.
const ROOT_NAME: &[u8] = b"files";

impl Walk {
    pub(super) fn begin(source: Source) -> medusa_fs::Result<Self> {
        let entries = source.tree.list(&source.who, &source.path, Detail::Names)?;
        let base = source.path.name().unwrap_or(ROOT_NAME).to_vec();
        let levels = vec![(source.path.clone(), entries)];
        Ok(Self { source, base, levels, seen: 0, begun: false })
    }

    /// What all names in the archive begin with.
    pub(super) fn base(&self) -> &[u8] {
        &self.base
    }

    /// Goes on to the next entry; blocks.
    pub(super) fn next(&mut self) -> Result<Walked, Aborted> {
        if !std::mem::replace(&mut self.begun, true) {
            return self.directory(&self.source.path.clone());
        }
        let Some((path, entries)) = self.levels.last_mut() else { return Ok(Walked::End) };
        let Some(entry) = entries.next() else {
            self.levels.pop();
            return Ok(Walked::Nothing);
        };
        let DirEntry { name, kind, .. } = entry.map_err(|error| failed(&error))?;
        let Ok(child) = path.child(&name) else { return Ok(Walked::Nothing) };
        self.seen += 1;
        if self.seen > ARCHIVE_ENTRIES {
            let why = format!("an archive has more than {ARCHIVE_ENTRIES} entries");
            return Err(Aborted::new(why));
        }
        let Source { tree, who, .. } = &self.source;
        match kind {
            Kind::Dir => match tree.list(who, &child, Detail::Names) {
                Ok(_) if self.levels.len() >= ARCHIVE_DEPTH => {
                    let why = format!("{child} is more than {ARCHIVE_DEPTH} directories deep");
                    Err(Aborted::new(why))
                }
                Ok(entries) => {
                    let walked = self.directory(&child)?;
                    self.levels.push((child, entries));
                    Ok(walked)
                }
                Err(error) => left_out(&error),
            },
            Kind::File | Kind::Symlink => match tree.open(who, &child) {
                Ok(file) => Ok(Walked::File(self.name(&child), file)),
                Err(error) => left_out(&error),
            },
            Kind::Other => Ok(Walked::Nothing),
        }
    }

    fn directory(&self, path: &VirtualPath) -> Result<Walked, Aborted> {
        let metadata = match self.source.tree.metadata(&self.source.who, path) {
            Ok(metadata) => metadata,
            Err(error) => return left_out(&error),
        };
        let mut name = self.name(path);
        name.push(b'/');
        let modified = unix_seconds(metadata.modified);
        Ok(Walked::Directory(Member {
            name,
            directory: true,
            size: 0,
            modified,
            mode: metadata.mode,
        }))
    }

    /// The name in the archive.
    fn name(&self, path: &VirtualPath) -> Vec<u8> {
        let mut name = self.base.clone();
        if let Some(inner) = path.strip_prefix(&self.source.path).filter(|inner| !inner.is_root()) {
            name.extend_from_slice(inner.as_bytes());
        }
        name
    }
}

/// Leaves out what a client would not get either; whatever else goes wrong ends the archive.
fn left_out(error: &Error) -> Result<Walked, Aborted> {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::Denied
        | ErrorKind::IsDirectory
        | ErrorKind::NotDirectory
        | ErrorKind::TooLong
        | ErrorKind::Escapes
        | ErrorKind::Busy
        | ErrorKind::Unsupported => {
            tracing::debug!("left out of an archive: {error}");
            Ok(Walked::Nothing)
        }
        _ => Err(failed(error)),
    }
}

fn failed(error: &Error) -> Aborted {
    Aborted::new(format!("an archive cannot be made: {error}"))
}
