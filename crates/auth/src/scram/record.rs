//! What a server keeps of a password.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pbkdf2::pbkdf2_hmac_array;
use sha2::{Digest as _, Sha256};

use super::{ACCEPTED_ITERATIONS, KEY_BYTES, Key, keyed, prepared};

/// Iterations for new passwords: about a tenth of a second for whoever logs in, and for each guess
/// of whoever steals the file. The server itself never counts them.
pub const ITERATIONS: u32 = 300_000;

/// Bytes of a salt.
const SALT_BYTES: usize = 16;

/// Bytes of the longest salt that is taken.
const MAX_SALT_BYTES: usize = 64;

/// What begins its text form.
const PREFIX: &str = "SCRAM-SHA-256$";

/// What a server keeps of a password: `SCRAM-SHA-256$ITERATIONS:SALT$STORED-KEY:SERVER-KEY`, as
/// other servers write it too.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// The text is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord;

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is no record of SCRAM-SHA-256")
    }
}

impl std::error::Error for BadRecord {}

/// The key that a password, a salt and a number of iterations make.
pub(super) fn salted(password: &str, salt: &[u8], iterations: u32) -> Key {
    pbkdf2_hmac_array::<Sha256, KEY_BYTES>(prepared(password).as_bytes(), salt, iterations)
}

/// The client's key, which the server never has, and the key that it is stored by.
pub(super) fn client_keys(salted: &Key) -> (Key, Key) {
    let client = keyed(salted, b"Client Key");
    (client, Sha256::digest(client).into())
}

pub(super) fn server_key(salted: &Key) -> Key {
    keyed(salted, b"Server Key")
}

impl Record {
    /// Makes the record of a password with a new salt and [`ITERATIONS`]; takes its time.
    pub fn new(password: &str) -> Result<Self, getrandom::Error> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt)?;
        Ok(Self::with(password, &salt, ITERATIONS))
    }

    /// Makes the record of a password with this salt, and so many iterations.
    pub fn with(password: &str, salt: &[u8], iterations: u32) -> Self {
        let salted = salted(password, salt, iterations);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: client_keys(&salted).1,
            server_key: server_key(&salted),
        }
    }

    /// The record of a user who does not exist: the same for the same name and secret, and in no
    /// way to be told from a real one by a client. Nobody has its password.
    pub fn of_nobody(name: &str, secret: &[u8; 32]) -> Self {
        let part = |what: &str| keyed(secret, format!("{what}:{name}").as_bytes());
        Self {
            iterations: ITERATIONS,
            salt: part("salt")[..SALT_BYTES].to_vec(),
            stored_key: part("stored key"),
            server_key: part("server key"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}{}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key),
        )
    }
}

impl FromStr for Record {
    type Err = BadRecord;

    fn from_str(text: &str) -> Result<Self, BadRecord> {
        let read = || {
            let (how, keys) = text.strip_prefix(PREFIX)?.split_once('$')?;
            let (iterations, salt) = how.split_once(':')?;
            let (stored, server) = keys.split_once(':')?;
            let decode = |text: &str| STANDARD.decode(text).ok();
            Some(Self {
                iterations: iterations.parse().ok()?,
                salt: decode(salt)?,
                stored_key: decode(stored)?.try_into().ok()?,
                server_key: decode(server)?.try_into().ok()?,
            })
        };
        let fits = |record: &Self| {
            ACCEPTED_ITERATIONS.contains(&record.iterations)
                && (1..=MAX_SALT_BYTES).contains(&record.salt.len())
        };
        read().filter(fits).ok_or(BadRecord)
    }
}
