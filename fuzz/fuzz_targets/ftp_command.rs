//! Command lines of FTP: what is taken has a verb of capitals, and reads the same when it is written
//! again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_ftp::wire::MAX_VERB_BYTES;
use medusa_ftp::wire::command::Command;

fuzz_target!(|data: &[u8]| {
    let Ok(command) = Command::parse(data) else { return };
    let verb = command.verb();
    assert!((1..=MAX_VERB_BYTES).contains(&verb.len()));
    assert!(verb.bytes().all(|byte| byte.is_ascii_uppercase()));
    assert!(!command.argument.contains(&0));
    let mut plain = [verb.as_bytes(), b" "].concat();
    for &byte in &command.argument {
        match byte {
            0xff => plain.extend_from_slice(&[0xff, 0xff]),
            b'\r' => plain.extend_from_slice(b"\r\0"),
            _ => plain.push(byte),
        }
    }
    plain.push(b'\r');
    assert_eq!(Command::parse(&plain), Ok(command));
});
