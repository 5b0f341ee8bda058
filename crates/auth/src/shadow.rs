//! The file of password hashes, shadow(5): a line `NAME:HASH:CHANGED:MIN:MAX:WARN:GRACE:EXPIRES:`
//! for each user, with days counted from 1970.
//!
//! The one design choice: nothing is decided before the password has been checked against exactly
//! one hash, for a name that has none or does not exist against another user's. So the time that an
//! answer takes says nothing about which names exist.

use std::fmt;

use crate::crypt;

/// Why somebody may not log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such user, or it is not the password.
    Wrong,
    /// The password cannot be checked: it is hashed by another method.
    Foreign,
    /// The account is locked.
    Locked,
    /// The account has expired.
    Expired,
    /// The password has, or must be changed for another reason, which FTP has no way to do.
    MustChange,
    /// The line of the user cannot be read.
    Malformed,
    /// It is root.
    Root,
    /// The user id is too low: it is one of the system's own users.
    System,
    /// The shell is none that users get.
    Shell,
    /// The name stands in the list of those who may not.
    Listed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrong => "name and password do not belong together",
            Self::Foreign => {
                "the password is hashed by a method that is not checked here; set it anew, or use \
                 PAM"
            }
            Self::Locked => "the account is locked",
            Self::Expired => "the account has expired",
            Self::MustChange => "the password must be changed first",
            Self::Malformed => "the account's line in the file of hashes makes no sense",
            Self::Root => "it is root",
            Self::System => "the user id is one of the system's own",
            Self::Shell => "the shell is not one of /etc/shells",
            Self::Listed => "the name stands in /etc/ftpusers",
        })
    }
}

/// What a line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry<'a> {
    hash: &'a str,
    changed: Option<i64>,
    lasts: Option<i64>,
    expires: Option<i64>,
}

impl<'a> Entry<'a> {
    /// Takes the part of a line behind the name apart.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = str::from_utf8(line).ok()?.split(':');
        let hash = fields.next()?;
        let mut number = || match fields.next().unwrap_or_default() {
            "" | "-1" => Some(None),
            digits => digits.parse().ok().map(Some),
        };
        let (changed, _min, lasts) = (number()?, number()?, number()?);
        let (_warn, _grace, expires) = (number()?, number()?, number()?);
        Some(Self { hash, changed, lasts, expires })
    }

    /// What is in the way of this user, whose password was right.
    fn trouble(&self, today: i64) -> Option<Refusal> {
        if self.expires.is_some_and(|day| today >= day) {
            return Some(Refusal::Expired);
        }
        let changed = self.changed?;
        // Zero says that it must be changed at the next login.
        let is_old = self.lasts.is_some_and(|lasts| today.saturating_sub(changed) > lasts);
        (changed == 0 || is_old).then_some(Refusal::MustChange)
    }
}

/// The line of a user, behind the name. Looks at the whole file, wherever the line is.
fn line<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let its = text.split(|&byte| byte == b'\n').filter_map(|line| {
        let rest = line.strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b":")
    });
    // The first counts, as for the system.
    its.fold(None, |first, line| first.or(Some(line)))
}

/// A hash of some user.
fn any(text: &[u8]) -> Option<&str> {
    let mut hashes = text.split(|&byte| byte == b'\n').filter_map(|line| {
        let hash = line.split(|&byte| byte == b':').nth(1)?;
        str::from_utf8(hash).ok().filter(|hash| crypt::inspect(hash).is_ok())
    });
    hashes.next()
}

/// Whether a user may log in as far as the file of hashes, `text`, can say. `account` is what the
/// list of accounts has in the place of a password, if there is such a user.
///
/// The password is given to `verify` with a hash, exactly once.
pub(crate) fn judge(
    text: &[u8],
    name: &str,
    account: Option<&str>,
    today: i64,
    verify: impl FnOnce(&str) -> bool,
) -> Result<(), Refusal> {
    let entry = line(text, name).map(Entry::parse);
    let known = entry.flatten().unwrap_or_default();
    let hash = match account {
        Some("x") => known.hash,
        Some(hash) => hash,
        None => "",
    };
    // A locked account may have a hash behind the mark.
    let bare = hash.trim_start_matches(['!', '*']);
    let usable = crypt::inspect(bare).is_ok();
    let is_right = verify(if usable { bare } else { any(text).unwrap_or(crypt::USUAL) });
    if account.is_some() && entry == Some(None) {
        return Err(Refusal::Malformed);
    }
    if account.is_none() || hash.is_empty() {
        return Err(Refusal::Wrong);
    }
    if !usable {
        return Err(if bare.len() < hash.len() { Refusal::Locked } else { Refusal::Foreign });
    }
    if !is_right {
        return Err(Refusal::Wrong);
    }
    if bare.len() < hash.len() {
        return Err(Refusal::Locked);
    }
    known.trouble(today).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TODAY: i64 = 20_000;

    /// A file in which these lines follow others.
    fn text(lines: &str) -> Vec<u8> {
        let root = format!("root:{}:19000:::::", crypt::USUAL);
        format!("daemon:*:19000:0:99999:7:::\n{root}\n\n{lines}\nlast:!:::::::\n").into_bytes()
    }

    /// A hash, as cheap as any.
    const HASH: &str = "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2";

    /// What comes of `name`, whose account has `x`, with the right password for [`HASH`]; and with
    /// which hash that was checked.
    fn judged(lines: &str, name: &str, account: Option<&str>) -> (Result<(), Refusal>, String) {
        let mut checked = String::new();
        let verdict = judge(&text(lines), name, account, TODAY, |hash| {
            assert!(crypt::inspect(hash).is_ok(), "one that takes its time");
            checked = hash.to_owned();
            hash == HASH
        });
        (verdict, checked)
    }

    #[test]
    fn each_account_is_judged_by_its_line() {
        for (rest, expected) in [
            (format!("{HASH}:19000:0:99999:7:::"), Ok(())),
            (format!("{HASH}:19000:0::7:::"), Ok(())),
            (format!("{HASH}:::::::"), Ok(())),
            (format!("{HASH}:19000:0:-1:7:-1:-1:"), Ok(())),
            (HASH.to_owned(), Ok(())),
            (format!("{HASH}:19000:0:1000:7:::"), Ok(())),
            (format!("{HASH}:19000:0:99999:7::20001:"), Ok(())),
            (format!("{HASH}:30000:0:99999:7:::"), Ok(())),
            (format!("{HASH}:18999:0:1000:7:::"), Err(Refusal::MustChange)),
            (format!("{HASH}:18999:0:1000:7:99999::"), Err(Refusal::MustChange)),
            (format!("{HASH}:0:0:99999:7:::"), Err(Refusal::MustChange)),
            (format!("{HASH}:19000:0:99999:7::20000:"), Err(Refusal::Expired)),
            (format!("{HASH}:19000:0:99999:7::0:"), Err(Refusal::Expired)),
            (format!("!{HASH}:19000:0:99999:7:::"), Err(Refusal::Locked)),
            (format!("!*{HASH}:19000:0:99999:7:::"), Err(Refusal::Locked)),
            ("!:19000:0:99999:7:::".to_owned(), Err(Refusal::Locked)),
            ("*:19000:0:99999:7:::".to_owned(), Err(Refusal::Locked)),
            (":19000:0:99999:7:::".to_owned(), Err(Refusal::Wrong)),
            ("$1$abc$BXBqpb9BZcZhXLgbee.0s/:1::::::".to_owned(), Err(Refusal::Foreign)),
            (format!("{HASH}:x::::::"), Err(Refusal::Malformed)),
            (format!("{HASH}:99999999999999999999::::::"), Err(Refusal::Malformed)),
        ] {
            assert_eq!(judged(&format!("ann:{rest}"), "ann", Some("x")).0, expected, "{rest}");
        }
    }

    #[test]
    fn whoever_it_is_one_password_is_checked() {
        let lines = format!("ann:{HASH}:::::::\nann:*:::::::\nanna:!:::::::");
        assert_eq!(judged(&lines, "ann", Some("x")), (Ok(()), HASH.to_owned()));
        for (name, account) in [
            ("anna", Some("x")),
            ("root", Some("x")),
            ("nobody", None),
            ("an", None),
            ("ann", None),
            ("", None),
            ("nobody", Some("x")),
            ("nobody", Some("*")),
            ("nobody", Some("")),
        ] {
            let (verdict, checked) = judged(&lines, name, account);
            assert!(verdict.is_err() && !checked.is_empty(), "{name} {account:?}");
        }
        // Where there is none but this, too.
        let mut checks = 0;
        let nobody = judge(b"", "nobody", None, TODAY, |_| {
            checks += 1;
            true
        });
        assert_eq!((nobody, checks), (Err(Refusal::Wrong), 1));
    }

    #[test]
    fn a_hash_in_the_list_of_accounts_counts() {
        assert_eq!(judged("", "ann", Some(HASH)), (Ok(()), HASH.to_owned()));
        assert_eq!(judged("", "ann", Some(&format!("!{HASH}"))).0, Err(Refusal::Locked));
        assert_eq!(judged(&format!("ann:{HASH}:::::::"), "ann", Some("*")).0, Err(Refusal::Locked));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text: Vec<u8>, name in "[a-z:\\n]{0,3}", account: Option<String>) {
            let _ = judge(&text, &name, account.as_deref(), TODAY, |_| false);
        }

        #[test]
        fn no_line_is_too_strange(rest in "[-$!*:0-9a-z]{0,40}") {
            let _ = judged(&format!("ann:{rest}"), "ann", Some("x"));
        }
    }
}
