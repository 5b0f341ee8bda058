//! A line of the control connection (RFC 959, section 4.1).
//!
//! The one design choice: telnet's escapes are taken out of the whole line before anything else is
//! looked at, so that what they are wrapped around (`ABOR`, by clients that send it urgently) reads
//! like any other command.

use std::fmt;

use super::MAX_VERB_BYTES;

/// Telnet's escape (RFC 854).
const IAC: u8 = 0xff;
/// The first of telnet's commands, `SE`; what follows an escape and is below is plain data.
const FIRST_COMMAND: u8 = 0xf0;
/// The first of telnet's commands that name an option: `WILL`, `WONT`, `DO`, `DONT`.
const FIRST_WITH_OPTION: u8 = 0xfb;

/// A command: its verb in capitals, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    verb: [u8; MAX_VERB_BYTES],
    /// The bytes behind the one space that ends the verb. Further spaces belong to them, for the
    /// name of a file may begin or end with some.
    pub argument: Vec<u8>,
}

/// A line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// There is nothing in it.
    Empty,
    /// It does not begin with a verb.
    NoVerb,
    /// There is a NUL in it, which no path can have.
    Nul,
    /// It is of another protocol: a request of HTTP, or the beginning of a TLS handshake. Whoever
    /// sends it may be a browser that somebody else's page has made to.
    Foreign,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Send a command; HELP lists them.",
            Self::NoVerb => "That is no command; HELP lists them.",
            Self::Nul => "No name can have a NUL in it.",
            Self::Foreign => "This is an FTP server.",
        })
    }
}

impl std::error::Error for LineError {}

/// The methods of HTTP that are no commands of FTP.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

impl Command {
    /// Parses a line without its line feed; a carriage return before that may be there still.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        // A TLS handshake begins so: content type 22, version 3.
        if line.starts_with(&[0x16, 0x03]) {
            return Err(LineError::Foreign);
        }
        let mut line = without_telnet(line.strip_suffix(b"\r").unwrap_or(line));
        if line.iter().all(|&byte| byte == b' ') {
            return Err(LineError::Empty);
        }
        let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
        let mut verb = [0; MAX_VERB_BYTES];
        let word = &line[..end];
        if word.is_empty() || word.len() > verb.len() || !word.iter().all(u8::is_ascii_alphabetic) {
            return Err(LineError::NoVerb);
        }
        for (to, from) in verb.iter_mut().zip(word) {
            *to = from.to_ascii_uppercase();
        }
        let argument = line.split_off((end + 1).min(line.len()));
        let command = Self { verb, argument };
        if METHODS.contains(&command.verb()) {
            return Err(LineError::Foreign);
        }
        if command.argument.contains(&0) {
            return Err(LineError::Nul);
        }
        Ok(command)
    }

    /// The verb in capitals.
    pub fn verb(&self) -> &str {
        let end = self.verb.iter().position(|&byte| byte == 0).unwrap_or(self.verb.len());
        std::str::from_utf8(&self.verb[..end]).expect("a verb has letters only")
    }

    /// The argument as a word, where it is one: text without the spaces around it.
    pub fn word(&self) -> &str {
        std::str::from_utf8(&self.argument).unwrap_or("\u{fffd}").trim_matches(' ')
    }
}

/// Takes telnet's escapes out, and the NUL behind a carriage return (RFC 2640, section 3.1).
///
/// The byte behind an escape may be missing: urgent data is taken out of the stream by the system,
/// and clients send the last byte of `IAC IP IAC DM` urgently.
fn without_telnet(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    loop {
        match rest {
            [] => return plain,
            [IAC, IAC, more @ ..] => {
                plain.push(IAC);
                rest = more;
            }
            [IAC, FIRST_WITH_OPTION..IAC, _, more @ ..]
            | [IAC, FIRST_COMMAND..FIRST_WITH_OPTION, more @ ..]
            | [IAC, more @ ..] => rest = more,
            [b'\r', 0, more @ ..] => {
                plain.push(b'\r');
                rest = more;
            }
            [byte, more @ ..] => {
                plain.push(*byte);
                rest = more;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(line: &[u8]) -> Result<(String, Vec<u8>), LineError> {
        Command::parse(line).map(|c| (c.verb().to_owned(), c.argument))
    }

    #[track_caller]
    fn is(line: &[u8], verb: &str, argument: &[u8]) {
        assert_eq!(parsed(line), Ok((verb.to_owned(), argument.to_vec())), "{line:?}");
    }

    #[test]
    fn verbs_in_any_case_and_arguments_to_the_byte() {
        is(b"quit\r", "QUIT", b"");
        is(b"QuIt", "QUIT", b"");
        is(b"RETR  a b \r", "RETR", b" a b ");
        is(b"STOR \xe4\xff\xff\xc3\xa4", "STOR", b"\xe4\xff\xc3\xa4");
        is(b"RETR a\r\0b\r", "RETR", b"a\rb");
        is(b"RETR ", "RETR", b"");
    }

    #[test]
    fn an_urgent_abort_reads_like_any_other() {
        for line in [
            &b"\xff\xf4\xff\xf2ABOR\r"[..],
            // The urgent byte was taken out of the stream, whichever it was.
            b"\xff\xf4\xffABOR\r",
            b"\xff\xf4ABOR\r",
            b"\xf2ABOR\r".strip_prefix(b"\xf2").expect("it is there"),
            b"AB\xff\xfb\x01OR\r",
        ] {
            is(line, "ABOR", b"");
        }
    }

    #[test]
    fn what_is_no_command() {
        for (line, error) in [
            (&b""[..], LineError::Empty),
            (b"\r", LineError::Empty),
            (b"   ", LineError::Empty),
            (b" USER x", LineError::NoVerb),
            (b"ABCDEFGHI", LineError::NoVerb),
            (b"A1", LineError::NoVerb),
            (b"\xc3\xa4", LineError::NoVerb),
            (b"RETR a\0b", LineError::Nul),
            (b"GET / HTTP/1.1\r", LineError::Foreign),
            (b"post /", LineError::Foreign),
            (b"\x16\x03\x01\x02\x00", LineError::Foreign),
        ] {
            assert_eq!(parsed(line), Err(error), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_has_an_answer(line in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(command) = Command::parse(&line) {
                prop_assert!(!command.verb().is_empty());
                prop_assert!(!command.argument.contains(&0));
            }
        }

        #[test]
        fn any_argument_can_be_said(argument in prop::collection::vec(1..=255_u8, 0..64)) {
            let mut line = b"RETR ".to_vec();
            for &byte in &argument {
                line.extend_from_slice(match byte {
                    IAC => &[IAC, IAC],
                    b'\r' => b"\r\0",
                    _ => std::slice::from_ref(&byte),
                });
            }
            line.push(b'\r');
            prop_assert_eq!(Command::parse(&line).expect("a command").argument, argument);
        }
    }
}
