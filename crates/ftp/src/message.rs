//! The message of a directory: a file in it that whoever enters reads.
//!
//! The one design choice: it is opened as the tree opens files for the server itself, so that its
//! name may begin with a dot where names that do are hidden from clients; but under the identity of
//! the user, who reads nothing by it that they may not read.

use medusa_fs::{ErrorKind, Persona, VirtualPath};

use crate::limits::{MESSAGE_BYTES, MESSAGE_LINES};
use crate::reading::Reading;
use crate::session::Grip;

/// Whether it is certain, without waiting for a disk, that a directory has no message.
pub(crate) fn is_absent(grip: &Grip, directory: &VirtualPath, name: &str) -> bool {
    // The loop's own thread takes on nobody's identity.
    match path(directory, name) {
        None => true,
        Some(_) if grip.who != Persona::Process => false,
        Some(path) => grip
            .tree
            .open_own_now(&grip.who, &path)
            .is_err_and(|error| error.kind() == ErrorKind::NotFound),
    }
}

/// Where the message of a directory is.
fn path(directory: &VirtualPath, name: &str) -> Option<VirtualPath> {
    if name.is_empty() { None } else { directory.child(name.as_bytes()).ok() }
}

/// Reads the message of a directory, if there is one; with an empty `name` there is none. Blocks.
pub(crate) fn read(grip: &Grip, directory: &VirtualPath, name: &str) -> Option<String> {
    let path = path(directory, name)?;
    let file = grip.tree.open_own(&grip.who, &path).ok()?;
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
