//! Facts of files (RFC 3659, section 7).

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write as _;

use medusa_fs::{Kind, Metadata};

use super::list::push_name;
use super::reply::push_text;
use super::time::push_time_val;

/// Names of facts, in the order in which they are told.
const NAMES: [&str; 6] = ["type", "size", "modify", "perm", "unique", "UNIX.mode"];

/// A selection of facts (OPTS MLST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts(u8);

impl Default for Facts {
    fn default() -> Self {
        Self((1 << NAMES.len()) - 1)
    }
}

/// What a user may do with an entry, as the letters of RFC 3659, section 7.5.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Perm {
    /// Append to the file.
    pub append: bool,
    /// Store files in the directory.
    pub create: bool,
    /// Delete the entry.
    pub delete: bool,
    /// Enter the directory.
    pub enter: bool,
    /// Rename the entry.
    pub rename: bool,
    /// List the directory.
    pub list: bool,
    /// Make directories in the directory.
    pub make: bool,
    /// Retrieve the file.
    pub retrieve: bool,
    /// Store to the file.
    pub store: bool,
}

impl Facts {
    /// Selects the facts that are named here, each ended by a semicolon; unknown ones count for
    /// nothing (RFC 3659, section 7.9).
    pub fn select(text: &str) -> Self {
        let mut facts = Self(0);
        for name in text.split(';') {
            if let Some(at) = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)) {
                facts.0 |= 1 << at;
            }
        }
        facts
    }

    /// The line of FEAT: all facts, those that are selected with an asterisk.
    pub fn feature(self) -> String {
        let mut text = String::from("MLST ");
        for (at, name) in NAMES.iter().enumerate() {
            let mark = if self.has(at) { "*" } else { "" };
            let _ = write!(text, "{name}{mark};");
        }
        text
    }

    /// The selected facts, each ended by a semicolon.
    pub fn names(self) -> String {
        let selected = NAMES.iter().enumerate().filter(|(at, _)| self.has(*at));
        selected.flat_map(|(_, name)| [name, ";"]).collect()
    }

    fn has(self, at: usize) -> bool {
        self.0 & (1 << at) != 0
    }

    /// Appends the facts of an entry and the space behind them.
    pub fn push(self, out: &mut Vec<u8>, metadata: &Metadata, perm: Perm) {
        let is_dir = metadata.kind == Kind::Dir;
        // Writing to memory cannot fail.
        if self.has(0) {
            let kind = match metadata.kind {
                Kind::Dir => "dir",
                Kind::File => "file",
                Kind::Symlink => "OS.unix=symlink",
                Kind::Other => "OS.unix=other",
            };
            let _ = write!(out, "type={kind};");
        }
        if self.has(1) && !is_dir {
            let _ = write!(out, "size={};", metadata.size);
        }
        if self.has(2) {
            out.extend_from_slice(b"modify=");
            push_time_val(out, metadata.modified);
            out.push(b';');
        }
        if self.has(3) {
            out.extend_from_slice(b"perm=");
            perm.push(out, is_dir);
            out.push(b';');
        }
        if self.has(4) {
            let stamp = &metadata.stamp;
            let _ = write!(out, "unique={:x}g{:x};", device(stamp.dev), stamp.ino);
        }
        if self.has(5) {
            let _ = write!(out, "UNIX.mode=0{:o};", metadata.mode & 0o7777);
        }
        out.push(b' ');
    }

    /// Appends a line of MLSD.
    pub fn push_line(self, out: &mut Vec<u8>, name: &[u8], metadata: &Metadata, perm: Perm) {
        self.push(out, metadata, perm);
        push_name(out, b"", name);
    }

    /// The line of MLST, which stands in a reply.
    pub fn line(self, path: &[u8], metadata: &Metadata, perm: Perm) -> Vec<u8> {
        let mut out = Vec::new();
        self.push(&mut out, metadata, perm);
        push_text(&mut out, path);
        out
    }
}

/// Tells devices apart without saying what they are: for a tree in memory it would be an address,
/// which whoever attacks the process would like to know.
fn device(dev: u64) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(dev);
    hasher.finish() as u32
}

impl Perm {
    fn push(self, out: &mut Vec<u8>, is_dir: bool) {
        let of_files = [
            (self.append, b'a'),
            (self.delete, b'd'),
            (self.rename, b'f'),
            (self.retrieve, b'r'),
            (self.store, b'w'),
        ];
        let of_dirs = [
            (self.create, b'c'),
            (self.delete, b'd'),
            (self.enter, b'e'),
            (self.rename, b'f'),
            (self.list, b'l'),
            (self.make, b'm'),
            (self.delete, b'p'),
        ];
        let letters = if is_dir { &of_dirs[..] } else { &of_files[..] };
        out.extend(letters.iter().filter(|(may, _)| *may).map(|(_, letter)| letter));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use medusa_fs::Stamp;

    use super::super::list;
    use super::*;

    fn metadata(kind: Kind) -> Metadata {
        Metadata {
            kind,
            size: 42,
            modified: UNIX_EPOCH + Duration::from_secs(1_000_000_000),
            mode: 0o644,
            uid: 1000,
            gid: 100,
            nlink: 1,
            stamp: Stamp { dev: 255, ino: 16, size: 42, modified_ns: 0, changed_ns: 0 },
        }
    }

    #[test]
    fn facts_of_a_file_and_of_a_directory() {
        let all = Facts::default();
        let perm = Perm { retrieve: true, enter: true, list: true, ..Perm::default() };
        let unique = format!("{:x}g10", device(255));
        let mut out = Vec::new();
        all.push_line(&mut out, b"a b", &metadata(Kind::File), perm);
        all.push_line(&mut out, b"d", &metadata(Kind::Dir), perm);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text.replace(&unique, "ffg10"),
            "type=file;size=42;modify=20010909014640;perm=r;unique=ffg10;UNIX.mode=0644; a b\r\n\
             type=dir;modify=20010909014640;perm=el;unique=ffg10;UNIX.mode=0644; d\r\n"
        );
    }

    #[test]
    fn a_selection_of_facts() {
        let facts = Facts::select("SIZE;unix.MODE;nonsense;");
        assert_eq!(facts.names(), "size;UNIX.mode;");
        assert_eq!(facts.feature(), "MLST type;size*;modify;perm;unique;UNIX.mode*;");
        let line = Facts::select("").line(b"/x", &metadata(Kind::File), Perm::default());
        assert_eq!(line, b" /x", "no fact at all is a selection");
    }

    #[test]
    fn a_line_as_ls_writes_it() {
        let mut out = Vec::new();
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_060);
        list::push_line(&mut out, b"a\r\nb", &metadata(Kind::File), now);
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "-rw-r--r--    1 1000     100                42 Sep  9 01:46 a??b\r\n"
        );
    }
}
