//! Listings over data connections: LIST, NLST and MLSD, as they are read.
//!
//! The one design choice: nothing is kept and nothing sorted. A directory is written as it is read,
//! so that its first line leaves at once and its size does not matter; clients sort by themselves.

use std::sync::Arc;
use std::time::SystemTime;

use medusa_core::Aborted;
use medusa_core::producer::{Step, Steps};
use medusa_fs::{
    Detail, DirEntry, Entries, Error, ErrorKind, FileSystem, Kind, Metadata, Persona, VirtualPath,
};

use crate::authorizer::{Permissions, Rights};
use crate::limits::{STEP_BYTES, STEP_ENTRIES};
use crate::wire::facts::{Facts, Perm};
use crate::wire::{MAX_LINE_BYTES, glob, list};

/// Bytes that are left free of a step for the line that goes over it: it may have a directory that
/// the client has named, and what is told of one name.
const LINE_ROOM: usize = MAX_LINE_BYTES as usize + 1024;

/// How entries are written.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// As `ls -l` does.
    Long(SystemTime),
    /// Names only: what RETR can be told (RFC 1123, section 4.1.2.7), so that they begin with the
    /// directory as the client wrote it.
    Names,
    /// Facts.
    Facts(Facts),
}

/// A directory, or a file, on its way to the client.
pub(crate) struct Listing {
    tree: Arc<dyn FileSystem>,
    who: Persona,
    rights: Rights,
    directory: VirtualPath,
    /// What names of entries are put behind, to be names for the client; of a file all of its name.
    named: Vec<u8>,
    pattern: Option<Vec<u8>>,
    form: Form,
    /// A file that was asked for by its name.
    single: Option<(Vec<u8>, Metadata)>,
    entries: Option<Entries>,
}

/// What is to be listed.
pub(crate) struct Asked {
    pub(crate) path: VirtualPath,
    /// That path as the client wrote it; nothing for where it is.
    pub(crate) named: Vec<u8>,
    /// The path's last component is a pattern of names, as the client wrote it.
    pub(crate) pattern: Option<Vec<u8>>,
    pub(crate) form: Form,
    /// A file has no listing (MLSD).
    pub(crate) directories_only: bool,
}

impl Listing {
    /// Begins a listing; blocks.
    pub(crate) fn open(
        tree: Arc<dyn FileSystem>,
        who: Persona,
        rights: Rights,
        asked: Asked,
    ) -> Result<Self, Error> {
        let Asked { path, mut named, pattern, form, directories_only } = asked;
        if named == b"." {
            named.clear();
        }
        let detail = if matches!(form, Form::Names) { Detail::Names } else { Detail::Full };
        let (single, entries) = match tree.list(&who, &path, detail) {
            Ok(entries) => {
                if !named.is_empty() && !named.ends_with(b"/") {
                    named.push(b'/');
                }
                (None, Some(entries))
            }
            Err(e)
                if e.kind() == ErrorKind::NotDirectory
                    && pattern.is_none()
                    && !directories_only =>
            {
                let metadata = tree.metadata(&who, &path)?;
                let name = path.name().unwrap_or_default().to_vec();
                (Some((name, metadata)), None)
            }
            Err(e) => return Err(e),
        };
        Ok(Self { tree, who, rights, directory: path, named, pattern, form, single, entries })
    }

    /// Appends the line of an entry, if it has one.
    fn push(&self, out: &mut Vec<u8>, entry: DirEntry) {
        if self.pattern.as_ref().is_some_and(|pattern| !glob::matches(pattern, &entry.name)) {
            return;
        }
        if matches!(self.form, Form::Names) {
            return list::push_name(out, &self.named, &entry.name);
        }
        // Of a link clients want to know what it leads to; one that leads nowhere is not shown.
        let metadata = match entry.metadata.filter(|m| m.kind != Kind::Symlink) {
            Some(metadata) => Some(metadata),
            None => self
                .directory
                .child(&entry.name)
                .ok()
                .and_then(|path| self.tree.metadata(&self.who, &path).ok()),
        };
        if let Some(metadata) = metadata {
            self.push_line(out, &entry.name, &metadata);
        }
    }

    fn push_line(&self, out: &mut Vec<u8>, name: &[u8], metadata: &Metadata) {
        match self.form {
            Form::Long(now) => list::push_line(out, name, metadata, now),
            Form::Names => list::push_name(out, b"", &self.named),
            Form::Facts(facts) => {
                let path = self.directory.child(name);
                let rights = path.map_or(Permissions::default(), |path| self.rights.at(&path));
                facts.push_line(out, name, metadata, perm(rights));
            }
        }
    }

    /// Appends lines until there are so many bytes, or so many entries were looked at.
    fn fill(&mut self, out: &mut Vec<u8>, bytes: usize, most: usize) -> Result<bool, Aborted> {
        if let Some((name, metadata)) = self.single.take() {
            self.push_line(out, &name, &metadata);
            return Ok(false);
        }
        let Some(mut entries) = self.entries.take() else { return Ok(false) };
        for _ in 0..most {
            match entries.next() {
                None => return Ok(false),
                Some(Err(e)) => return Err(Aborted::new(format!("a listing breaks off: {e}"))),
                Some(Ok(entry)) => self.push(out, entry),
            }
            if out.len() >= bytes {
                break;
            }
        }
        self.entries = Some(entries);
        Ok(true)
    }

    /// The first lines, of at most so many entries, and whether there may be more.
    pub(crate) fn beginning(mut self, entries: usize) -> Result<(Vec<u8>, bool), Aborted> {
        let mut out = Vec::new();
        let more = self.fill(&mut out, usize::MAX, entries)?;
        Ok((out, more))
    }
}

impl Steps for Listing {
    fn step(&mut self) -> Result<Step, Aborted> {
        let mut out = Vec::with_capacity(STEP_BYTES);
        let more = self.fill(&mut out, STEP_BYTES - LINE_ROOM, STEP_ENTRIES)?;
        let mut step = Step { ended: !more, ..Step::default() };
        step.push(out);
        Ok(step)
    }
}

/// What the facts say that a user may do.
pub(crate) fn perm(rights: Permissions) -> Perm {
    Perm {
        append: rights.has(Permissions::APPEND),
        create: rights.has(Permissions::STORE),
        delete: rights.has(Permissions::DELETE),
        enter: rights.has(Permissions::ENTER),
        rename: rights.has(Permissions::RENAME),
        list: rights.has(Permissions::LIST),
        make: rights.has(Permissions::MAKE),
        retrieve: rights.has(Permissions::RETRIEVE),
        store: rights.has(Permissions::STORE),
    }
}
