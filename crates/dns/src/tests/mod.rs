//! The resolver under virtual time, against servers that the tests play.

mod cache;
mod forward;
mod resolver;
mod wire;

use std::net::{IpAddr, SocketAddr};

use domain::base::iana::{Class, Rcode};
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder, Ttl};
use domain::rdata::{A, Aaaa, Cname, Soa};

use crate::wire::Question;

pub(super) fn name(text: &str) -> Name<Vec<u8>> {
    Name::vec_from_str(text).expect("a name")
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// What a server is to answer with.
pub(super) enum Record<'a> {
    /// An address.
    Ip(&'a str, u32, &'a str),
    /// An alias.
    Alias(&'a str, u32, &'a str),
}

/// The answer to a message that asks something.
pub(super) fn answer(asked: &[u8], records: &[Record<'_>]) -> Vec<u8> {
    let asked = Message::from_octets(asked).expect("a message");
    let mut builder = MessageBuilder::new_vec().start_answer(&asked, Rcode::NOERROR).expect("room");
    for record in records {
        match *record {
            Record::Ip(owner, ttl, text) => match ip(text) {
                IpAddr::V4(ip) => {
                    builder.push((name(owner), Ttl::from_secs(ttl), A::new(ip))).expect("room");
                }
                IpAddr::V6(ip) => {
                    builder.push((name(owner), Ttl::from_secs(ttl), Aaaa::new(ip))).expect("room");
                }
            },
            Record::Alias(owner, ttl, target) => {
                let data = Cname::new(name(target));
                builder.push((name(owner), Ttl::from_secs(ttl), data)).expect("room");
            }
        }
    }
    builder.finish()
}

/// The answer that there is nothing, known for so many seconds.
pub(super) fn nothing(asked: &[u8], code: Rcode, seconds: u32) -> Vec<u8> {
    let asked = Message::from_octets(asked).expect("a message");
    let builder = MessageBuilder::new_vec().start_answer(&asked, code).expect("room");
    let mut builder = builder.authority();
    let times = Ttl::from_secs(seconds);
    let soa =
        Soa::new(name("ns.example"), name("op.example"), 1.into(), times, times, times, times);
    builder.push((name("example"), Class::IN, Ttl::from_secs(3600), soa)).expect("room");
    builder.finish()
}

pub(super) fn question(text: &str, kind: crate::wire::Kind) -> Question {
    Question::new(text, kind).expect("a question")
}

pub(super) fn server(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
