//! What the machine says about names: `/etc/resolv.conf` and `/etc/hosts`.
//!
//! The one design choice: both are read by helper threads, as a whole, when something is asked and
//! they were not looked at for a while; what cannot be understood in them is passed over, as by
//! every other reader of them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::limits::{FILE_BYTES, MAX_SEARCH, MAX_SERVERS};

/// What resolv.conf says (resolv.conf(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolv {
    /// Servers, in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// Domains in which a short name is looked for.
    pub search: Vec<String>,
    /// A name with so many dots is first looked for as it is.
    pub ndots: usize,
    /// How long a server has to answer.
    pub timeout: Duration,
    /// How often all servers are asked.
    pub attempts: u32,
    /// Each question begins with another server.
    pub rotate: bool,
}

impl Default for Resolv {
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
        }
    }
}

impl Resolv {
    /// Reads the text of a resolv.conf.
    pub fn parse(text: &str) -> Self {
        let mut read = Self { servers: Vec::new(), ..Self::default() };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => read.server(words.next().unwrap_or_default()),
                Some("domain") => read.search = words.take(1).map(domain).collect(),
                Some("search") => read.search = words.take(MAX_SEARCH).map(domain).collect(),
                Some("options") => words.for_each(|word| read.option(word)),
                _ => {}
            }
        }
        if read.servers.is_empty() {
            read.servers = Self::default().servers;
        }
        read
    }

    fn server(&mut self, word: &str) {
        // A zone (`fe80::1%eth0`) names an interface; it is left to the system's table of routes.
        let address = word.split('%').next().unwrap_or_default();
        if let Ok(ip) = address.parse::<IpAddr>()
            && self.servers.len() < MAX_SERVERS
        {
            self.servers.push(SocketAddr::new(ip, 53));
        }
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = value.parse::<u32>().ok();
        match (name, number) {
            // The bounds are those of glibc.
            ("ndots", Some(n)) => self.ndots = n.min(15) as usize,
            ("timeout", Some(n)) => self.timeout = Duration::from_secs(n.clamp(1, 30).into()),
            ("attempts", Some(n)) => self.attempts = n.clamp(1, 5),
            ("rotate", _) => self.rotate = true,
            _ => {}
        }
    }

    /// The names to ask for, in order, for what a user wrote.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(name) = name.strip_suffix('.') {
            return vec![name.to_owned()];
        }
        let within = self.search.iter().filter(|domain| !domain.is_empty());
        let mut all: Vec<_> = within.map(|domain| format!("{name}.{domain}")).collect();
        if name.bytes().filter(|b| *b == b'.').count() >= self.ndots {
            all.insert(0, name.to_owned());
        } else {
            all.push(name.to_owned());
        }
        all
    }
}

fn domain(word: &str) -> String {
    word.trim_end_matches('.').to_ascii_lowercase()
}

/// What the hosts file says (hosts(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    addresses: HashMap<String, Vec<IpAddr>>,
    names: HashMap<IpAddr, String>,
}

impl Hosts {
    /// Reads the text of a hosts file.
    pub fn parse(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(ip) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
                continue;
            };
            for (i, name) in words.enumerate() {
                let name = domain(name);
                if i == 0 {
                    read.names.entry(ip).or_insert_with(|| name.clone());
                }
                let addresses = read.addresses.entry(name).or_default();
                if !addresses.contains(&ip) {
                    addresses.push(ip);
                }
            }
        }
        read
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The addresses of a name; `localhost` and what is below it has them always (RFC 6761,
    /// section 6.3).
    pub fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = domain(name);
        if let Some(found) = self.addresses.get(&name) {
            return Some(found.clone());
        }
        let is_local = name == "localhost" || name.ends_with(".localhost");
        is_local.then(|| vec![std::net::Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()])
    }

    /// The name of an address.
    pub fn name(&self, ip: IpAddr) -> Option<&str> {
        self.names.get(&ip).map(String::as_str)
    }
}

/// Where the two files are, and what they were like when they were read last.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) resolv: PathBuf,
    pub(crate) hosts: PathBuf,
    seen: Option<(Stamp, Stamp)>,
}

/// By what a change of a file is known.
type Stamp = Option<(SystemTime, u64)>;

impl Files {
    pub(crate) fn new(resolv: &Path, hosts: &Path) -> Self {
        Self { resolv: resolv.to_owned(), hosts: hosts.to_owned(), seen: None }
    }

    /// Reads both if either has changed; blocks. A file that is not there is empty.
    pub(crate) fn read(&mut self) -> Option<(Resolv, Hosts)> {
        let now = (stamp(&self.resolv), stamp(&self.hosts));
        if self.seen.as_ref() == Some(&now) {
            return None;
        }
        self.seen = Some(now);
        Some((Resolv::parse(&text(&self.resolv)), Hosts::parse(&text(&self.hosts))))
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn text(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => {
            if e.kind() != io::ErrorKind::NotFound {
                tracing::warn!("{} cannot be read: {e}", path.display());
            }
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_by_others() {
        let read = Resolv::parse(
            "# comment\nnameserver 10.0.0.1\nnameserver fe80::1%eth0 ; more\nnameserver nonsense\n\
             domain old.example\nsearch a.example. B.example\n\
             options ndots:2 timeout:99 attempts:0 rotate unknown:3\n",
        );
        assert_eq!(read.servers, ["10.0.0.1:53", "[fe80::1]:53"].map(|s| s.parse().expect("one")));
        assert_eq!(read.search, ["a.example", "b.example"]);
        assert_eq!((read.ndots, read.attempts, read.rotate), (2, 1, true));
        assert_eq!(read.timeout, Duration::from_secs(30));
        assert_eq!(Resolv::parse(""), Resolv::default());
    }

    #[test]
    fn short_names_are_looked_for_in_the_domains_first() {
        let read = Resolv::parse("search a.example b.example\noptions ndots:2");
        assert_eq!(read.candidates("x.y"), ["x.y.a.example", "x.y.b.example", "x.y"]);
        assert_eq!(read.candidates("x.y.z")[0], "x.y.z");
        assert_eq!(read.candidates("x."), ["x"]);
    }

    #[test]
    fn hosts_are_read_as_by_others() {
        let read = Hosts::parse(
            "127.0.0.1 localhost # here\n10.0.0.1 Big.Example big\n::2 big\nnonsense x\n10.0.0.1 big",
        );
        let ips = |texts: &[&str]| -> Option<Vec<IpAddr>> {
            Some(texts.iter().map(|text| text.parse().expect("an address")).collect())
        };
        assert_eq!(read.addresses("BIG"), ips(&["10.0.0.1", "::2"]));
        assert_eq!(read.addresses("localhost"), ips(&["127.0.0.1"]));
        assert_eq!(read.addresses("x.localhost"), ips(&["::1", "127.0.0.1"]));
        assert_eq!(read.addresses("x"), None);
        assert_eq!(read.name(IpAddr::from([10, 0, 0, 1])), Some("big.example"));
    }

    #[test]
    fn files_are_read_again_only_when_they_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let (resolv, hosts) = (dir.path().join("resolv.conf"), dir.path().join("hosts"));
        let mut files = Files::new(&resolv, &hosts);
        let (read, _) = files.read().expect("it was never read");
        assert_eq!(read, Resolv::default());
        assert!(files.read().is_none());
        std::fs::write(&resolv, "nameserver 10.0.0.9").expect("a file");
        let (read, _) = files.read().expect("it has changed");
        assert_eq!(read.servers, [SocketAddr::from(([10, 0, 0, 9], 53))]);
    }
}
