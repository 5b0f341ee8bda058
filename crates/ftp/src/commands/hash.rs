//! HASH and RANG (draft-bryan-ftpext-hash; draft-bryan-ftp-range): check sums of files, or of parts.

use md5::Md5;
use medusa_core::{Aborted, Context};
use medusa_fs::VirtualPath;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{files, tree_failed};
use crate::authorizer::Permissions;
use crate::limits::{HASH_STEP_BYTES, READ_BYTES};
use crate::reading::Reading;
use crate::session::{Handled, Session};
use crate::wire::command::Command;
use crate::wire::reply;

/// How a check sum is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Algorithm {
    #[default]
    Sha256,
    Sha1,
    Md5,
    Crc32,
}

const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5, Algorithm::Crc32];

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha1 => "SHA-1",
            Self::Md5 => "MD5",
            Self::Crc32 => "CRC32",
        }
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        ALGORITHMS.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The line of FEAT; the one that is chosen has an asterisk.
    pub(crate) fn feature(self) -> String {
        let mark = |algorithm| if algorithm == self { "*" } else { "" };
        let all = ALGORITHMS.map(|algorithm| format!("{}{}", algorithm.name(), mark(algorithm)));
        format!("HASH {}", all.join(";"))
    }
}

/// A check sum that is being made.
enum Hashing {
    Sha256(Sha256),
    Sha1(Sha1),
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

impl Hashing {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
            Self::Crc32(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        let digest: Vec<u8> = match self {
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Md5(hash) => hash.finalize().to_vec(),
            Self::Crc32(hash) => hash.finalize().to_be_bytes().to_vec(),
        };
        let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('?');
        digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

/// A file on its way through a check sum.
struct Progress {
    reading: Reading,
    hashing: Hashing,
}

impl Progress {
    /// Reads so much that a helper thread does not stay away for long; says whether that was all.
    fn step(&mut self) -> Result<bool, Aborted> {
        let mut buffer = vec![0; READ_BYTES];
        let mut done = 0;
        while done < HASH_STEP_BYTES {
            let n = self.reading.read(&mut buffer)?;
            if n == 0 {
                return Ok(true);
            }
            self.hashing.update(&buffer[..n]);
            done += n as u64;
        }
        Ok(self.reading.left() == 0)
    }
}

pub(crate) fn range(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let number = |text: Option<&str>| {
        text.filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse::<u64>().ok())
    };
    let mut words = command.word().split(' ');
    match (number(words.next()), number(words.next()), words.next()) {
        // The draft's way to forget a range.
        (Some(1), Some(0), None) => {
            session.range = None;
            session.reply(cx, 350, "There is no range any more.")
        }
        (Some(first), Some(last), None) if first <= last && last < u64::MAX => {
            session.range = Some((first, last + 1));
            session.reply(cx, 350, &format!("HASH is about the bytes {first} to {last}."))
        }
        _ => session.reply(cx, 501, "Say the first and the last byte: RANG <first> <last>"),
    }
}

pub(crate) fn hash(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let range = session.range.take();
    let path = match files::allowed(session, &command.argument, Permissions::RETRIEVE, cx) {
        Ok(path) => path,
        Err(answered) => return answered,
    };
    let (own, algorithm) = (path.clone(), session.hash);
    session.job(
        cx,
        move |grip| grip.tree.open(&grip.who, &path),
        move |session, opened, cx| {
            let file = match opened {
                Ok(file) => file,
                Err(e) => return tree_failed(session, &e, cx),
            };
            let size = file.metadata.size;
            let (from, until) = range.unwrap_or((0, size));
            if until > size {
                return session.reply(cx, 501, "The file ends before the end of the range.");
            }
            let progress = Progress {
                reading: Reading::new(file, from, until),
                hashing: Hashing::new(algorithm),
            };
            go_on(session, progress, algorithm, (from, until), own, cx)
        },
    )
}

/// Does one step after another; helper threads do other things between two.
fn go_on(
    session: &mut Session,
    mut progress: Progress,
    algorithm: Algorithm,
    range: (u64, u64),
    path: VirtualPath,
    cx: &mut Context<'_>,
) -> Handled {
    session.job(
        cx,
        move |_| progress.step().map(|is_all| (progress, is_all)),
        move |session, stepped, cx| match stepped {
            Ok((progress, false)) => go_on(session, progress, algorithm, range, path, cx),
            Ok((progress, true)) => {
                let (from, until) = range;
                let head = format!("{} {from}-{until} ", algorithm.name());
                let text = head + &progress.hashing.finish() + " ";
                let path = String::from_utf8_lossy(path.as_bytes()).into_owned();
                Session::answer(cx, |out| reply::line(out, 213, &(text + &path)))
            }
            Err(why) => {
                tracing::warn!("HASH {path}: {why}");
                session.reply(cx, 451, "The file could not be read to its end.")
            }
        },
    )
}
