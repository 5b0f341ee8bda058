//! Virtual hosts: which list of extensions a request walks through, by the host that it names.
//!
//! The one design choice: names are brought into one form when the table is made (small letters,
//! no final dot, no port), and so is the name in a request, so that finding one is a look into a
//! table of exact names and, for wildcards, one for each label. A server with one host that takes
//! all names looks nowhere.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::Ipv6Addr;
use std::rc::Rc;

use foldhash::fast::RandomState;

use crate::list::Extensions;
use crate::wire::target::Authority;

/// The longest host name in bytes, without a final dot (RFC 1035 section 2.3.4).
pub const MAX_HOST_NAME: usize = 253;

/// The longest label of a host name in bytes (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;

/// Names of all hosts of one server.
pub const MAX_HOST_NAMES: usize = 65_536;

/// The name of a host that nobody named.
const UNNAMED: &str = "default";

/// A virtual host.
#[derive(Clone)]
pub struct Host {
    /// What the operator calls it.
    pub name: String,
    /// The names by which clients ask for it: `example.org`, an address (IPv6 in brackets or
    /// without), or `*.example.org`, which is every name below that one at any depth, and not
    /// that one itself. Exact names come before wildcards, longer wildcards before shorter ones.
    /// International names are written as on the wire (`xn--...`).
    pub names: Vec<String>,
    /// Its extensions.
    pub extensions: Rc<Extensions>,
}

/// What becomes of a request for a name that no host has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// The default host has it.
    #[default]
    ToDefault,
    /// It is answered 421 (RFC 9110 section 15.5.20).
    Misdirected,
}

/// Why hosts cannot be served together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostError {
    /// There is none.
    None,
    /// There are more than [`MAX_HOST_NAMES`].
    TooMany,
    /// Two names are the same, of one host or of two.
    Twice(String),
    /// This is no host name.
    Invalid(String, &'static str),
    /// The default host is not one of the list.
    NoDefault,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("a server needs a host"),
            Self::TooMany => write!(f, "a server can have at most {MAX_HOST_NAMES} host names"),
            Self::Twice(name) => {
                write!(f, "the host name `{}` stands twice; remove one", name.escape_debug())
            }
            Self::Invalid(name, why) => {
                write!(f, "`{}` is no host name: {why}", name.escape_debug())
            }
            Self::NoDefault => f.write_str("the default host is not one of the hosts"),
        }
    }
}

impl std::error::Error for HostError {}

/// The virtual hosts of one server.
pub struct Hosts {
    list: Vec<Host>,
    default: usize,
    /// What is asked for does not matter: the default host has everything.
    takes_all: bool,
    unknown: Unknown,
    exact: Table<Box<[u8]>>,
    addresses: Table<Ipv6Addr>,
    /// Wildcards, without their asterisk and dot.
    below: Table<Box<[u8]>>,
}

type Table<K> = HashMap<K, usize, RandomState>;

impl Hosts {
    /// Makes the table; the first host is the default one.
    pub fn new(list: Vec<Host>) -> Result<Self, HostError> {
        if list.is_empty() {
            return Err(HostError::None);
        }
        if list.iter().map(|host| host.names.len()).sum::<usize>() > MAX_HOST_NAMES {
            return Err(HostError::TooMany);
        }
        let mut hosts = Self {
            default: 0,
            takes_all: list.len() == 1,
            unknown: Unknown::ToDefault,
            exact: Table::default(),
            addresses: Table::default(),
            below: Table::default(),
            list: Vec::new(),
        };
        for (place, host) in list.iter().enumerate() {
            for name in &host.names {
                if !hosts.enter(name, place)? {
                    return Err(HostError::Twice(name.clone()));
                }
            }
        }
        hosts.list = list;
        Ok(hosts)
    }

    /// Has the host at this place of the list take what names no other one: requests without a
    /// host (HTTP/1.0), and those for unknown names unless they are refused.
    pub fn with_default(mut self, place: usize) -> Result<Self, HostError> {
        if place >= self.list.len() {
            return Err(HostError::NoDefault);
        }
        self.default = place;
        Ok(self)
    }

    /// Says what becomes of requests for unknown names.
    #[must_use]
    pub fn with_unknown(mut self, unknown: Unknown) -> Self {
        self.unknown = unknown;
        self.takes_all = self.list.len() == 1 && unknown == Unknown::ToDefault;
        self
    }

    /// The hosts, in their order.
    pub fn list(&self) -> &[Host] {
        &self.list
    }

    /// The default host.
    pub fn default_host(&self) -> &Host {
        &self.list[self.default]
    }

    /// The host that has a request for this name, if any has.
    #[inline]
    pub fn find(&self, asked: Option<Authority<'_>>) -> Option<&Host> {
        if self.takes_all { Some(self.default_host()) } else { self.search(asked) }
    }

    fn search(&self, asked: Option<Authority<'_>>) -> Option<&Host> {
        let Some(asked) = asked else { return Some(self.default_host()) };
        match (self.place(asked.host()), self.unknown) {
            (Some(place), _) => Some(&self.list[place]),
            (None, Unknown::ToDefault) => Some(self.default_host()),
            (None, Unknown::Misdirected) => None,
        }
    }

    fn place(&self, host: &str) -> Option<usize> {
        if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return self.addresses.get(&literal.parse().ok()?).copied();
        }
        let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
        let mut room = [0; MAX_HOST_NAME];
        let name = room.get_mut(..host.len())?;
        name.copy_from_slice(host);
        name.make_ascii_lowercase();
        if let Some(&place) = self.exact.get(&*name) {
            return Some(place);
        }
        if self.below.is_empty() {
            return None;
        }
        let dots = name.iter().enumerate().filter(|&(at, &byte)| byte == b'.' && at > 0);
        dots.map(|(at, _)| &name[at + 1..]).find_map(|above| self.below.get(above)).copied()
    }

    /// Enters a name of the operator's; says whether it is new.
    fn enter(&mut self, name: &str, place: usize) -> Result<bool, HostError> {
        let invalid = |why| HostError::Invalid(name.to_owned(), why);
        let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = literal.unwrap_or(name).parse::<Ipv6Addr>() {
            return Ok(put(&mut self.addresses, address, place));
        }
        let (wild, rest) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let plain = rest.strip_suffix('.').unwrap_or(rest).to_ascii_lowercase();
        if !plain.is_ascii() {
            return Err(invalid("write it as it is on the wire, in letters, digits and `xn--`"));
        }
        if plain.contains('*') {
            return Err(invalid(
                "an asterisk can only stand for the first labels: `*.example.org`",
            ));
        }
        if plain.contains(':') {
            return Err(invalid("leave the port out, it does not count"));
        }
        let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if plain.split('.').any(|label| label.is_empty() || !label.bytes().all(may)) {
            return Err(invalid(
                "it needs labels of letters, digits and hyphens, with dots between",
            ));
        }
        if plain.len() > MAX_HOST_NAME || plain.split('.').any(|label| label.len() > MAX_LABEL) {
            return Err(invalid("it is too long; a name has 253 bytes at most, a label 63"));
        }
        let table = if wild { &mut self.below } else { &mut self.exact };
        Ok(put(table, plain.into_bytes().into(), place))
    }
}

fn put<K: Eq + Hash>(table: &mut Table<K>, key: K, place: usize) -> bool {
    table.insert(key, place).is_none()
}

/// One host, which has everything.
impl From<Rc<Extensions>> for Hosts {
    fn from(extensions: Rc<Extensions>) -> Self {
        let host = Host { name: UNNAMED.to_owned(), names: Vec::new(), extensions };
        Self::new(vec![host]).expect("one host without names is in nobody's way")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(list: &[&[&str]]) -> Result<Hosts, HostError> {
        let host = |names: &&[&str]| Host {
            name: names.first().unwrap_or(&"none").to_string(),
            names: names.iter().map(ToString::to_string).collect(),
            extensions: Rc::default(),
        };
        Hosts::new(list.iter().map(host).collect())
    }

    fn sample() -> Hosts {
        hosts(&[
            &["default.example"],
            &["example.org", "WWW.Example.Org."],
            &["*.example.org"],
            &["*.deep.example.org", "[2001:DB8::1]", "10.0.0.1", "xn--bcher-kva.example"],
        ])
        .unwrap()
    }

    fn found(hosts: &Hosts, asked: &str) -> Option<usize> {
        let asked = Authority::parse(asked.as_bytes()).unwrap();
        let host = hosts.find(Some(asked))?;
        hosts.list().iter().position(|other| Rc::ptr_eq(&other.extensions, &host.extensions))
    }

    #[test]
    fn names_find_their_hosts() {
        let long = format!("{}example.org", "a.".repeat(121));
        for (asked, place) in [
            ("example.org", 1),
            ("EXAMPLE.ORG", 1),
            ("example.org.", 1),
            ("example.org:8080", 1),
            ("Example.org.:", 1),
            ("www.example.org", 1),
            ("www.example.org.:1", 1),
            ("a.example.org", 2),
            ("a.b.example.org", 2),
            ("deep.example.org", 2),
            ("a.deep.example.org", 3),
            ("a.b.DEEP.example.org.", 3),
            ("[2001:db8::1]", 3),
            ("[2001:db8:0:0::1]:80", 3),
            ("10.0.0.1:80", 3),
            ("XN--Bcher-Kva.example", 3),
            (&long, 2),
            // None of these is one of the names.
            ("default.example", 0),
            (".example.org", 0),
            ("xexample.org", 0),
            ("example.org..", 0),
            ("example.org.evil", 0),
            ("%65xample.org", 0),
            ("b%C3%BCcher.example", 0),
            ("[2001:db8::2]", 0),
            ("a.", 0),
            (".", 0),
            (&format!("a.{long}xxxxxxxxxx"), 0),
        ] {
            assert_eq!(found(&sample(), asked), Some(place), "{asked}");
        }
    }

    #[test]
    fn unknown_names_go_to_the_default_or_nowhere() {
        let hosts = sample().with_default(2).unwrap();
        assert_eq!(found(&hosts, "unknown"), Some(2));
        let hosts = hosts.with_unknown(Unknown::Misdirected);
        assert_eq!(found(&hosts, "unknown"), None);
        assert_eq!(found(&hosts, "example.org"), Some(1));
        assert!(Rc::ptr_eq(&hosts.find(None).unwrap().extensions, &hosts.list()[2].extensions));
        assert_eq!(sample().with_default(4).err(), Some(HostError::NoDefault));
    }

    #[test]
    fn one_host_has_everything_unless_unknown_names_are_refused() {
        let one = || hosts(&[&["example.org"]]).unwrap();
        assert_eq!(found(&one(), "anything"), Some(0));
        assert_eq!(found(&one().with_unknown(Unknown::Misdirected), "anything"), None);
        assert_eq!(found(&one().with_unknown(Unknown::Misdirected), "example.org"), Some(0));
        assert_eq!(found(&Hosts::from(Rc::new(Extensions::default())), "anything"), Some(0));
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_a_reason() {
        assert_eq!(hosts(&[]).err(), Some(HostError::None));
        for twice in [&["a", "A."][..], &["*.a", "*.A"], &["::1", "[0:0::1]"]] {
            assert_eq!(hosts(&[twice]).err(), Some(HostError::Twice(twice[1].to_owned())));
        }
        assert!(hosts(&[&["a"], &["a"]]).is_err() && hosts(&[&["a", "*.a"]]).is_ok());
        for (name, why) in [
            ("", "labels"),
            (".", "labels"),
            ("a..b", "labels"),
            ("a b", "labels"),
            ("a/b", "labels"),
            ("*", "asterisk"),
            ("*a.b", "asterisk"),
            ("a.*.b", "asterisk"),
            ("*.*.b", "asterisk"),
            ("*.", "labels"),
            ("a:80", "port"),
            ("[::1]:80", "port"),
            ("b\u{fc}cher.example", "xn--"),
            (&"a".repeat(64), "too long"),
            (&"a.".repeat(128), "too long"),
        ] {
            let error = hosts(&[&[name]]).err().expect(name).to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        let many: Vec<String> = (0..=MAX_HOST_NAMES).map(|n| format!("h{n}")).collect();
        let host = Host { name: String::new(), names: many, extensions: Rc::default() };
        assert_eq!(Hosts::new(vec![host]).err(), Some(HostError::TooMany));
    }

    proptest! {
        /// The table says what a plain comparison of labels from the end says.
        #[test]
        fn the_table_agrees_with_the_plain_rule(asked in "([ab]\\.){0,4}[ab]\\.?") {
            let hosts = hosts(&[&[], &["a.b", "b"], &["*.b", "*.a.b", "*.b.a.b"]]).unwrap();
            let name = asked.strip_suffix('.').unwrap_or(&asked);
            let expected = if name == "a.b" || name == "b" {
                1
            } else if name.len() > 1 && name.ends_with('b') {
                2
            } else {
                0
            };
            prop_assert_eq!(found(&hosts, &asked), Some(expected));
        }
    }
}
