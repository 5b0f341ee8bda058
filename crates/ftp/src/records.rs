//! Lines about what happens in sessions: xferlog, as wu-ftpd introduced it, and JSON.
//!
//! The one design choice: a line of JSON says bytes, not text. Names and paths have no encoding
//! that can be trusted, so each byte becomes the character of the same number, and a reader gets
//! back exactly what was sent.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use medusa_core::Peer;

use crate::events::{Direction, Event, Transfer};

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordForm {
    /// The line of xferlog; of transfers only, for it knows nothing else.
    #[default]
    Xferlog,
    /// An object of JSON, of every event.
    Json,
}

impl Event<'_> {
    /// Appends the line of this event, if it has one in this form. `now` is the time since 1970.
    pub fn record(&self, form: RecordForm, now: Duration, out: &mut Vec<u8>) {
        match (form, self) {
            (RecordForm::Xferlog, Self::Transfer(transfer)) => transfer.xferlog(out),
            (RecordForm::Xferlog, _) => {}
            (RecordForm::Json, Self::Login { user, peer }) => who(out, now, "login", peer, user),
            (RecordForm::Json, Self::LoginFailed { name, peer }) => {
                who(out, now, "login failed", peer, name);
            }
            (RecordForm::Json, Self::Logout { user, peer }) => who(out, now, "logout", peer, user),
            (RecordForm::Json, Self::Transfer(transfer)) => transfer.json(out),
        }
    }
}

impl Transfer<'_> {
    /// Appends the line of xferlog.
    fn xferlog(&self, out: &mut Vec<u8>) {
        let took = self.took.as_secs_f64().round().max(1.0);
        let date = time(self.ended).strftime("%a %b %e %H:%M:%S %Y");
        push(out, format_args!("{date} {took} {} {} ", client(&self.peer), self.bytes));
        push_word(out, self.path.as_bytes());
        out.extend_from_slice(if self.ascii { b" a _ " } else { b" b _ " });
        out.push(if self.direction == Direction::Sent { b'o' } else { b'i' });
        out.extend_from_slice(if self.is_anonymous { b" a " } else { b" r " });
        push_word(out, self.user.as_bytes());
        out.extend_from_slice(if self.complete { b" ftp 0 * c\n" } else { b" ftp 0 * i\n" });
    }

    fn json(&self, out: &mut Vec<u8>) {
        let event = match self.direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
        };
        begin(out, self.ended, event, &self.peer, self.user);
        out.extend_from_slice(b",\"path\":\"");
        push_characters(out, self.path.as_bytes());
        push(
            out,
            format_args!(
                "\",\"bytes\":{},\"seconds\":{:.3},\"type\":\"{}\",\"anonymous\":{},\"complete\":{}}}\n",
                self.bytes,
                self.took.as_secs_f64(),
                if self.ascii { 'A' } else { 'I' },
                self.is_anonymous,
                self.complete
            ),
        );
    }
}

fn who(out: &mut Vec<u8>, now: Duration, event: &str, peer: &Peer, user: &str) {
    begin(out, now, event, peer, user);
    out.extend_from_slice(b"}\n");
}

/// Appends what all lines of JSON begin with.
fn begin(out: &mut Vec<u8>, at: Duration, event: &str, peer: &Peer, user: &str) {
    let at = time(at).strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    push(
        out,
        format_args!("{{\"time\":\"{at}\",\"client\":\"{}\",\"event\":\"{event}\",", client(peer)),
    );
    out.extend_from_slice(b"\"user\":\"");
    push_characters(out, user.as_bytes());
    out.push(b'"');
}

fn client(peer: &Peer) -> String {
    peer.ip().map_or_else(|| peer.to_string(), |ip| ip.to_string())
}

fn time(unix: Duration) -> Timestamp {
    let ms = i64::try_from(unix.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

/// Appends a word: a space would begin the next one, and a line end the next line.
fn push_word(out: &mut Vec<u8>, word: &[u8]) {
    out.extend(word.iter().map(|&byte| match byte {
        b' ' => b'_',
        0..0x20 | 0x7f => b'?',
        _ => byte,
    }));
}

/// Appends bytes as characters of a string of JSON: U+0000 to U+00FF (RFC 8259, section 7).
fn push_characters(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => push(out, format_args!("\\u{byte:04x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use medusa_fs::VirtualPath;

    use super::*;

    const PEER: Peer = Peer::V4(std::net::Ipv4Addr::new(10, 0, 0, 1), 5000);

    fn record(event: &Event<'_>, form: RecordForm) -> String {
        let mut line = Vec::new();
        event.record(form, Duration::from_millis(1_000_000_000_042), &mut line);
        String::from_utf8(line).expect("text")
    }

    #[test]
    fn lines_of_a_transfer() {
        let path = VirtualPath::parse(b"/a b\n\"\xff").expect("a path").path;
        let transfer = Transfer {
            user: "ann",
            is_anonymous: false,
            peer: PEER,
            direction: Direction::Received,
            path: &path,
            bytes: 42,
            took: Duration::from_millis(2600),
            ended: Duration::from_secs(1_000_000_000),
            ascii: false,
            complete: false,
        };
        let mut line = Vec::new();
        Event::Transfer(&transfer).record(RecordForm::Xferlog, Duration::ZERO, &mut line);
        let expected =
            b"Sun Sep  9 01:46:40 2001 3 10.0.0.1 42 /a_b?\"\xff b _ i r ann ftp 0 * i\n";
        assert_eq!(line, expected);
        assert_eq!(
            record(&Event::Transfer(&transfer), RecordForm::Json),
            "{\"time\":\"2001-09-09T01:46:40.000Z\",\"client\":\"10.0.0.1\",\
             \"event\":\"received\",\"user\":\"ann\",\"path\":\"/a b\\u000a\\\"\\u00ff\",\
             \"bytes\":42,\"seconds\":2.600,\"type\":\"I\",\"anonymous\":false,\
             \"complete\":false}\n"
        );
        let transfer = Transfer { direction: Direction::Sent, complete: true, ..transfer };
        let line = record(&Event::Transfer(&transfer), RecordForm::Json);
        assert!(
            line.contains("\"event\":\"sent\"") && line.contains("\"complete\":true"),
            "{line}"
        );
    }

    #[test]
    fn lines_of_logins() {
        for (event, name) in [
            (Event::Login { user: "a\"", peer: PEER }, "login"),
            (Event::LoginFailed { name: "a\"", peer: PEER }, "login failed"),
            (Event::Logout { user: "a\"", peer: PEER }, "logout"),
        ] {
            assert_eq!(record(&event, RecordForm::Xferlog), "");
            assert_eq!(
                record(&event, RecordForm::Json),
                format!(
                    "{{\"time\":\"2001-09-09T01:46:40.042Z\",\"client\":\"10.0.0.1\",\
                     \"event\":\"{name}\",\"user\":\"a\\\"\"}}\n"
                )
            );
        }
    }
}
