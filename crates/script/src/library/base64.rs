//! `base64`: RFC 4648, with padding; the alphabet for URLs without.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{Library, text};
use crate::limits::TEXT_BYTES;
use crate::value::Value;

pub(super) fn library() -> Library {
    let decoded = |result: Result<Vec<u8>, base64::DecodeError>| {
        result.map(|bytes| vec![Value::from(bytes)]).map_err(|e| format!("no base64: {e}"))
    };
    Library::new("base64")
        .function("encode", |args| Ok(vec![Value::from(STANDARD.encode(short(text(args, 0)?)?))]))
        .function("encode_url", |args| {
            Ok(vec![Value::from(URL_SAFE_NO_PAD.encode(short(text(args, 0)?)?))])
        })
        .function("decode", move |args| decoded(STANDARD.decode(text(args, 0)?)))
        .function("decode_url", move |args| decoded(URL_SAFE_NO_PAD.decode(text(args, 0)?)))
}

/// Refuses a text whose encoding would be too long for one.
fn short(bytes: &[u8]) -> Result<&[u8], String> {
    if bytes.len() / 3 * 4 + 4 > TEXT_BYTES {
        return Err(format!("the encoding would be longer than {TEXT_BYTES} bytes"));
    }
    Ok(bytes)
}
