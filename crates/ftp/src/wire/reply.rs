//! Replies (RFC 959, section 4.2).
//!
//! The one design choice: whatever is put into a reply, its lines are ours. Line ends and other
//! control characters in names become question marks, and a line in the middle of a reply begins
//! with a space, so that none can be taken for its last.

/// Telnet's escape, doubled where it is data.
const IAC: u8 = 0xff;

/// Appends a reply of one line.
pub fn line(out: &mut Vec<u8>, code: u16, text: &str) {
    begin(out, code, b' ');
    push_text(out, text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a reply with a text that may have several lines.
pub fn text(out: &mut Vec<u8>, code: u16, text: &str) {
    let mut lines = text.lines().peekable();
    loop {
        let next = lines.next().unwrap_or_default();
        if lines.peek().is_none() {
            return line(out, code, next);
        }
        begin(out, code, b'-');
        push_text(out, next.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a reply of several lines: the first and the last have the code, those between are put
/// in by `middle`, each by one call.
pub fn lines(
    out: &mut Vec<u8>,
    code: u16,
    first: &str,
    last: &str,
    middle: impl FnOnce(&mut Middle<'_>),
) {
    begin(out, code, b'-');
    push_text(out, first.as_bytes());
    out.extend_from_slice(b"\r\n");
    middle(&mut Middle(out));
    line(out, code, last);
}

/// Takes the lines in the middle of a reply.
pub struct Middle<'a>(&'a mut Vec<u8>);

impl Middle<'_> {
    /// Appends a line, behind a space, in which names are fit for a reply already.
    pub fn prepared(&mut self, line: &[u8]) {
        self.0.push(b' ');
        self.0.extend_from_slice(line);
        self.0.extend_from_slice(b"\r\n");
    }

    /// Appends a line, behind a space.
    pub fn line(&mut self, text: impl AsRef<[u8]>) {
        self.0.push(b' ');
        push_text(self.0, text.as_ref());
        self.0.extend_from_slice(b"\r\n");
    }
}

/// Appends a reply that quotes a path (RFC 959, appendix II): quotation marks in it are doubled.
pub fn quoted(out: &mut Vec<u8>, code: u16, path: &[u8], text: &str) {
    begin(out, code, b' ');
    out.push(b'"');
    for part in path.split_inclusive(|&byte| byte == b'"') {
        push_text(out, part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"\" ");
    push_text(out, text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn begin(out: &mut Vec<u8>, code: u16, behind: u8) {
    debug_assert!((100..660).contains(&code), "{code} is no code");
    let digit = |n: u16| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[digit(code / 100), digit(code / 10), digit(code), behind]);
}

/// Appends text in which nothing can end the line, or mean something to telnet.
pub fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            IAC => out.extend_from_slice(&[IAC, IAC]),
            0..0x20 | 0x7f => out.push(b'?'),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn texts_of_any_number_of_lines() {
        for (given, made_of_it) in [
            ("", "230 \r\n"),
            ("Hello.\n", "230 Hello.\r\n"),
            ("a\r\n\n230 b\tc", "230-a\r\n230-\r\n230 230 b?c\r\n"),
        ] {
            assert_eq!(made(|out| text(out, 230, given)), made_of_it);
        }
    }

    #[test]
    fn replies_of_one_line_and_of_several() {
        assert_eq!(made(|out| line(out, 230, "Hello.")), "230 Hello.\r\n");
        let features = made(|out| {
            lines(out, 211, "Features:", "End", |middle| {
                middle.line("SIZE");
                // It cannot be taken for the end.
                middle.line("211 End");
            });
        });
        assert_eq!(features, "211-Features:\r\n SIZE\r\n 211 End\r\n211 End\r\n");
    }

    #[test]
    fn a_path_is_quoted() {
        let path = made(|out| quoted(out, 257, b"/a\"b\"\"", "is it."));
        assert_eq!(path, "257 \"/a\"\"b\"\"\"\"\" is it.\r\n");
        assert_eq!(made(|out| quoted(out, 257, b"/", "is it.")), "257 \"/\" is it.\r\n");
        let nasty = made(|out| quoted(out, 257, b"/a\r\n230 in", "is it."));
        assert_eq!(nasty, "257 \"/a??230 in\" is it.\r\n");
    }

    proptest! {
        #[test]
        fn nothing_in_a_reply_can_end_its_line(path in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut out = Vec::new();
            quoted(&mut out, 257, &path, "x");
            lines(&mut out, 250, "a", "b", |middle| middle.line(&path));
            let text = out.strip_suffix(b"\r\n").expect("a line ends so");
            let ends = text.split(|&byte| byte == b'\n').count();
            prop_assert_eq!(ends, 4);
            let middle = text.split(|&byte| byte == b'\n').nth(2).expect("four lines");
            prop_assert_eq!(middle[0], b' ');
        }
    }
}
