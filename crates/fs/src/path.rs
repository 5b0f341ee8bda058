//! Defines the paths of a file tree, independent of any machine's paths.
//!
//! The design choice: a path is parsed once, at the protocol's edge, into a form in which nothing
//! is left to check: absolute, `.` and `..` resolved by text, no empty component, no NUL. Bytes,
//! not text, for file names have no encoding.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest name of one component, in bytes; that of the usual file systems.
pub const MAX_NAME_BYTES: usize = 255;

/// The longest path in bytes, with its leading slash.
pub const MAX_PATH_BYTES: usize = 4096;

/// Names one place in a file tree: absolute and normalised.
///
/// Starts with `/`; has no empty, `.` or `..` component and no NUL; no component is longer than
/// [`MAX_NAME_BYTES`], the whole no longer than [`MAX_PATH_BYTES`]. Cloning is cheap. Compares
/// by bytes; a map keyed by paths can be asked with the bytes of a normalised path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VirtualPath(Arc<[u8]>);

/// What parsing a path gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The normalised path.
    pub path: VirtualPath,
    /// Whether the text could only mean a directory: it ended in `/`, `/.` or `/..`.
    pub trailing_slash: bool,
}

/// Tells why bytes are not a path of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not start with a slash.
    NotAbsolute,
    /// It has a NUL byte.
    Nul,
    /// It leads above the root.
    Escapes,
    /// A component is longer than [`MAX_NAME_BYTES`].
    NameTooLong,
    /// It is longer than [`MAX_PATH_BYTES`], normalised.
    TooLong,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path is not absolute",
            Self::Nul => "the path has a NUL byte",
            Self::Escapes => "the path leads above the root",
            Self::NameTooLong => "a name in the path is too long",
            Self::TooLong => "the path is too long",
        })
    }
}

impl std::error::Error for PathError {}

impl VirtualPath {
    /// Gives the root of a tree.
    pub fn root() -> Self {
        Self(Arc::from(&b"/"[..]))
    }

    /// Parses an absolute path. `.`, `..` and repeated slashes are resolved by text alone, as in
    /// a URI (RFC 3986 section 5.2.4), except that going above the root is an error.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, PathError> {
        if bytes.first() != Some(&b'/') {
            return Err(PathError::NotAbsolute);
        }
        normalise(b"", bytes)
    }

    /// Resolves `bytes` against this path: from the root if they start with a slash, else from
    /// here. No bytes at all mean this path.
    pub fn join(&self, bytes: &[u8]) -> Result<Parsed, PathError> {
        if bytes.first() == Some(&b'/') {
            return Self::parse(bytes);
        }
        if bytes.is_empty() {
            return Ok(Parsed { path: self.clone(), trailing_slash: self.is_root() });
        }
        normalise(self.prefix(), bytes)
    }

    /// Gives the path of the entry `name` in this directory.
    ///
    /// # Errors
    ///
    /// [`PathError::Escapes`] where the name is not one component: empty, `.`, `..` or with a
    /// slash in it.
    pub fn child(&self, name: &[u8]) -> Result<Self, PathError> {
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(PathError::Escapes);
        }
        Ok(normalise(self.prefix(), name)?.path)
    }

    /// Gives the bytes, starting with a slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the bytes without the leading slash; empty for the root.
    pub fn relative(&self) -> &[u8] {
        &self.0[1..]
    }

    /// Tells whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Gives the directory that holds this path; the root has none.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|&byte| byte == b'/').filter(|_| !self.is_root())?;
        Some(if slash == 0 { Self::root() } else { Self(Arc::from(&self.0[..slash])) })
    }

    /// Gives the last component; the root has none.
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// Gives the components from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.relative().split(|&byte| byte == b'/').filter(|name| !name.is_empty())
    }

    /// Gives this path and then each directory above it, up to the root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }

    /// Tells whether this path is `prefix` or lies beneath it, by whole components.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        let rest = self.0.strip_prefix(prefix.prefix());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// Gives this path as seen from `prefix`, or nothing where it does not lie beneath it.
    pub fn strip_prefix(&self, prefix: &Self) -> Option<Self> {
        if !self.starts_with(prefix) {
            return None;
        }
        let rest = &self.0[prefix.prefix().len()..];
        Some(if rest.is_empty() { Self::root() } else { Self(Arc::from(rest)) })
    }

    /// Tells whether any component begins with a dot.
    pub fn is_hidden(&self) -> bool {
        self.components().any(is_hidden_name)
    }

    /// Tells whether any component is named as the backup that an editor or a tool leaves behind.
    pub fn is_backup(&self) -> bool {
        self.components().any(is_backup_name)
    }

    /// The bytes that a slash and a component can be put behind: the root's are empty.
    fn prefix(&self) -> &[u8] {
        if self.is_root() { b"" } else { &self.0 }
    }
}

/// Tells whether a name begins with a dot.
pub(crate) fn is_hidden_name(name: &[u8]) -> bool {
    name.first() == Some(&b'.')
}

/// What names of backups end in, whatever the case: what editors, patches and people append, and
/// the swap files of vi.
const BACKUP_ENDINGS: [&[u8]; 5] = [b".bak", b".old", b".orig", b".swo", b".swp"];

/// Tells whether a name is that of a backup: `*~` and `#*#` of editors, or one of the endings
/// [`BACKUP_ENDINGS`].
pub(crate) fn is_backup_name(name: &[u8]) -> bool {
    let ends_in = |ending: &[u8]| {
        name.len() > ending.len() && name[name.len() - ending.len()..].eq_ignore_ascii_case(ending)
    };
    name.ends_with(b"~")
        || (name.len() > 1 && name.starts_with(b"#") && name.ends_with(b"#"))
        || BACKUP_ENDINGS.into_iter().any(ends_in)
}

/// Resolves `bytes` from `base`, which is the root's empty prefix or a normalised path.
fn normalise(base: &[u8], bytes: &[u8]) -> Result<Parsed, PathError> {
    if bytes.contains(&0) {
        return Err(PathError::Nul);
    }
    // What is shorter than its input by `..` may still be long on the way, but no longer than
    // the input, which the caller bounds.
    let mut whole = Vec::with_capacity(base.len() + 1 + bytes.len());
    whole.extend_from_slice(base);
    let mut trailing_slash = false;
    for component in bytes.split(|&byte| byte == b'/') {
        trailing_slash = matches!(component, b"" | b"." | b"..");
        match component {
            b"" | b"." => {}
            b".." => {
                let slash = whole.iter().rposition(|&byte| byte == b'/');
                whole.truncate(slash.ok_or(PathError::Escapes)?);
            }
            name if name.len() > MAX_NAME_BYTES => return Err(PathError::NameTooLong),
            name => {
                whole.push(b'/');
                whole.extend_from_slice(name);
            }
        }
    }
    if whole.is_empty() {
        whole.push(b'/');
    }
    if whole.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    Ok(Parsed { path: VirtualPath(whole.into()), trailing_slash })
}

impl Borrow<[u8]> for VirtualPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Prints the path for people. Nothing is lost: bytes that are not printable ASCII, and the
/// backslash, appear as escapes.
impl fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &*self.0 {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                0x20..=0x7e => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::parse(text.as_bytes()).unwrap().path
    }

    #[test]
    fn parse_table() {
        type Case = (&'static str, Result<(&'static str, bool), PathError>);
        let table: &[Case] = &[
            ("/", Ok(("/", true))),
            ("//", Ok(("/", true))),
            ("/a", Ok(("/a", false))),
            ("/a/", Ok(("/a", true))),
            ("//a///b", Ok(("/a/b", false))),
            ("/a/./b", Ok(("/a/b", false))),
            ("/a/.", Ok(("/a", true))),
            ("/a/b/..", Ok(("/a", true))),
            ("/a/..", Ok(("/", true))),
            ("/a/../b", Ok(("/b", false))),
            ("/...", Ok(("/...", false))),
            ("/..a", Ok(("/..a", false))),
            ("/a\\..\\b", Ok(("/a\\..\\b", false))),
            ("", Err(PathError::NotAbsolute)),
            ("a", Err(PathError::NotAbsolute)),
            ("/..", Err(PathError::Escapes)),
            ("/a/../..", Err(PathError::Escapes)),
            ("/a/../../a", Err(PathError::Escapes)),
            ("/a\0b", Err(PathError::Nul)),
            ("/a\0/..", Err(PathError::Nul)),
        ];
        for (text, expected) in table {
            let answer = VirtualPath::parse(text.as_bytes());
            let expected = expected.map(|(whole, trailing_slash)| Parsed {
                path: VirtualPath(whole.as_bytes().into()),
                trailing_slash,
            });
            assert_eq!(answer, expected, "{text:?}");
        }
    }

    #[test]
    fn join_table() {
        let table: &[(&str, &str, Result<&str, PathError>)] = &[
            ("/", "a", Ok("/a")),
            ("/a", "b/c", Ok("/a/b/c")),
            ("/a", "", Ok("/a")),
            ("/a", "/b", Ok("/b")),
            ("/a/b", "..", Ok("/a")),
            ("/a/b", "../../", Ok("/")),
            ("/a", "../..", Err(PathError::Escapes)),
            ("/", "..", Err(PathError::Escapes)),
        ];
        for (base, text, expected) in table {
            let answer = path(base).join(text.as_bytes()).map(|parsed| parsed.path);
            assert_eq!(answer, expected.map(path), "{base} {text}");
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let name = |bytes: usize| format!("/{}", "n".repeat(bytes));
        assert!(VirtualPath::parse(name(MAX_NAME_BYTES).as_bytes()).is_ok());
        let error = VirtualPath::parse(name(MAX_NAME_BYTES + 1).as_bytes());
        assert_eq!(error, Err(PathError::NameTooLong));
        let whole = "/n".repeat(MAX_PATH_BYTES / 2);
        assert!(VirtualPath::parse(whole.as_bytes()).is_ok());
        let error = VirtualPath::parse((whole.clone() + "n").as_bytes());
        assert_eq!(error, Err(PathError::TooLong));
        assert_eq!(path(&whole).child(b"n"), Err(PathError::TooLong));
        // What counts is the normalised length.
        assert!(VirtualPath::parse((whole + "/n/..").as_bytes()).is_ok());
    }

    #[test]
    fn parts() {
        let deep = path("/a/b/c");
        assert_eq!(deep.name(), Some(&b"c"[..]));
        assert_eq!(deep.parent(), Some(path("/a/b")));
        assert_eq!(path("/a").parent(), Some(VirtualPath::root()));
        assert_eq!(VirtualPath::root().parent(), None);
        assert_eq!(VirtualPath::root().name(), None);
        assert_eq!(VirtualPath::root().components().count(), 0);
        assert_eq!(deep.components().collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        let above: Vec<String> = deep.ancestors().map(|path| path.to_string()).collect();
        assert_eq!(above, ["/a/b/c", "/a/b", "/a", "/"]);
        assert!(deep.starts_with(&path("/a")));
        assert!(deep.starts_with(&VirtualPath::root()));
        assert!(!path("/ab").starts_with(&path("/a")), "by whole components");
        assert_eq!(deep.strip_prefix(&path("/a")), Some(path("/b/c")));
        assert_eq!(deep.strip_prefix(&deep), Some(VirtualPath::root()));
        assert_eq!(deep.strip_prefix(&VirtualPath::root()), Some(deep.clone()));
        assert_eq!(path("/ab").strip_prefix(&path("/a")), None);
        for name in ["", ".", "..", "a/b", "/"] {
            assert_eq!(deep.child(name.as_bytes()), Err(PathError::Escapes), "{name:?}");
        }
    }

    #[test]
    fn hidden_is_any_component_with_a_leading_dot() {
        assert!(path("/.a").is_hidden());
        assert!(path("/a/.b/c").is_hidden());
        assert!(!path("/a.b/c.").is_hidden());
        assert!(!VirtualPath::root().is_hidden());
    }

    #[test]
    fn backups_are_known_by_their_names() {
        for backup in ["a~", "~", "#a#", "##", "a.bak", "a.BAK", "a.html.Orig", "a.swp", "a.old"] {
            assert!(path(&format!("/{backup}")).is_backup(), "{backup}");
            assert!(path(&format!("/{backup}/b")).is_backup(), "{backup}/b");
        }
        for file in ["~a", "a~b", "#", "#a", "a#", "bak", "a.bak.html", "a.bakery", "old"] {
            assert!(!path(&format!("/{file}")).is_backup(), "{file}");
        }
        assert!(!VirtualPath::root().is_backup());
    }

    #[test]
    fn display_loses_nothing() {
        let odd = VirtualPath::parse(b"/a \\\xff\n").unwrap().path;
        assert_eq!(odd.to_string(), r"/a \\\xff\x0a");
    }

    /// Bytes in which slashes and dots are frequent.
    fn pathlike() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            3 => Just(b"/".to_vec()),
            2 => Just(b".".to_vec()),
            1 => Just(b"..".to_vec()),
            2 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(part, 0..24)
            .prop_map(|parts| [b"/".to_vec(), parts.concat()].concat())
    }

    proptest! {
        #[test]
        fn what_is_parsed_has_no_surprise_left(bytes in pathlike()) {
            let Ok(Parsed { path, .. }) = VirtualPath::parse(&bytes) else { return Ok(()) };
            prop_assert_eq!(path.as_bytes()[0], b'/');
            prop_assert!(!path.as_bytes().contains(&0));
            prop_assert!(path.is_root() || !path.as_bytes().ends_with(b"/"));
            if !path.is_root() {
                for name in path.relative().split(|&byte| byte == b'/') {
                    prop_assert!(!matches!(name, b"" | b"." | b".."), "{}", path);
                }
            }
        }

        #[test]
        fn parse_is_idempotent(bytes in pathlike()) {
            let Ok(Parsed { path, .. }) = VirtualPath::parse(&bytes) else { return Ok(()) };
            prop_assert_eq!(VirtualPath::parse(path.as_bytes()).unwrap().path, path);
        }

        #[test]
        fn parent_and_name_make_the_whole(bytes in pathlike()) {
            let Ok(Parsed { path, .. }) = VirtualPath::parse(&bytes) else { return Ok(()) };
            if let (Some(parent), Some(name)) = (path.parent(), path.name()) {
                prop_assert_eq!(parent.child(name), Ok(path.clone()));
                prop_assert_eq!(parent.join(name).unwrap().path, path.clone());
                prop_assert!(path.starts_with(&parent));
            } else {
                prop_assert!(path.is_root());
            }
        }

        #[test]
        fn splitting_where_join_resumes_changes_nothing(bytes in pathlike(), more in pathlike()) {
            let Ok(first) = VirtualPath::parse(&bytes) else { return Ok(()) };
            let whole = VirtualPath::parse(&[&bytes[..], &more[..]].concat());
            let relative = more.iter().position(|&byte| byte != b'/').unwrap_or(more.len());
            let joined = first.path.join(&more[relative..]).map(|parsed| parsed.path);
            prop_assert_eq!(joined, whole.map(|parsed| parsed.path));
        }
    }
}
