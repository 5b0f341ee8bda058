//! What one process leaves to the one that replaces it: the sockets, and a line to say whether it
//! is ready.
//!
//! The one design choice: one environment variable names the descriptors and the process that it
//! comes from, so that it means nothing to a process further on. The addresses are not in it: a
//! socket knows its own.

use std::env;
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

use medusa_core::passed::MAX_PASSED;
use medusa_core::{PassedSocket, sys};
use rustix::process::{Pid, getppid};

/// The variable's name.
pub(super) const VARIABLE: &str = "MEDUSA_UPGRADE";

/// Bytes of the line in which the new process says how it went.
pub(super) const MAX_WORD_BYTES: u32 = 2048;

/// The word of a process that is ready; anything else says why it is not.
pub(super) const READY: &[u8] = b"ready";

/// The process that this one is to replace; it waits for a word.
pub(super) struct Predecessor(UnixStream);

/// What this process was left.
pub(super) struct Inherited {
    pub(super) predecessor: Predecessor,
    pub(super) sockets: Vec<PassedSocket>,
    /// The process that left it was confined, and so this one is.
    pub(super) confined: bool,
}

/// What is left, by the numbers of the descriptors.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Legacy {
    /// The process that leaves it.
    pub(super) from: u32,
    /// Where the word is said.
    pub(super) word: RawFd,
    pub(super) confined: bool,
    pub(super) sockets: Vec<Left>,
}

/// One socket that is left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) number: RawFd,
    /// The port was left to the system.
    pub(super) chosen: bool,
    /// What the service manager calls it.
    pub(super) name: Option<String>,
}

impl Legacy {
    /// As the variable has it.
    pub(super) fn write(&self) -> String {
        let mut all = vec![self.from.to_string(), self.word.to_string()];
        all.push(if self.confined { "confined" } else { "free" }.to_owned());
        all.extend(self.sockets.iter().map(|left| {
            let chosen = if left.chosen { "*" } else { "" };
            // Names have no colon (systemd.socket(5)).
            let name = left.name.as_ref().map(|name| format!("={name}")).unwrap_or_default();
            format!("{}{chosen}{name}", left.number)
        }));
        all.join(":")
    }

    /// Reads the variable.
    fn read(text: &str) -> Option<Self> {
        let mut all = text.split(':');
        let (from, word) = (all.next()?.parse().ok()?, all.next()?.parse().ok()?);
        let confined = match all.next()? {
            "confined" => true,
            "free" => false,
            _ => return None,
        };
        let socket = |text: &str| {
            let (number, name) = match text.split_once('=') {
                Some((number, name)) => (number, Some(name.to_owned())),
                None => (text, None),
            };
            let (number, chosen) = match number.strip_suffix('*') {
                Some(number) => (number, true),
                None => (number, false),
            };
            Some(Left { number: number.parse().ok()?, chosen, name })
        };
        let sockets: Option<Vec<_>> = all.map(socket).collect();
        let sockets = sockets.filter(|sockets| sockets.len() <= MAX_PASSED)?;
        Some(Self { from, word, confined, sockets })
    }
}

impl Predecessor {
    /// What this process was left, if it is to replace the one that started it.
    pub(super) fn of_this_process() -> Option<io::Result<Inherited>> {
        let text = env::var(VARIABLE).ok()?;
        let parent = getppid().map_or(0, Pid::as_raw_pid).cast_unsigned();
        match Legacy::read(&text) {
            // It was meant for a process before us, or its sender is gone.
            Some(legacy) if legacy.from != parent => None,
            Some(legacy) => Some(Self::take(legacy)),
            None => Some(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the variable {VARIABLE} is not as this program writes it; remove it"),
            ))),
        }
    }

    fn take(legacy: Legacy) -> io::Result<Inherited> {
        let predecessor = Self(sys::passed::take(legacy.word)?.into());
        let sockets = legacy
            .sockets
            .into_iter()
            .map(|left| PassedSocket::new(sys::passed::take(left.number)?, left.name, left.chosen));
        let sockets = sockets.collect::<io::Result<_>>()?;
        Ok(Inherited { predecessor, sockets, confined: legacy.confined })
    }

    /// Says that this process serves.
    pub(super) fn ready(self) {
        self.say(READY);
    }

    /// Says why it does not.
    pub(super) fn failed(self, why: &str) {
        let mut end = why.len().min(MAX_WORD_BYTES as usize);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        self.say(why[..end].replace('\n', " ").as_bytes());
    }

    fn say(mut self, word: &[u8]) {
        // Whoever waited may have gone; this process goes on or ends all the same.
        let _ = self.0.write_all(&[word, b"\n"].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_reads_as_it_was_written() {
        let left = |number, chosen, name: Option<&str>| Left {
            number,
            chosen,
            name: name.map(str::to_owned),
        };
        for sockets in
            [vec![], vec![left(5, false, None), left(6, true, None), left(7, false, Some("a=b*"))]]
        {
            for confined in [false, true] {
                let sockets: Vec<_> = sockets
                    .iter()
                    .map(|l: &Left| left(l.number, l.chosen, l.name.as_deref()))
                    .collect();
                let legacy = Legacy { from: 12, word: 4, confined, sockets };
                assert_eq!(Legacy::read(&legacy.write()), Some(legacy));
            }
        }
    }

    #[test]
    fn what_nobody_wrote_is_refused() {
        for bad in ["", "1", "1:2", "1:2:3", "x:2:free", "1:2:free:", "1:2:free:x", "1:2:free:3**"]
        {
            assert_eq!(Legacy::read(bad), None, "{bad}");
        }
        let many = format!("1:2:free{}", ":3".repeat(MAX_PASSED + 1));
        assert_eq!(Legacy::read(&many), None);
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        use std::io::Read;
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        Predecessor(ours).failed(&"ä\n".repeat(2000));
        let mut said = String::new();
        theirs.read_to_string(&mut said).expect("text");
        assert!(said.len() <= MAX_WORD_BYTES as usize + 1);
        assert_eq!(said.lines().count(), 1);
        assert!(said.starts_with("ä ä ") && said.ends_with('\n'));
    }
}
