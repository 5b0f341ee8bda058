//! Answers: checked against their question, and cut down to what is kept.
//!
//! The one design choice: of an answer the message is kept, up to the end of its authority section,
//! with the places of its times to live. So a forwarder answers with a copy of it, whatever types
//! of records it has, and nothing is written anew.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::{ParsedName, ToName};
use domain::base::{Message, ParsedRecord};
use domain::rdata::{A, Aaaa, Cname, Ptr, Soa, Srv};

use super::question::{Kind, Question};
use crate::limits::{MAX_ALIASES, MAX_RECORDS};

/// Why a message is no answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not for this question: somebody else's, an old one, or a forgery. The right one may
    /// still come.
    Foreign,
    /// It is cut short: it is to be asked for over TCP.
    Truncated,
    /// It cannot be read.
    Malformed,
    /// The server says that it failed, or does not want to answer.
    Refused,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The message, up to the end of the authority section; the id in it is of no meaning.
    pub(crate) message: Box<[u8]>,
    /// Where the times to live stand in it.
    pub(crate) lives: Box<[u16]>,
    /// Seconds that it may be kept.
    pub(crate) life: u32,
    /// What was found, in the order of the answer.
    pub found: Found,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There is no such name.
    NoName,
    /// The name has no records of this type.
    Nothing,
    /// Addresses.
    Addresses(Box<[IpAddr]>),
    /// Names that an address has.
    Names(Box<[String]>),
    /// Places of a service.
    Services(Box<[Target]>),
    /// Only what the name stands for: that is to be asked for in its turn.
    Alias(Question),
    /// Records of other types.
    Others,
}

/// A place of a service (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Lower ones first.
    pub priority: u16,
    /// Among those of one priority, how often it is to be chosen.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its host.
    pub host: String,
}

impl Answer {
    /// Reads a message that is to be the answer to `question`, asked with this id.
    pub fn read(bytes: &[u8], id: u16, question: &Question) -> Result<Self, Fault> {
        let message = Message::from_octets(bytes).map_err(|_| Fault::Foreign)?;
        let header = message.header();
        let ours = header.qr() && header.opcode() == Opcode::QUERY && header.id() == id;
        if !ours || !question.is_in(&message) {
            return Err(Fault::Foreign);
        }
        let code = header.rcode();
        if code != Rcode::NOERROR && code != Rcode::NXDOMAIN {
            return Err(Fault::Refused);
        }
        if header.tc() {
            return Err(Fault::Truncated);
        }
        Self::of(&message, question).ok_or(Fault::Malformed)
    }

    fn of(message: &Message<&[u8]>, question: &Question) -> Option<Self> {
        let mut lives = Vec::new();
        let mut life = u32::MAX;
        let mut gathered = Gathered::new(question);
        let mut section = message.answer().ok()?;
        // What follows may have lost its order: aliases are followed over the whole section.
        let mut records = Vec::new();
        while let Some(record) = section.next() {
            let record = record.ok()?;
            lives.push(
                u16::try_from(section.pos().checked_sub(usize::from(record.rdlen()) + 6)?).ok()?,
            );
            if lives.len() > MAX_RECORDS {
                return None;
            }
            life = life.min(record.ttl().as_secs());
            records.push(record);
        }
        gathered.follow(&records)?;
        let mut section = section.next_section().ok()??;
        let mut zone = None;
        while let Some(record) = section.next() {
            let record = record.ok()?;
            lives.push(
                u16::try_from(section.pos().checked_sub(usize::from(record.rdlen()) + 6)?).ok()?,
            );
            if lives.len() > MAX_RECORDS {
                return None;
            }
            if record.rtype() == Kind::SOA.rtype() {
                let soa = record.to_record::<Soa<ParsedName<&[u8]>>>().ok()??;
                // RFC 2308, section 5: how long there is known to be nothing.
                zone = Some(record.ttl().as_secs().min(soa.data().minimum().as_secs()));
            }
        }
        let end = section.pos();
        let found = gathered.found(message.header().rcode() == Rcode::NXDOMAIN);
        if matches!(found, Found::NoName | Found::Nothing) {
            // Without a zone's word it is not to be kept at all.
            life = life.min(zone.unwrap_or(0));
        }
        let mut kept = message.as_slice()[..end].to_vec();
        // No additional records: their section is cut off.
        kept[10..12].fill(0);
        Some(Self { message: kept.into(), lives: lives.into(), life, found })
    }

    /// Whether it says that there is nothing.
    pub fn is_negative(&self) -> bool {
        matches!(self.found, Found::NoName | Found::Nothing)
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let found = match &self.found {
            Found::Addresses(all) => size_of_val(&**all),
            Found::Names(all) => all.iter().map(|name| name.len() + size_of::<String>()).sum(),
            Found::Services(all) => all.iter().map(|t| t.host.len() + size_of::<Target>()).sum(),
            Found::Alias(question) => question.key().len(),
            Found::NoName | Found::Nothing | Found::Others => 0,
        };
        size_of::<Self>() + self.message.len() + size_of_val(&*self.lives) + found
    }
}

/// Picks what was asked for out of an answer's records.
struct Gathered<'a> {
    question: &'a Question,
    /// What the name stands for at the end of its aliases.
    name: Question,
    aliases: usize,
    addresses: Vec<IpAddr>,
    names: Vec<String>,
    services: Vec<Target>,
    others: bool,
}

impl<'a> Gathered<'a> {
    fn new(question: &'a Question) -> Self {
        Self {
            question,
            name: question.clone(),
            aliases: 0,
            addresses: Vec::new(),
            names: Vec::new(),
            services: Vec::new(),
            others: false,
        }
    }

    /// Follows the aliases and takes the records of the last name; nothing when it is malformed.
    fn follow(&mut self, records: &[ParsedRecord<'_, &[u8]>]) -> Option<()> {
        let kind = self.question.kind();
        if kind != Kind::CNAME {
            while let Some(alias) = self.alias(records) {
                let target = alias.to_record::<Cname<ParsedName<&[u8]>>>().ok()??;
                self.aliases += 1;
                if self.aliases > MAX_ALIASES {
                    return None;
                }
                self.name = self.question.renamed(target.data().cname());
            }
        }
        for record in records {
            if record.class() != Class::IN
                || record.rtype() != kind.rtype()
                || !record.owner().name_eq(self.name.parsed_name())
            {
                continue;
            }
            match kind {
                Kind::A => {
                    let data = record.to_record::<A>().ok()??;
                    self.addresses.push(data.data().addr().into());
                }
                Kind::AAAA => {
                    let data = record.to_record::<Aaaa>().ok()??;
                    self.addresses.push(data.data().addr().into());
                }
                Kind::PTR => {
                    let data = record.to_record::<Ptr<ParsedName<&[u8]>>>().ok()??;
                    self.names.push(data.data().ptrdname().to_string());
                }
                Kind::SRV => {
                    let data = record.to_record::<Srv<ParsedName<&[u8]>>>().ok()??;
                    let data = data.data();
                    self.services.push(Target {
                        priority: data.priority(),
                        weight: data.weight(),
                        port: data.port(),
                        host: data.target().to_string(),
                    });
                }
                _ => self.others = true,
            }
        }
        Some(())
    }

    /// The record that says what the name stands for, if it is an alias.
    fn alias<'r, 'm>(
        &self,
        records: &'r [ParsedRecord<'m, &'m [u8]>],
    ) -> Option<&'r ParsedRecord<'m, &'m [u8]>> {
        records.iter().find(|record| {
            record.class() == Class::IN
                && record.rtype() == Kind::CNAME.rtype()
                && record.owner().name_eq(self.name.parsed_name())
        })
    }

    fn found(self, no_name: bool) -> Found {
        if !self.addresses.is_empty() {
            Found::Addresses(self.addresses.into())
        } else if !self.names.is_empty() {
            Found::Names(self.names.into())
        } else if !self.services.is_empty() {
            Found::Services(self.services.into())
        } else if self.others {
            Found::Others
        } else if no_name {
            Found::NoName
        } else if self.aliases > 0 {
            Found::Alias(self.name)
        } else {
            Found::Nothing
        }
    }
}
