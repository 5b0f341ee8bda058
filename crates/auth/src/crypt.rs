//! Hashes of passwords as Unix systems keep them, in the format of crypt(3): yescrypt, SHA-512,
//! SHA-256 and bcrypt.
//!
//! The one design choice: other methods (MD5, DES) are not checked against. Whoever still has such
//! hashes is told so, and asks PAM, or has the passwords set anew.

use crate::password::{BadHash, MAX_PASSWORD};

/// The most memory that one check may take, in KiB (yescrypt).
pub(crate) const MAX_MEMORY_KIB: u64 = 256 * 1024;

/// The most rounds (SHA-512 and SHA-256); some seconds.
pub(crate) const MAX_ROUNDS: u32 = 5_000_000;

/// The highest cost (bcrypt); some seconds.
pub(crate) const MAX_BCRYPT_COST: u32 = 16;

/// Bytes of the outcome in a hash of yescrypt.
const YESCRYPT_OUTCOME: usize = 43;

/// The hash of `secret` as Debian makes them: to check against when there is nothing else.
pub(crate) const USUAL: &str =
    "$y$j9T$saltsaltsaltsalt$.Zt5W26jjocuW0wIHGgB6AJelofw6GEpOypHGyow2y5";

/// A method of hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Yescrypt,
    Sha,
    Bcrypt,
}

fn method(hash: &str) -> Option<Method> {
    match hash.strip_prefix('$')?.split_once('$')?.0 {
        "y" => Some(Method::Yescrypt),
        "5" | "6" => Some(Method::Sha),
        "2a" | "2b" | "2y" => Some(Method::Bcrypt),
        _ => None,
    }
}

/// Looks whether a hash can be checked against.
pub(crate) fn inspect(hash: &str) -> Result<(), BadHash> {
    let parts: Vec<_> = hash.split('$').skip(2).collect();
    let within = |is_within| if is_within { Ok(()) } else { Err(BadHash::TooCostly) };
    match (method(hash).ok_or(BadHash::Foreign)?, &parts[..]) {
        (Method::Yescrypt, [params, _salt, outcome]) if outcome.len() == YESCRYPT_OUTCOME => {
            let params: yescrypt::Params = params.parse().map_err(|_| BadHash::Malformed)?;
            // 128 bytes for each of N times r.
            let blocks = params.n().checked_mul(params.r().into());
            within(blocks.is_some_and(|blocks| blocks / 8 <= MAX_MEMORY_KIB) && params.p() == 1)
        }
        (Method::Sha, [rounds, _salt, _outcome]) => {
            let rounds = rounds.strip_prefix("rounds=").ok_or(BadHash::Malformed)?;
            within(rounds.parse::<u32>().map_err(|_| BadHash::Malformed)? <= MAX_ROUNDS)
        }
        (Method::Sha, [_salt, outcome]) if !outcome.is_empty() => Ok(()),
        (Method::Bcrypt, [cost, _]) => {
            let cost: u32 = cost.parse().map_err(|_| BadHash::Malformed)?;
            within(cost <= MAX_BCRYPT_COST)
        }
        _ => Err(BadHash::Incomplete),
    }
}

/// Whether this is the password of the hash. Slow on purpose; the comparison takes the same time
/// wherever the two differ. A hash that [`inspect`] refuses matches nothing.
pub(crate) fn verify(password: &[u8], hash: &str) -> bool {
    use password_hash::PasswordVerifier;
    if password.len() > MAX_PASSWORD || inspect(hash).is_err() {
        return false;
    }
    match method(hash) {
        Some(Method::Yescrypt) => {
            yescrypt::Yescrypt::default().verify_password(password, hash).is_ok()
        }
        Some(Method::Sha) => sha_crypt::ShaCrypt::SHA512.verify_password(password, hash).is_ok(),
        Some(Method::Bcrypt) => bcrypt::verify(password, hash).unwrap_or(false),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// Hashes of `secret`, made by libcrypt.
    const SECRET: [&str; 5] = [
        USUAL,
        "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.\
         Pq.H91p5hVO1",
        "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2",
        "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
    ];

    #[test]
    fn a_password_matches_its_hash_and_nothing_else() {
        for hash in SECRET {
            assert_eq!(inspect(hash), Ok(()), "{hash}");
            assert!(verify(b"secret", hash), "{hash}");
            for wrong in ["", "Secret", "secret ", "secre"] {
                assert!(!verify(wrong.as_bytes(), hash), "{wrong:?} {hash}");
            }
            let cut = &hash[..hash.len() - 1];
            assert!(!verify(b"secret", cut), "{cut}");
        }
    }

    #[test]
    fn what_cannot_be_checked_against_is_told_apart() {
        for (hash, why) in [
            ("", BadHash::Foreign),
            ("*", BadHash::Foreign),
            ("!", BadHash::Foreign),
            ("aXe5oGYjTGq2o", BadHash::Foreign),
            ("$1$abc$BXBqpb9BZcZhXLgbee.0s/", BadHash::Foreign),
            ("$gy$j9T$a$b", BadHash::Foreign),
            ("$y$j9T$saltsaltsaltsalt$", BadHash::Incomplete),
            ("$y$j9T$saltsaltsaltsalt", BadHash::Incomplete),
            ("$6$saltsalt", BadHash::Incomplete),
            ("$6$saltsalt$", BadHash::Incomplete),
            ("$6$rounds=x$salt$abc", BadHash::Malformed),
            ("$6$rounds=5000001$salt$abc", BadHash::TooCostly),
            ("$2b$17$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", BadHash::TooCostly),
            ("$2b$x$abc", BadHash::Malformed),
        ] {
            assert_eq!(inspect(hash), Err(why), "{hash}");
            assert!(!verify(b"", hash) && !verify(b"secret", hash), "{hash}");
        }
        // N is 2 to the power of 20, r 32: 4 GiB.
        let large = USUAL.replace("$j9T$", "$jHT$");
        assert_eq!(inspect(&large), Err(BadHash::TooCostly));
    }

    #[test]
    fn a_password_that_is_too_long_matches_nothing() {
        assert!(!verify(&vec![b'x'; MAX_PASSWORD + 1], USUAL));
    }

    /// What the system's own crypt(3) makes of a password, asked through Perl.
    fn crypt(password: &str, salt: &str) -> Option<String> {
        let script = "print crypt($ARGV[0], $ARGV[1])";
        let output = Command::new("perl").args(["-e", script, password, salt]).output().ok()?;
        String::from_utf8(output.stdout).ok()
    }

    #[test]
    fn hashes_are_those_of_the_system() {
        if crypt("secret", USUAL).as_deref() != Some(USUAL) {
            eprintln!("skipped: hashes_are_those_of_the_system: perl's crypt has no yescrypt");
            return;
        }
        for salt in [
            "$y$j75$F5Jx5fExrKuPp53xLKQ..1",
            "$y$j8T$tnOzkGjIfVkyfyqrtjWqi.",
            "$6$l3Hg",
            "$6$rounds=1234$0123456789abcdef",
            "$5$.",
            "$2b$04$abcdefghijklmnopqrstuu",
        ] {
            for password in ["a", "pässword", "sixteen bytes !!", &"long ".repeat(20)] {
                let hash = crypt(password, salt).expect("it made one before");
                // The others look at no more than 72 bytes.
                assert!(verify(password.as_bytes(), &hash), "{password} {hash}");
                assert!(!verify(b"other", &hash), "{hash}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_hash_is_too_strange(hash in "\\$(y|6|5|2b)\\$[./A-Za-z0-9=$]{0,80}") {
            // Most cost nothing, for they are refused; the others must not be too costly here.
            let _ = inspect(&hash);
        }
    }
}
