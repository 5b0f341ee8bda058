//! The message of a directory: a file in it that whoever enters reads.
//!
//! The one design choice: it is opened as the tree opens files for the server itself, so that its
//! name may begin with a dot where names that do are hidden from clients; but under the identity of
//! the user, who reads nothing by it that they may not read.

use medusa_fs::{FileSystem, Persona, VirtualPath};

use crate::limits::{MESSAGE_BYTES, MESSAGE_LINES};
use crate::reading::Reading;

/// Reads the message of a directory, if there is one; blocks.
pub(crate) fn read(
    tree: &dyn FileSystem,
    who: &Persona,
    directory: &VirtualPath,
    name: &str,
) -> Option<String> {
    let file = tree.open_own(who, &directory.child(name.as_bytes()).ok()?).ok()?;
    let mut reading = Reading::new(file, 0, MESSAGE_BYTES as u64);
    let mut text = Vec::new();
    let mut buffer = [0; MESSAGE_BYTES];
    while reading.left() > 0 {
        let n = reading.read(&mut buffer).ok()?;
        text.extend_from_slice(&buffer[..n]);
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().take(MESSAGE_LINES).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
