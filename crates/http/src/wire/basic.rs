//! The credentials of the Basic scheme (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest value that is looked at: a name of 255 bytes and a password of 1,024, encoded.
const MAX_CREDENTIALS: usize = 1720;

/// Takes the value of an `Authorization` or `Proxy-Authorization` field apart: the user's name and
/// the password.
///
/// The scheme counts in any case of letters. The encoding is strict (RFC 4648, section 4: padded,
/// no stray bits), the name must be UTF-8; the password may have any bytes, colons too. `None` for
/// everything else.
pub fn credentials(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = value.split_at_checked("Basic ".len())?;
    if value.len() > MAX_CREDENTIALS || !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = memchr::memchr(b':', &decoded)?;
    let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
    Some((str::from_utf8(name).ok()?.to_owned(), password.to_vec()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credentials_are_taken_apart() {
        let parsed = |value: &str| {
            credentials(value.as_bytes())
                .map(|(name, password)| (name, String::from_utf8_lossy(&password).into_owned()))
        };
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(parsed("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(parsed("bAsIc  QWxhZGRpbjpvcGVuIHNlc2FtZQ== "), pair("Aladdin", "open sesame"));
        assert_eq!(parsed("Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(parsed("Basic Og=="), pair("", ""));
        for bad in [
            "",
            "Basic",
            "Basic ",
            "Basic YQ==",
            "BasicYTpi",
            "Bearer YTpi",
            "Basic YTpiOmM",
            "Basic YTpi!",
            "Basic YTpiOmN=",
            "Basic /zpi",
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
        assert_eq!(credentials(&[b"Basic ".as_slice(), &[b'A'; 2000]].concat()), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read(name in "[^:]{0,40}", password: Vec<u8>) {
            let both = [name.as_bytes(), b":", &password].concat();
            let value = format!("Basic {}", STANDARD.encode(both));
            prop_assume!(value.len() <= MAX_CREDENTIALS);
            prop_assert_eq!(credentials(value.as_bytes()), Some((name, password)));
        }

        #[test]
        fn no_value_is_too_strange(value: Vec<u8>) {
            // It may be refused.
            let _ = credentials(&value);
        }
    }
}
