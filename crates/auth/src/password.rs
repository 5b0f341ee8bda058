//! Hashes of passwords: Argon2id in the PHC string format, as `medusa passwd` makes them.
//!
//! The one design choice: how costly a check is stands in each hash, so that old files stay valid
//! when the defaults rise; what a file may ask for is bounded.

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// The longest password in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// The most memory that one check may take, in KiB.
pub const MAX_MEMORY_KIB: u32 = 256 * 1024;

/// The most passes over the memory.
pub const MAX_PASSES: u32 = 32;

/// The most lanes.
pub const MAX_LANES: u32 = 16;

/// Work areas that are kept for the next checks, as many as run at once.
const MAX_AREAS: usize = 2;

/// The largest work area that is kept, in KiB: that of a hash as [`hash`] makes it.
const MAX_AREA_KIB: usize = Params::DEFAULT_M_COST as usize;

/// The work areas of checks that are over. Given back to the allocator, they would stay with the
/// helper threads that ran the checks, and each thread would come to hold some.
static AREAS: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// Why something is no hash that can be checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHash {
    /// It is not written as one.
    Malformed,
    /// It was made in another way than by Argon2.
    Foreign,
    /// It has no salt or no outcome.
    Incomplete,
    /// A check would take more than [`MAX_MEMORY_KIB`], [`MAX_PASSES`] or [`MAX_LANES`].
    TooCostly,
}

impl fmt::Display for BadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "this is no hash of a password",
            Self::Foreign => "the hash is not one of Argon2",
            Self::Incomplete => "the hash is cut short",
            Self::TooCostly => "checking against this hash would cost too much",
        })
    }
}

impl std::error::Error for BadHash {}

/// Hashes a password with a salt of its own. Takes tens of milliseconds and 19 MiB.
///
/// # Errors
///
/// The system gives no random numbers.
pub fn hash(password: &[u8]) -> Result<String, String> {
    // Argon2id with the library's parameters: 19 MiB, two passes, one lane.
    let hash = Argon2::default().hash_password(password);
    hash.map(|hash| hash.to_string()).map_err(|e| e.to_string())
}

/// Looks whether a hash can be checked against.
pub fn inspect(hash: &str) -> Result<(), BadHash> {
    if hash.starts_with('$') && !hash.starts_with("$argon2") {
        return Err(BadHash::Foreign);
    }
    let hash = PasswordHash::new(hash).map_err(|_| BadHash::Malformed)?;
    if !matches!(hash.algorithm.as_str(), "argon2id" | "argon2i" | "argon2d") {
        return Err(BadHash::Foreign);
    }
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(BadHash::Incomplete);
    }
    let params = Params::try_from(&hash).map_err(|_| BadHash::Malformed)?;
    if params.m_cost() > MAX_MEMORY_KIB
        || params.t_cost() > MAX_PASSES
        || params.p_cost() > MAX_LANES
    {
        return Err(BadHash::TooCostly);
    }
    Ok(())
}

/// Whether this is the password of the hash. Slow on purpose; the comparison takes the same time
/// wherever the two differ. A hash that [`inspect`] refuses matches nothing.
pub fn verify(password: &[u8], hash: &str) -> bool {
    if password.len() > MAX_PASSWORD || inspect(hash).is_err() {
        return false;
    }
    PasswordHash::new(hash).is_ok_and(|hash| matches(password, &hash).unwrap_or(false))
}

/// Whether this is the password; `None` if the hash cannot be checked against.
fn matches(password: &[u8], hash: &PasswordHash) -> Option<bool> {
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map(Version::try_from).transpose().ok()?.unwrap_or_default();
    let params = Params::try_from(hash).ok()?;
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let mut bytes = [0; Output::MAX_LENGTH];
    let out = bytes.get_mut(..expected.as_ref().len())?;
    let mut area = take_area();
    area.resize(params.block_count(), Block::default());
    let argon2 = Argon2::new(algorithm, version, params);
    let done = argon2.hash_password_into_with_memory(password, salt, out, &mut area[..]);
    keep_area(area);
    done.ok()?;
    // `Output` compares in constant time.
    Some(Output::new(out).ok()? == *expected)
}

fn take_area() -> Vec<Block> {
    AREAS.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
}

fn keep_area(area: Vec<Block>) {
    let mut areas = AREAS.lock().unwrap_or_else(PoisonError::into_inner);
    if areas.len() < MAX_AREAS && area.capacity() <= MAX_AREA_KIB {
        areas.push(area);
    }
}

/// Takes as long as a check against `like`, or against a hash of the usual cost, and finds nothing.
pub fn verify_nobody(password: &[u8], like: Option<&str>) {
    static USUAL: OnceLock<String> = OnceLock::new();
    let like = like.unwrap_or_else(|| USUAL.get_or_init(|| hash(b"").unwrap_or_default()));
    // The answer is for nobody.
    std::hint::black_box(verify(password, like));
}

/// Hashes as cheaply as can be, for tests.
#[cfg(test)]
pub(crate) fn cheap_hash(password: &[u8]) -> String {
    let params = Params::new(Params::MIN_M_COST, 1, 1, None).expect("they are allowed");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password).expect("random numbers").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a hash.
    const CHEAP: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$";

    #[test]
    fn a_password_matches_its_hash_and_nothing_else() {
        let hash = hash("pässword".as_bytes()).expect("random numbers");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(inspect(&hash), Ok(()));
        assert!(verify("pässword".as_bytes(), &hash));
        assert!(!verify(b"password", &hash) && !verify(b"", &hash));
        assert_ne!(super::hash(b"same"), super::hash(b"same"), "each has its own salt");
    }

    #[test]
    fn what_cannot_be_checked_against_is_told_apart() {
        let tag = "eP4eyR+zqlZX1y5xCFTkw9m5GYx0L5YWwvCFvtlbLow";
        for (hash, why) in [
            (String::new(), BadHash::Malformed),
            ("secret".to_owned(), BadHash::Malformed),
            ("$1$abc$def".to_owned(), BadHash::Foreign),
            (CHEAP.trim_end_matches('$').to_owned(), BadHash::Incomplete),
            (format!("$argon2id$v=19$m=262145,t=1,p=1$c29tZXNhbHQ${tag}"), BadHash::TooCostly),
            (format!("$argon2id$v=19$m=8,t=33,p=1$c29tZXNhbHQ${tag}"), BadHash::TooCostly),
            (format!("$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHQ${tag}"), BadHash::Malformed),
        ] {
            assert_eq!(inspect(&hash), Err(why), "{hash}");
            assert!(!verify(b"", &hash));
        }
    }

    #[test]
    fn few_work_areas_are_kept_and_no_large_ones() {
        for _ in 0..=MAX_AREAS {
            keep_area(vec![Block::default(); 8]);
            keep_area(Vec::with_capacity(MAX_AREA_KIB + 1));
        }
        let areas = AREAS.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(areas.len() <= MAX_AREAS);
        assert!(areas.iter().all(|area| area.capacity() <= MAX_AREA_KIB));
    }

    #[test]
    fn a_used_work_area_changes_no_outcome() {
        let hash = cheap_hash(b"secret");
        for password in ["secret", "wrong", "secret"] {
            keep_area(vec![Block::default(); 64]);
            assert_eq!(verify(password.as_bytes(), &hash), password == "secret");
        }
    }

    #[test]
    fn a_password_that_is_too_long_matches_nothing() {
        let long = vec![b'x'; MAX_PASSWORD + 1];
        let hash = hash(&long).expect("random numbers");
        assert!(!verify(&long, &hash));
    }
}
