//! Access rules: who may ask, by address and by method.
//!
//! The one design choice: the first rule that fits decides, as in a packet filter; where none
//! fits, the default does.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use medusa_core::Peer;

use crate::extension::{Exchange, Extension, Handled, Request};
use crate::reply::Reply;
use crate::wire::head::Method;

/// Rules of one extension.
pub const MAX_ACCESS_RULES: usize = 4096;

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The request goes on.
    Allow,
    /// It is answered 403.
    Deny,
}

/// Whom a rule is about. Written `all`, `unix`, an address, or a network like `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everyone.
    All,
    /// Processes on this machine, over a Unix-domain socket.
    Unix,
    /// The addresses of a network; one of IPv4 also where it is written as IPv6
    /// (`::ffff:10.0.0.0/104`).
    Net(IpNet),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// What it decides.
    pub action: Action,
    /// About whom.
    pub from: Who,
    /// About which methods; none are all.
    pub methods: Vec<Method>,
}

/// Why there cannot be such rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// This is no address and no network.
    NoNetwork(String),
    /// This network has bits behind its prefix; the other one is meant.
    BitsBehindPrefix(String, IpNet),
    /// There are more than [`MAX_ACCESS_RULES`].
    TooMany,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNetwork(text) => write!(
                f,
                "`{}` is nobody's address; write `all`, `unix`, an address, or a network like \
                 10.0.0.0/8 or 2001:db8::/32",
                text.escape_debug()
            ),
            Self::BitsBehindPrefix(text, meant) => {
                write!(f, "`{text}` has bits behind its prefix; write `{meant}`")
            }
            Self::TooMany => write!(f, "there are more than {MAX_ACCESS_RULES} rules"),
        }
    }
}

impl std::error::Error for AccessError {}

impl FromStr for Who {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        match text {
            "all" => return Ok(Self::All),
            "unix" => return Ok(Self::Unix),
            _ => {}
        }
        let net = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().map_err(|_| AccessError::NoNetwork(text.to_owned()))?,
        };
        if net != net.trunc() {
            return Err(AccessError::BitsBehindPrefix(text.to_owned(), net.trunc()));
        }
        Ok(Self::Net(plain(net)))
    }
}

/// A network of IPv4 addresses that are written as IPv6 as what it is (RFC 4291, section
/// 2.5.5.2).
fn plain(net: IpNet) -> IpNet {
    if let IpNet::V6(six) = net
        && let Some(len) = six.prefix_len().checked_sub(96)
        && let Some(four) = six.addr().to_ipv4_mapped()
        && let Ok(four) = Ipv4Net::new(four, len)
    {
        return four.into();
    }
    net
}

impl Who {
    fn is(&self, peer: &Peer) -> bool {
        match self {
            Self::All => true,
            Self::Unix => *peer == Peer::Unix,
            Self::Net(net) => peer.ip().is_some_and(|ip| net.contains(&ip.to_canonical())),
        }
    }
}

/// Lets requests pass or answers 403, by rules.
pub struct Access {
    rules: Vec<AccessRule>,
    default: Action,
}

impl Access {
    /// Goes by these rules in their order; where none fits, by the default.
    pub fn new(rules: Vec<AccessRule>, default: Action) -> Result<Self, AccessError> {
        if rules.len() > MAX_ACCESS_RULES {
            return Err(AccessError::TooMany);
        }
        Ok(Self { rules, default })
    }

    fn decide(&self, peer: &Peer, method: Method) -> Action {
        let fits = |rule: &&AccessRule| {
            (rule.methods.is_empty() || rule.methods.contains(&method)) && rule.from.is(peer)
        };
        self.rules.iter().find(fits).map_or(self.default, |rule| rule.action)
    }
}

impl Extension for Access {
    fn name(&self) -> &'static str {
        "access"
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle(&self, request: &Request<'_>, _: &mut Exchange<'_>) -> Handled {
        match self.decide(&request.peer, request.head.method) {
            Action::Allow => Handled::Pass,
            Action::Deny => Handled::Now(Reply::text(403, "this is not for you")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn peer(text: &str) -> Peer {
        match text {
            "unix" => Peer::Unix,
            "unknown" => Peer::Unknown,
            _ => match text.parse().unwrap() {
                IpAddr::V4(ip) => Peer::V4(ip, 1),
                // Not made canonical, as sockets' addresses are.
                IpAddr::V6(ip) => Peer::V6(Ipv6Addr::octets(&ip), 1),
            },
        }
    }

    #[test]
    fn rules_say_whom_they_are_about() {
        for (from, yes, no) in [
            ("all", &["10.0.0.1", "::1", "unix", "unknown"][..], &[][..]),
            ("unix", &["unix"], &["unknown", "127.0.0.1"]),
            ("10.0.0.0/8", &["10.255.0.1", "::ffff:10.0.0.1"], &["11.0.0.0", "::a00:1", "unix"]),
            ("10.0.0.1", &["10.0.0.1", "::ffff:10.0.0.1"], &["10.0.0.2"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.0.0.1"], &["11.0.0.0"]),
            ("::ffff:10.0.0.1", &["10.0.0.1"], &["10.0.0.2"]),
            ("0.0.0.0/0", &["1.2.3.4", "::ffff:1.2.3.4"], &["::1", "unix", "unknown"]),
            ("::/0", &["::1", "2001:db8::1"], &["1.2.3.4", "unix"]),
            ("2001:db8::/33", &["2001:db8:7fff::1"], &["2001:db8:8000::1"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
        ] {
            let from: Who = from.parse().unwrap();
            for text in yes {
                assert!(from.is(&peer(text)), "{from:?} {text}");
            }
            for text in no {
                assert!(!from.is(&peer(text)), "{from:?} {text}");
            }
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0", "10.0.0.0/33", "::/129", "example.org", "ALL", "10.0.0.0/", "/8"]
        {
            let refused = text.parse::<Who>();
            assert_eq!(refused, Err(AccessError::NoNetwork(text.to_owned())), "{text}");
        }
        let refused = "10.0.0.1/8".parse::<Who>().unwrap_err().to_string();
        assert!(refused.contains("`10.0.0.0/8`"), "{refused}");
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rule = |action, from: &str, methods: &[Method]| AccessRule {
            action,
            from: from.parse().unwrap(),
            methods: methods.to_vec(),
        };
        let rules = vec![
            rule(Action::Deny, "10.0.0.13", &[]),
            rule(Action::Allow, "10.0.0.0/8", &[]),
            rule(Action::Allow, "all", &[Method::Get, Method::Head]),
        ];
        let access = Access::new(rules.clone(), Action::Deny).unwrap();
        for (from, method, action) in [
            ("10.0.0.13", Method::Get, Action::Deny),
            ("10.0.0.14", Method::Put, Action::Allow),
            ("192.0.2.1", Method::Get, Action::Allow),
            ("192.0.2.1", Method::Put, Action::Deny),
            ("unix", Method::Head, Action::Allow),
            ("unix", Method::Post, Action::Deny),
        ] {
            assert_eq!(access.decide(&peer(from), method), action, "{from} {method}");
        }
        let open = Access::new(rules, Action::Allow).unwrap();
        assert_eq!(open.decide(&peer("unix"), Method::Post), Action::Allow);
        let many = vec![rule(Action::Deny, "all", &[]); MAX_ACCESS_RULES + 1];
        assert_eq!(Access::new(many, Action::Allow).err(), Some(AccessError::TooMany));
    }
}
