//! `[server.passive]`: where clients are told to connect.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use medusa_ftp::{Announced, Announcement, FtpSettings};

use crate::config::kind::{List, Parsed};
use crate::config::limits::network;
use crate::config::section::Section;

/// Addresses that are announced by one server.
const MAX_ANNOUNCED: usize = 256;

/// Networks to which one address is announced.
const MAX_NETWORKS: usize = 64;

/// Bytes of the name of a machine (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

fn ports() -> Parsed<RangeInclusive<u16>> {
    Parsed {
        what: "a range of ports, as \"50000-50999\"",
        parse: |text| {
            let ports = text.split_once('-').ok_or("there is no `-` in it")?;
            let port = |text: &str| text.trim().parse().ok().filter(|port: &u16| *port > 0);
            match (port(ports.0), port(ports.1)) {
                (Some(first), Some(last)) if first <= last => Ok(first..=last),
                _ => Err("ports are from 1 to 65535, the lower one first".to_owned()),
            }
        },
        write: |ports| format!("{}-{}", ports.start(), ports.end()),
    }
}

fn announced() -> Parsed<Announced> {
    Parsed {
        what: "an address of IPv4, or the name of a machine",
        parse: |text| {
            if let Ok(address) = text.parse::<Ipv4Addr>() {
                return Ok(Announced::Address(address));
            }
            if text.parse::<IpAddr>().is_ok() {
                return Err("of IPv6 nothing is announced: EPSV tells only the port".to_owned());
            }
            let is_label = |label: &str| {
                let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                !label.is_empty() && label.chars().all(fits)
            };
            let name = text.strip_suffix('.').unwrap_or(text);
            if name.len() > MAX_NAME || !name.split('.').all(is_label) {
                return Err("it is neither".to_owned());
            }
            Ok(Announced::Name(text.to_owned()))
        },
        write: |announced| match announced {
            Announced::Address(address) => address.to_string(),
            Announced::Name(name) => name.clone(),
        },
    }
}

/// Reads it into the settings.
pub(super) fn passive(section: &mut Section<'_>, settings: &mut FtpSettings) {
    settings.passive_ports = section.maybe(
        "ports",
        "The ports that clients are told to connect to, chosen at random. Left out: 61000-65535, \
         which Linux does not give to clients, and any that the system chooses when those are in use.",
        &ports(),
    );
    let announce = section.tables(
        "announce",
        "The address that PASV announces to clients of some networks; the first that fits counts. \
         To others it announces the one that the client has connected to, as is right without a \
         translation of addresses (NAT, containers). EPSV announces none.",
        MAX_ANNOUNCED,
        announcement,
    );
    settings.announce = announce.into_iter().flatten().flatten().collect();
}

fn announcement(section: &mut Section<'_>) -> Option<Vec<Announcement>> {
    let address = section.needed(
        "address",
        "The address, or a name that has it, which is looked up now and then; while that fails, \
         the last one holds.",
        &announced(),
    );
    let everybody = IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let everybody = everybody.expect("0 bits are within an address");
    let to = section.or(
        "to",
        "The networks that these clients are in. Left out: all of IPv4.",
        &List(network(), 1..=MAX_NETWORKS),
        vec![everybody],
    );
    let address = address?;
    Some(to.into_iter().map(|to| Announcement { to, address: address.clone() }).collect())
}
