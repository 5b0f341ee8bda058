//! Lists a directory, as a page or as JSON.
//!
//! The one design choice: entries are kept in a compact table, and are written out piece by piece
//! as the client takes them, so that a page is never whole in memory. The directory of more than a
//! few entries is read behind the head of the page, which so comes at once; what can be refused is
//! known by then, for the directory is open and its beginning read.

mod html;
mod json;
mod table;

use medusa_core::Aborted;
use medusa_core::producer::{Step, Steps};
use medusa_fs::{Detail, DirEntry, Entries, Kind};

use self::table::{Entry, Table};
use crate::files::Source;
use crate::files::budget::{Budget, Share};
use crate::files::civil::unix_seconds;
use crate::files::query::{Format, Query};
use crate::limits::{LISTING_FIRST_ENTRIES, LISTING_STEP_ENTRIES, LISTING_TABLE_BYTES, STEP_BYTES};
use crate::reply::Reply;

/// What a page offers besides the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) archives: bool,
    pub(super) upload: bool,
}

/// A listing on its way.
pub(super) struct Listing {
    source: Source,
    query: Query,
    format: Format,
    offers: Offers,
    /// What has not been read.
    entries: Option<Entries>,
    table: Table,
    begun: bool,
    /// Rows that have been written out.
    written: usize,
    /// What the table may hold.
    share: Option<Share>,
}

/// A listing, the first step of it, and what is held for its steps.
pub(super) type Begun = (Listing, Step, Share);

/// Begins to list a directory; blocks. Gives nothing if all listings together hold too much.
pub(super) fn begin(
    source: Source,
    query: Query,
    format: Format,
    offers: Offers,
    budget: &Budget,
) -> medusa_fs::Result<Option<Begun>> {
    let entries = source.tree.list(&source.who, &source.path, Detail::Full)?;
    let mut table = Table::default();
    let entries = read(&source, entries, &mut table, LISTING_FIRST_ENTRIES)?;
    let mut listing = Listing {
        source,
        query,
        format,
        offers,
        entries,
        table,
        begun: false,
        written: 0,
        share: None,
    };
    listing.sort_if_read();
    let first = listing.make();
    // What is not known yet counts as the most that it can be.
    let (table, steps) = match &listing.entries {
        Some(_) => (LISTING_TABLE_BYTES, 2 * STEP_BYTES),
        None if first.ended => (0, first.bytes() as usize),
        None => (listing.table.bytes(), 2 * STEP_BYTES),
    };
    let Some(mut share) = budget.take(table + steps) else { return Ok(None) };
    listing.share = Some(share.split(table));
    Ok(Some((listing, first, share)))
}

/// Reads some entries into the table; gives back what is left of them.
fn read(
    source: &Source,
    mut entries: Entries,
    table: &mut Table,
    count: usize,
) -> medusa_fs::Result<Option<Entries>> {
    for _ in 0..count {
        let Some(entry) = entries.next() else { return Ok(None) };
        push(source, table, &entry?);
        if table.more {
            return Ok(None);
        }
    }
    Ok(Some(entries))
}

/// Adds what is to be shown of an entry. A link shows what it leads to; one that leads nowhere, or
/// outside, is left out, and so is what is neither a file nor a directory.
fn push(source: &Source, table: &mut Table, entry: &DirEntry) {
    let followed = match (entry.kind, &entry.metadata) {
        (Kind::Symlink, _) | (_, None) => {
            let Ok(child) = source.path.child(&entry.name) else { return };
            source.tree.metadata(&source.who, &child).ok()
        }
        (_, Some(_)) => None,
    };
    let Some(metadata) = followed.as_ref().or(entry.metadata.as_ref()) else { return };
    let directory = match metadata.kind {
        Kind::Dir => true,
        Kind::File => false,
        Kind::Symlink | Kind::Other => return,
    };
    let modified = unix_seconds(metadata.modified);
    table.push(Entry { name: &entry.name, directory, size: metadata.size, modified });
}

impl Listing {
    /// Puts the entries in order once all are there.
    fn sort_if_read(&mut self) {
        if self.entries.is_none() {
            self.table.sort(self.query.sort, self.query.order);
            if let Some(share) = &mut self.share {
                share.shrink(self.table.bytes());
            }
        }
    }

    /// Writes out what is known and fits into a step.
    fn make(&mut self) -> Step {
        let mut out = Vec::with_capacity(STEP_BYTES);
        if !std::mem::replace(&mut self.begun, true) {
            match self.format {
                Format::Html => {
                    let begin = html::begin(&self.source.path, self.query, self.offers);
                    out.extend_from_slice(begin.as_bytes());
                }
                Format::Json => out.extend_from_slice(json::BEGIN),
            }
        }
        let mut step = Step::default();
        if self.entries.is_none() {
            while out.len() < STEP_BYTES - ROW_BYTES
                && let Some(entry) = self.table.get(self.written)
            {
                match self.format {
                    Format::Html => out.extend_from_slice(html::row(entry).as_bytes()),
                    Format::Json => json::row(&mut out, entry, self.written == 0),
                }
                self.written += 1;
            }
            if self.written == self.table.len() {
                match self.format {
                    Format::Html => out.extend_from_slice(html::end(&self.table).as_bytes()),
                    Format::Json => json::end(&mut out, self.table.len(), self.table.more),
                }
                step.ended = true;
            }
        }
        // A short page must not hold a long buffer.
        out.shrink_to_fit();
        step.push(out);
        step
    }
}

/// Bytes that a row may take when it is written out: a name of 255 bytes twice, each byte escaped.
const ROW_BYTES: usize = 4096;

impl Steps for Listing {
    fn step(&mut self) -> Result<Step, Aborted> {
        if let Some(entries) = self.entries.take() {
            self.entries = read(&self.source, entries, &mut self.table, LISTING_STEP_ENTRIES)
                .map_err(|error| Aborted::new(error.to_string()))?;
            self.sort_if_read();
        }
        Ok(self.make())
    }
}

/// Begins the reply with a listing of this form.
pub(super) fn reply(format: Format) -> Reply {
    let reply = Reply::new(200)
        .field("Cache-Control", "no-cache")
        .field("Vary", "Accept")
        .field("X-Content-Type-Options", "nosniff");
    match format {
        Format::Html => reply
            .field("Content-Type", "text/html; charset=utf-8")
            .field("Content-Security-Policy", html::POLICY),
        Format::Json => reply.field("Content-Type", "application/json"),
    }
}
