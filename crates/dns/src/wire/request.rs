//! What clients of the forwarder ask, and replies to them.
//!
//! The one design choice: a reply is a copy of the kept message with the client's own id, flags and
//! question, and with what is left of the times to live.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::{Label, ToName};
use domain::base::opt::{Opt, OptRecord};
use domain::base::{Message, MessageBuilder, Rtype, Ttl};
use domain::rdata::{A, Aaaa, Ptr};

use super::answer::Answer;
use super::question::{Kind, Question};
use crate::limits::{LOCAL_TTL, PLAIN_DATAGRAM};

/// Bytes of the head of a message.
const HEAD: usize = 12;

/// A request that can be answered.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The head and the question, as the client sent them.
    bytes: Box<[u8]>,
    /// What is asked.
    pub(crate) question: Question,
    /// Bytes that a datagram to the client may have.
    datagram: usize,
    /// The client speaks EDNS.
    edns: bool,
}

/// A message that is not answered with what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is no question at all: no reply, so that two servers never answer each other.
    Nothing,
    /// It is answered with an error.
    Error(Vec<u8>),
}

impl Request {
    /// Reads what a client sent.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unfit> {
        let message = Message::from_octets(bytes).map_err(|_| Unfit::Nothing)?;
        let header = message.header();
        if header.qr() {
            return Err(Unfit::Nothing);
        }
        let error = |code| Unfit::Error(refusal(&message, code));
        if header.opcode() != Opcode::QUERY {
            return Err(error(Rcode::NOTIMP));
        }
        let question = message.sole_question().map_err(|_| error(Rcode::FORMERR))?;
        if question.qname().is_compressed() {
            return Err(error(Rcode::FORMERR));
        }
        let kind = question.qtype();
        let end = message.answer().map_err(|_| error(Rcode::FORMERR))?.pos();
        let (edns, datagram) = options(&message).map_err(error)?;
        let request = Self {
            bytes: bytes[..end].into(),
            question: Question::of(question.qname(), Kind(kind.to_int())),
            datagram,
            edns,
        };
        let transfer = matches!(kind, Rtype::AXFR | Rtype::IXFR | Rtype::ANY | Rtype::OPT);
        if question.qclass() != Class::IN || transfer {
            return Err(Unfit::Error(request.failure(Rcode::NOTIMP)));
        }
        Ok(request)
    }

    /// Bytes that a datagram to the client may have.
    pub(crate) fn datagram(&self) -> usize {
        self.datagram
    }

    /// Writes the reply; one that would be longer than `room` says only that it is.
    pub(crate) fn reply(&self, answer: &Answer, left: u32, room: usize, out: &mut Vec<u8>) {
        let options = if self.edns { OPTIONS.len() } else { 0 };
        let truncated = answer.message.len() + options > room;
        out.clear();
        self.begin(answer.message[3] & 0xf, truncated, out);
        let begin = self.bytes.len();
        if !truncated {
            out[6..10].copy_from_slice(&answer.message[6..10]);
            // The names are the same but for their case, so everything stands where it stood.
            out.extend_from_slice(&answer.message[begin..]);
            for at in answer.lives.iter().map(|at| usize::from(*at)) {
                if let Some(Ok(life)) = out.get(at..at + 4).map(<[u8; 4]>::try_from) {
                    let life = u32::from_be_bytes(life).min(left);
                    out[at..at + 4].copy_from_slice(&life.to_be_bytes());
                }
            }
        }
        self.end(out);
    }

    /// The reply that no server has answered.
    pub(crate) fn no_answer(&self) -> Vec<u8> {
        self.failure(Rcode::SERVFAIL)
    }

    fn failure(&self, code: Rcode) -> Vec<u8> {
        let mut out = Vec::new();
        self.begin(code.to_int(), false, &mut out);
        self.end(&mut out);
        out
    }

    /// Writes a reply with addresses, or a name, that this machine knows itself; those that are
    /// not of the type asked for are left out.
    pub(crate) fn known(&self, ips: &[IpAddr], name: Option<&str>, out: &mut Vec<u8>) {
        let message = Message::from_octets(&self.bytes[..]).expect("it was read");
        let mut builder = MessageBuilder::new_vec()
            .start_answer(&message, Rcode::NOERROR)
            .expect("a vector has room");
        builder.header_mut().set_ra(true);
        let owner = self.question.parsed_name();
        let life = Ttl::from_secs(LOCAL_TTL);
        for ip in ips {
            let pushed = match (ip, self.question.kind()) {
                (IpAddr::V4(ip), Kind::A) => builder.push((owner, life, A::new(*ip))),
                (IpAddr::V6(ip), Kind::AAAA) => builder.push((owner, life, Aaaa::new(*ip))),
                _ => Ok(()),
            };
            pushed.expect("a vector has room");
        }
        if let Some(name) = name
            && let Ok(target) = Question::new(name, Kind::PTR)
        {
            let target = target.parsed_name().to_vec();
            builder.push((owner, life, Ptr::new(target))).expect("a vector has room");
        }
        *out = builder.finish();
        self.end(out);
    }

    /// The head and the question.
    fn begin(&self, code: u8, truncated: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
        // QR, the client's opcode (0) and RD; RA, and the client's CD.
        out[2] = 0x80 | (self.bytes[2] & 0x01) | if truncated { 0x02 } else { 0 };
        out[3] = 0x80 | (self.bytes[3] & 0x10) | code;
        out[6..HEAD].fill(0);
    }

    /// The options that a client that speaks EDNS gets.
    fn end(&self, out: &mut Vec<u8>) {
        if self.edns {
            out[10..HEAD].copy_from_slice(&[0, 1]);
            out.extend_from_slice(&OPTIONS);
        }
    }
}

/// An OPT record that offers to take datagrams of 1232 bytes (RFC 6891).
const OPTIONS: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

/// Whether a client speaks EDNS, and how long a datagram to it may be.
fn options(message: &Message<&[u8]>) -> Result<(bool, usize), Rcode> {
    let mut found = None;
    let additional = message.additional().map_err(|_| Rcode::FORMERR)?;
    for record in additional {
        let record = record.map_err(|_| Rcode::FORMERR)?;
        if record.rtype() != Rtype::OPT {
            continue;
        }
        let record = record.to_record::<Opt<&[u8]>>().map_err(|_| Rcode::FORMERR)?;
        let record = OptRecord::from_record(record.ok_or(Rcode::FORMERR)?);
        if found.is_some() || record.version() != 0 {
            return Err(Rcode::FORMERR);
        }
        found = Some(usize::from(record.udp_payload_size()).max(PLAIN_DATAGRAM));
    }
    Ok((found.is_some(), found.unwrap_or(PLAIN_DATAGRAM)))
}

/// An error for a message that need not have a question.
fn refusal(message: &Message<&[u8]>, code: Rcode) -> Vec<u8> {
    let mut head = message.as_slice()[..HEAD].to_vec();
    head[2] = 0x80 | (head[2] & 0x79);
    head[3] = 0x80 | (head[3] & 0x10) | code.to_int();
    head[4..].fill(0);
    head
}

/// A reply that tells a client that it may not ask here.
pub(crate) fn refused(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = Message::from_octets(bytes).ok()?;
    (!message.header().qr()).then(|| refusal(&message, Rcode::REFUSED))
}

/// The name that is meant by a question for the name of an address.
pub(crate) fn reversed(question: &Question) -> Option<IpAddr> {
    if question.kind() != Kind::PTR {
        return None;
    }
    let labels: Vec<_> = question.parsed_name().iter().map(Label::as_slice).collect();
    match labels.as_slice() {
        [digits @ .., b"in-addr", b"arpa", b""] if digits.len() == 4 => {
            let mut bytes = [0; 4];
            for (byte, digits) in bytes.iter_mut().rev().zip(digits) {
                *byte = std::str::from_utf8(digits).ok()?.parse().ok()?;
            }
            Some(bytes.into())
        }
        [digits @ .., b"ip6", b"arpa", b""] if digits.len() == 32 => {
            let mut number = 0_u128;
            for digit in digits.iter().rev() {
                let [digit] = digit else { return None };
                number = number << 4 | u128::from(char::from(*digit).to_digit(16)?);
            }
            Some(number.to_be_bytes().into())
        }
        _ => None,
    }
}
