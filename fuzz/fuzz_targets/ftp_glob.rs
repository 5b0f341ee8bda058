//! Patterns of names: any has an answer, soon, and a name that is escaped fits itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_ftp::wire::glob::matches;
use medusa_fuzz::Choices;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let length = usize::from(choices.byte());
    let (pattern, name) = (choices.bytes(length), choices.rest());
    let _ = matches(pattern, name);
    assert_eq!(matches(b"*", name), name.first() != Some(&b'.'));
    let mut escaped = Vec::new();
    for &byte in name {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    assert!(matches(&escaped, name));
});
