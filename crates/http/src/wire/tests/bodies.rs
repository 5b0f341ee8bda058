//! The rows about chunked bodies.

use super::{all, body, chunks, decode};
use crate::wire::{MAX_BODY_EXT, MAX_CHUNK_EXT, MAX_FIELDS, MAX_HEAD};

#[test]
fn chunk_size_that_is_no_number() {
    all(
        400,
        chunks,
        [
            "\r\n",
            "0x5\r\nabcde\r\n0\r\n\r\n",
            "1_0\r\n",
            "+5\r\nabcde\r\n0\r\n\r\n",
            "-1\r\n",
            " 5\r\nabcde\r\n0\r\n\r\n",
            "00000000000000005\r\nabcde\r\n0\r\n\r\n",
            "10000000000000000\r\n",
            "fffffffffffffffff\r\n",
            ";a\r\n",
            "g\r\n",
            "5 \r\nabcde\r\n0\r\n\r\n",
            "5\0\r\n",
            "5,5\r\n",
            "5\t5\r\n",
            "\u{663}\r\n",
        ],
    );
    all(
        200,
        chunks,
        [
            "0000000000000005\r\nabcde\r\n0\r\n\r\n".to_owned(),
            format!("a\r\n0123456789\r\nFF;x\r\n{}\r\n00\r\n\r\n", "\n".repeat(255)),
        ],
    );
}

#[test]
fn bare_lf_in_chunk_framing() {
    all(
        400,
        chunks,
        [
            "5\nabcde\r\n0\r\n\r\n",
            "5\r\nabcde\n0\r\n\r\n",
            "0\n\r\n",
            "0\r\n\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX: y\r\n\n",
            "5;a\nabcde\r\n0\r\n\r\n",
            "5\r\rabcde\r\n0\r\n\r\n",
            "0\r\r\n",
            "0\r\n\r\r",
            "5 \n",
            "0\r\nX: y\n",
            "5;a\rb\r\nabcde\r\n0\r\n\r\n",
        ],
    );
}

#[test]
fn chunk_extensions() {
    let chunk = |len: usize| format!("1;{}\r\na\r\n", "x".repeat(len - 1));
    assert_eq!(chunks(chunk(MAX_CHUNK_EXT) + "0\r\n\r\n"), 200);
    assert_eq!(chunks(chunk(MAX_CHUNK_EXT + 1) + "0\r\n\r\n"), 400);
    let full = chunk(MAX_CHUNK_EXT).repeat(MAX_BODY_EXT / MAX_CHUNK_EXT);
    assert_eq!(chunks(full.clone() + "0\r\n\r\n"), 200);
    assert_eq!(chunks(full + "0;\r\n\r\n"), 400);
    let skipped = body("3 ; a = \"\u{e9};b\"\r\nabc\r\n0;last\r\n\r\n").unwrap().unwrap();
    assert_eq!(skipped.0, b"abc");
    all(
        400,
        chunks,
        ["1;\0\r\na\r\n0\r\n\r\n", "1;\u{7f}\r\na\r\n0\r\n\r\n", "1;\x0b\r\na\r\n0\r\n\r\n"],
    );
}

#[test]
fn missing_crlf_after_chunk_data() {
    all(
        400,
        chunks,
        [
            "5\r\nabcdef\r\n0\r\n\r\n",
            "5\r\nabcde0\r\n\r\n",
            "5\r\nabcde\r0\r\n\r\n",
            "5\r\nabcde\r\r\n",
            "5\r\nabcdeX\n0\r\n\r\n",
            "5\r\nabcde\rX0\r\n\r\n",
        ],
    );
}

#[test]
fn trailers() {
    let (body_, len, fields) = body("1\r\na\r\n0\r\nX: y\r\nHost: z\r\n\r\nGET").unwrap().unwrap();
    assert_eq!((body_.as_slice(), len), (&b"a"[..], 26));
    assert_eq!(fields, [("X".to_owned(), b"y".to_vec()), ("Host".to_owned(), b"z".to_vec())]);
    all(
        400,
        chunks,
        [
            "0\r\n X: y\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\nX: y\r\n z\r\n\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\n: y\r\n\r\n",
            "0\r\nX: \0\r\n\r\n",
            "0\r\nX: a\rb\r\n\r\n",
        ],
    );
    let lines = |n: usize| "a: b\r\n".repeat(n);
    assert_eq!(chunks(format!("0\r\n{}\r\n", lines(MAX_FIELDS))), 200);
    assert_eq!(chunks(format!("0\r\n{}\r\n", lines(MAX_FIELDS + 1))), 431);
    let long = |n: usize| format!("0\r\nX: {}\r\n\r\n", "y".repeat(n));
    assert_eq!(chunks(long(MAX_HEAD - 7)), 200);
    assert_eq!(chunks(long(MAX_HEAD - 6)), 431);
    assert_eq!(chunks(long(3 * MAX_HEAD)), 431);
}

#[test]
fn body_cut_short() {
    let whole = b"5\r\nabcde\r\n0\r\nX: y\r\n\r\n";
    for len in 0..whole.len() {
        assert_eq!(decode(&whole[..len], []), Ok(None), "{len}");
    }
    assert!(matches!(decode(whole, []), Ok(Some(_))));
}
