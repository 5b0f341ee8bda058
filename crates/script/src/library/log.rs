//! `log`: lines for the server's own log.

use super::{Library, text};

/// Bytes of a line; what is longer is cut.
const LINE_BYTES: usize = 2048;

pub(super) fn library() -> Library {
    let shown = |text: &[u8]| {
        let text = &text[..text.len().min(LINE_BYTES)];
        String::from_utf8_lossy(text).escape_debug().to_string()
    };
    Library::new("log")
        .function("error", move |args| {
            tracing::error!(target: "script", "{}", shown(text(args, 0)?));
            Ok(Vec::new())
        })
        .function("warn", move |args| {
            tracing::warn!(target: "script", "{}", shown(text(args, 0)?));
            Ok(Vec::new())
        })
        .function("info", move |args| {
            tracing::info!(target: "script", "{}", shown(text(args, 0)?));
            Ok(Vec::new())
        })
        .function("debug", move |args| {
            tracing::debug!(target: "script", "{}", shown(text(args, 0)?));
            Ok(Vec::new())
        })
}
