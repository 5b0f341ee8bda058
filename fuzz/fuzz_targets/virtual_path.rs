//! Virtual paths: never above the root, and nothing is left to resolve in what was parsed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_fs::{MAX_NAME_BYTES, MAX_PATH_BYTES, Parsed, PathError, VirtualPath};
use medusa_fuzz::Choices;
use medusa_http::wire::target::{decode, escape_path};

/// Asserts what holds of every path.
fn check(parsed: &Parsed) {
    let Parsed { path, trailing_slash } = parsed;
    let bytes = path.as_bytes();
    assert_eq!(bytes[0], b'/');
    assert!(bytes.len() <= MAX_PATH_BYTES && !bytes.contains(&0));
    assert!(!path.is_root() || *trailing_slash, "the root is a directory");
    for name in path.components() {
        assert!(!matches!(name, b"" | b"." | b"..") && name.len() <= MAX_NAME_BYTES);
    }
    let again = VirtualPath::parse(bytes).expect("what was parsed parses");
    assert_eq!(again.path, *path);
    assert_eq!(again.trailing_slash, path.is_root());

    assert_eq!(VirtualPath::root().join(path.relative()).expect("beneath the root").path, *path);
    assert_eq!(path.strip_prefix(&VirtualPath::root()).as_ref(), Some(path));
    assert_eq!(path.ancestors().count(), path.components().count() + 1);
    if let (Some(parent), Some(name)) = (path.parent(), path.name()) {
        assert!(path.starts_with(&parent) && !parent.starts_with(path));
        assert_eq!(parent.child(name).as_ref(), Ok(path));
    }
    // As it goes through a URI and back.
    let mut through = Vec::new();
    decode(escape_path(bytes).as_bytes(), &mut through).expect("an escaped path is well-formed");
    assert_eq!(through, bytes);
}

/// Resolves by the book: a stack of names.
fn naive(base: &VirtualPath, bytes: &[u8]) -> Option<Vec<u8>> {
    let absolute = bytes.first() == Some(&b'/');
    let mut names: Vec<&[u8]> = if absolute { Vec::new() } else { base.components().collect() };
    for name in bytes.split(|&b| b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    Some(names.iter().flat_map(|name| [b"/", *name].concat()).collect())
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let length = usize::from(choices.byte());
    let (first, second) = (choices.bytes(length), choices.rest());
    let root = VirtualPath::root();
    let base = match VirtualPath::parse(first) {
        Ok(parsed) => {
            check(&parsed);
            let expected = naive(&root, first).expect("what is parsed does not escape");
            assert_eq!(parsed.path.as_bytes(), if expected.is_empty() { b"/" } else { &*expected });
            parsed.path
        }
        Err(PathError::Escapes) => {
            assert_eq!(naive(&root, first), None);
            return;
        }
        Err(_) => return,
    };
    match base.join(second) {
        Ok(joined) => {
            check(&joined);
            let expected = naive(&base, second).expect("what is joined does not escape");
            assert_eq!(joined.path.as_bytes(), if expected.is_empty() { b"/" } else { &*expected });
        }
        Err(PathError::Escapes) => assert_eq!(naive(&base, second), None),
        Err(_) => {}
    }
    if let Ok(child) = base.child(second) {
        assert_eq!(child.parent().as_ref(), Some(&base));
        assert_eq!(child.name(), Some(second));
    }
});
