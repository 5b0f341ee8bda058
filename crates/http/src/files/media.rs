//! Media types by the ending of a name, and the character set of text.
//!
//! The one design choice: what is known to this program comes before what the machine knows, so
//! that a site looks alike on every machine; what the operator says comes before both.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a system's list of media types that are read.
const LIST_BYTES: u64 = 1 << 20;
/// What a file is whose ending nobody knows.
const UNKNOWN: &str = "application/octet-stream";

/// Tells the `Content-Type` of a file by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypes {
    /// The operator's, by ending in small letters.
    own: HashMap<Box<str>, Box<str>>,
    /// The machine's, by ending; none that we know ourselves.
    system: Arc<HashMap<Box<str>, Box<str>>>,
    charset: Option<Box<str>>,
}

impl Default for MediaTypes {
    fn default() -> Self {
        Self { own: HashMap::new(), system: Arc::default(), charset: Some("utf-8".into()) }
    }
}

impl MediaTypes {
    /// Adds what a list in the form of `/etc/mime.types` says of endings that are not known
    /// already: a type and its endings on each line, comments behind `#`. A file that cannot be
    /// read adds nothing. Reads at most 1 MiB, and may block.
    #[must_use]
    pub fn with_list(mut self, file: impl AsRef<Path>) -> Self {
        let mut text = Vec::new();
        let read = File::open(file).and_then(|file| file.take(LIST_BYTES).read_to_end(&mut text));
        if read.is_ok() {
            self.system = Arc::new(parse(&String::from_utf8_lossy(&text)));
        }
        self
    }

    /// Says what files of this ending (`md`, or `.md`) are. Text gets the character set unless the
    /// type names one: `text/plain; charset=iso-8859-1`.
    ///
    /// # Errors
    ///
    /// A sentence about an ending or a type that cannot be one.
    pub fn set(&mut self, ending: &str, media_type: &str) -> Result<(), String> {
        let ending = ending.strip_prefix('.').unwrap_or(ending);
        if ending.is_empty() || ending.contains(['/', '.']) {
            return Err(format!("`{ending}` is no ending of a file name: say `md`, for example"));
        }
        if !is_media_type(media_type) {
            return Err(format!("`{media_type}` is no media type: say `text/plain`, for example"));
        }
        self.own.insert(ending.to_ascii_lowercase().into(), media_type.into());
        Ok(())
    }

    /// Sets the character set that text is said to be in; none says nothing of it.
    ///
    /// # Errors
    ///
    /// A sentence about a name that cannot be one.
    pub fn set_charset(&mut self, charset: Option<&str>) -> Result<(), String> {
        if let Some(name) = charset
            && !is_token(name)
        {
            return Err(format!("`{name}` is no character set: say `utf-8`, for example"));
        }
        self.charset = charset.map(Box::from);
        Ok(())
    }

    /// The `Content-Type` of a file of this name.
    pub fn content_type(&self, name: &[u8]) -> Box<str> {
        let media_type = self.media_type(name);
        match &self.charset {
            Some(charset) if is_text(media_type) && !media_type.contains(';') => {
                format!("{media_type}; charset={charset}").into()
            }
            _ => media_type.into(),
        }
    }

    fn media_type(&self, name: &[u8]) -> &str {
        let Some(ending) = ending(name) else { return UNKNOWN };
        let small = ending.to_ascii_lowercase();
        if let Some(own) = self.own.get(small.as_str()) {
            return own;
        }
        let known = mime_guess::from_ext(ending).first_raw();
        known.or_else(|| self.system.get(small.as_str()).map(|t| &**t)).unwrap_or(UNKNOWN)
    }
}

/// What stands behind the last dot of a name; one in front makes a hidden file, not an ending.
fn ending(name: &[u8]) -> Option<&str> {
    let dot = name.iter().rposition(|&b| b == b'.').filter(|&dot| dot > 0)?;
    std::str::from_utf8(&name[dot + 1..]).ok()
}

fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || matches!(media_type, "application/javascript" | "application/json" | "application/xml")
}

/// Whether this may stand in a Content-Type: a type, a slash, a subtype, and what is behind `;`.
fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let two = essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    two && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The endings of a list that we do not know ourselves.
fn parse(text: &str) -> HashMap<Box<str>, Box<str>> {
    let mut found = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(media_type) = words.next().filter(|word| is_media_type(word)) else { continue };
        for ending in words.filter(|ending| mime_guess::from_ext(ending).first_raw().is_none()) {
            found.entry(ending.to_ascii_lowercase().into()).or_insert_with(|| media_type.into());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_by_the_ending() {
        let mut types = MediaTypes::default();
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.tar.gz", "application/gzip"),
            ("A.CSS", "text/css; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a", "application/octet-stream"),
            (".css", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("a.nobody-knows", "application/octet-stream"),
        ] {
            assert_eq!(&*types.content_type(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(&*types.content_type(b"a.\xff"), "application/octet-stream");
        types.set_charset(None).unwrap();
        assert_eq!(&*types.content_type(b"a.html"), "text/html");
        types.set_charset(Some("iso-8859-1")).unwrap();
        assert_eq!(&*types.content_type(b"a.html"), "text/html; charset=iso-8859-1");
        assert!(types.set_charset(Some("a b")).is_err());
        assert!(types.set_charset(Some("")).is_err());
    }

    #[test]
    fn the_operator_comes_first() {
        let mut types = MediaTypes::default();
        types.set(".HTML", "application/x-own").unwrap();
        types.set("txt", "text/plain; charset=koi8-r").unwrap();
        types.set("log", "text/plain").unwrap();
        assert_eq!(&*types.content_type(b"a.html"), "application/x-own");
        assert_eq!(&*types.content_type(b"a.txt"), "text/plain; charset=koi8-r");
        assert_eq!(&*types.content_type(b"a.LOG"), "text/plain; charset=utf-8");
        for (ending, media_type) in [
            ("", "text/plain"),
            ("a/b", "text/plain"),
            ("tar.gz", "application/gzip"),
            ("a", "text"),
            ("a", "text/"),
            ("a", "text/plain\r\nX: y"),
            ("a", "te xt/plain"),
            ("a", ""),
        ] {
            assert!(types.set(ending, media_type).is_err(), "{ending} {media_type}");
        }
    }

    #[test]
    fn a_list_adds_what_is_not_known() {
        let list = "# comment\ntext/html  html zzz-page # zzz-no\nnothing zzz-bad\n\
                    text/x-zzz\nimage/x-zzz\tZZZ-PIC zzz-page\n";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mime.types");
        std::fs::write(&file, list).unwrap();
        let types = MediaTypes::default().with_list(&file);
        assert_eq!(types.system.len(), 2);
        assert_eq!(&*types.content_type(b"a.zzz-page"), "text/html; charset=utf-8");
        assert_eq!(&*types.content_type(b"a.zzz-pic"), "image/x-zzz");
        assert_eq!(&*types.content_type(b"a.zzz-no"), UNKNOWN);
        assert_eq!(&*types.content_type(b"a.zzz-bad"), UNKNOWN);
        let none = directory.path().join("none");
        assert_eq!(MediaTypes::default().with_list(none), MediaTypes::default());
    }
}
