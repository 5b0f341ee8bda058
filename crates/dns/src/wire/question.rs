//! What is asked for: a name and a type of records.
//!
//! The one design choice: a question is kept as the bytes that it has in a message, in lower case,
//! so that it is compared and looked up as it comes, without a copy.

use std::fmt;
use std::net::IpAddr;

use domain::base::name::{Name, ToName};
use domain::base::{Message, MessageBuilder, Rtype, iana::Class};

/// A type of records, as registered for DNS (RFC 1035, section 3.2.2, and its successors).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// An address of IPv4.
    pub const A: Self = Self(1);
    /// The name that a name stands for.
    pub const CNAME: Self = Self(5);
    /// The beginning of a zone; says how long a negative answer lasts.
    pub const SOA: Self = Self(6);
    /// The name of an address.
    pub const PTR: Self = Self(12);
    /// An address of IPv6.
    pub const AAAA: Self = Self(28);
    /// Where a service is (RFC 2782).
    pub const SRV: Self = Self(33);

    /// Whether it is one of addresses.
    pub fn is_address(self) -> bool {
        self == Self::A || self == Self::AAAA
    }

    pub(crate) fn rtype(self) -> Rtype {
        Rtype::from_int(self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rtype().fmt(f)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadName;

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a name has letters, digits, `-` and `_` between its dots, at most 63 of them, and at \
             most 253 in all",
        )
    }
}

impl std::error::Error for BadName {}

/// What is asked for; of class IN.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question(Box<[u8]>);

impl Question {
    /// Asks for records of `name`, with or without a dot at its end.
    pub fn new(name: &str, kind: Kind) -> Result<Self, BadName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(BadName);
        }
        let name = Name::vec_from_str(name).map_err(|_| BadName)?;
        Ok(Self::of(&name, kind))
    }

    /// Asks for the name of an address.
    pub fn reverse(ip: IpAddr) -> Self {
        let name = Name::<Vec<u8>>::reverse_from_addr(ip).expect("an address has a name");
        Self::of(&name, Kind::PTR)
    }

    /// Asks for records of this name.
    pub(crate) fn of(name: &impl ToName, kind: Kind) -> Self {
        let mut bytes = name.to_vec().into_octets();
        bytes.make_ascii_lowercase();
        bytes.extend_from_slice(&kind.0.to_be_bytes());
        Self(bytes.into())
    }

    /// The question that has this key.
    pub(crate) fn of_key(key: &[u8]) -> Self {
        Self(key.into())
    }

    /// The question as the cache knows it: the name as in a message, in lower case, then the type.
    pub(crate) fn key(&self) -> &[u8] {
        &self.0
    }

    /// The name, as in a message and in lower case.
    pub(crate) fn wire_name(&self) -> &[u8] {
        &self.0[..self.0.len() - 2]
    }

    pub(crate) fn parsed_name(&self) -> &Name<[u8]> {
        Name::from_slice(self.wire_name()).expect("a question has a name")
    }

    /// The name without a dot at its end; `.` is the root.
    pub fn name(&self) -> String {
        self.parsed_name().to_string()
    }

    /// The type of records.
    pub fn kind(&self) -> Kind {
        let [.., high, low] = &*self.0 else { unreachable!("a question ends in a type") };
        Kind(u16::from_be_bytes([*high, *low]))
    }

    /// The same type of another name.
    pub(crate) fn renamed(&self, name: &impl ToName) -> Self {
        Self::of(name, self.kind())
    }

    /// The message that asks for it, of this id; EDNS says how long a datagram may be (RFC 6891).
    pub fn message(&self, id: u16, datagram_bytes: u16) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(id);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        builder
            .push((self.parsed_name(), self.kind().rtype(), Class::IN))
            .expect("a vector has room");
        let mut builder = builder.additional();
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(datagram_bytes);
                Ok(())
            })
            .expect("a vector has room");
        builder.finish()
    }

    /// Whether this message has this question, and no other.
    pub(crate) fn is_in(&self, message: &Message<&[u8]>) -> bool {
        message.sole_question().is_ok_and(|question| {
            question.qclass() == Class::IN
                && question.qtype() == self.kind().rtype()
                && question.qname().name_eq(self.parsed_name())
        })
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.parsed_name(), self.kind())
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
