//! `hash`: digests and message authentication codes, in lower-case hexadecimal or as bytes.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{Library, text};
use crate::value::Value;

pub(super) fn library() -> Library {
    Library::new("hash")
        .function("sha256", |args| Ok(shown(&Sha256::digest(text(args, 0)?), args.get(1))))
        .function("sha384", |args| Ok(shown(&Sha384::digest(text(args, 0)?), args.get(1))))
        .function("sha512", |args| Ok(shown(&Sha512::digest(text(args, 0)?), args.get(1))))
        .function("hmac_sha256", |args| {
            let mut mac = Hmac::<Sha256>::new_from_slice(text(args, 0)?)
                .map_err(|e| format!("the key cannot be used: {e}"))?;
            mac.update(text(args, 1)?);
            Ok(shown(&mac.finalize().into_bytes(), args.get(2)))
        })
        .function("equal", |args| {
            // In a time that says nothing of where they differ.
            let (a, b) = (text(args, 0)?, text(args, 1)?);
            let differ = a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b));
            Ok(vec![Value::from(a.len() == b.len() && std::hint::black_box(differ) == 0)])
        })
}

/// In hexadecimal, unless the bytes are asked for by `"bytes"`.
fn shown(digest: &[u8], form: Option<&Value>) -> Vec<Value> {
    if form.and_then(Value::as_text).is_some_and(|form| &form[..] == b"bytes") {
        return vec![Value::from(digest.to_vec())];
    }
    let mut shown = String::with_capacity(digest.len() * 2);
    for byte in digest {
        for half in [byte >> 4, byte & 15] {
            shown.push(char::from_digit(u32::from(half), 16).expect("half a byte is a digit"));
        }
    }
    vec![Value::from(shown)]
}
