//! Who counts as one client, and what each may do in what time.
//!
//! The one design choice: what is known of clients is bounded, whoever comes. A table has two
//! generations, as a cache has; and since a bucket that is full says nothing, a generation is
//! forgotten as soon as all its buckets must be full again. So the table is exact while its room
//! lasts, and past that the clients that were heard of longest ago begin anew.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::address::Peer;
use crate::handle::Handle;
use crate::limits::{MAX_EXEMPT_NETWORKS, MIN_GENERATION_MS};
use crate::rate::{Bucket, Rate};

/// Which addresses count as one client, and which are no clients at all.
///
/// Peers over Unix-domain sockets are never counted: they are on this machine, and most often
/// another server, which speaks for many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    ipv4_prefix: u8,
    ipv6_prefix: u8,
    exempt: Vec<IpNet>,
}

impl Default for Clients {
    /// One IPv4 address, or the 2^64 of IPv6 that one household gets, are one client.
    fn default() -> Self {
        Self { ipv4_prefix: 32, ipv6_prefix: 64, exempt: Vec::new() }
    }
}

/// Clients cannot be told apart so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientsError {
    /// A prefix is longer than an address: 32 bits, or 128.
    Prefix,
    /// There are more than [`MAX_EXEMPT_NETWORKS`] exempt networks.
    TooManyExempt,
}

impl fmt::Display for ClientsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => f.write_str(
                "the addresses of a client share at most 32 bits of IPv4 and 128 of IPv6",
            ),
            Self::TooManyExempt => {
                write!(f, "there are more than {MAX_EXEMPT_NETWORKS} exempt networks")
            }
        }
    }
}

impl std::error::Error for ClientsError {}

/// One client: the network that its address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client([u8; 16]);

impl Clients {
    /// Takes addresses that share these leading bits as one client, and those in the exempt
    /// networks as none.
    pub fn new(ipv4_prefix: u8, ipv6_prefix: u8, exempt: Vec<IpNet>) -> Result<Self, ClientsError> {
        if ipv4_prefix > 32 || ipv6_prefix > 128 {
            return Err(ClientsError::Prefix);
        }
        if exempt.len() > MAX_EXEMPT_NETWORKS {
            return Err(ClientsError::TooManyExempt);
        }
        Ok(Self { ipv4_prefix, ipv6_prefix, exempt })
    }

    /// The client that this peer is; `None` for one that is not counted.
    pub(crate) fn client(&self, peer: &Peer) -> Option<Client> {
        let ip = peer.ip()?;
        if self.exempt.iter().any(|net| net.contains(&ip)) {
            return None;
        }
        let (bits, prefix) = match ip {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), self.ipv4_prefix + 96),
            IpAddr::V6(ip) => (ip.to_bits(), self.ipv6_prefix),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Some(Client((bits & mask).to_be_bytes()))
    }
}

/// A rate that each client is held to.
pub struct ClientRates {
    rate: Rate,
    clients: Clients,
    /// Clients in one generation.
    room: usize,
    buckets: RefCell<Buckets>,
    refused: Cell<u64>,
}

/// The hash is the slow one that nobody can aim at: clients choose their addresses.
type Generation = HashMap<Client, Bucket>;

#[derive(Default)]
struct Buckets {
    young: Generation,
    old: Generation,
    /// The tick at which the young generation began.
    since: u64,
}

impl ClientRates {
    /// Holds each client to this rate, and remembers at most `room` of them (at least 2).
    pub fn new(rate: Rate, clients: Clients, room: usize) -> Self {
        let (buckets, refused) = Default::default();
        Self { rate, clients, room: (room / 2).max(1), buckets, refused }
    }

    /// Counts one more for this client; says how long it has to wait if that is too many. What is
    /// refused does not count.
    pub fn take(&self, peer: &Peer, handle: &Handle) -> Result<(), Duration> {
        let Some(client) = self.clients.client(peer) else { return Ok(()) };
        let now = handle.tick();
        let taken = self.buckets.borrow_mut().bucket(client, self, now).take(&self.rate, 1, now);
        taken.map_err(|wait| {
            self.refused.set(self.refused.get() + 1);
            Duration::from_millis(wait)
        })
    }

    /// The rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Clients that are remembered at present.
    pub fn known(&self) -> usize {
        let buckets = self.buckets.borrow();
        buckets.young.len() + buckets.old.len()
    }

    /// How often a client had to wait.
    pub fn refused(&self) -> u64 {
        self.refused.get()
    }
}

impl Buckets {
    fn bucket(&mut self, client: Client, rates: &ClientRates, now: u64) -> &mut Bucket {
        let ages = now - self.since >= rates.rate.refill_ms().max(MIN_GENERATION_MS);
        if ages || (self.young.len() >= rates.room && !self.young.contains_key(&client)) {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        let old = &mut self.old;
        self.young.entry(client).or_insert_with(|| old.remove(&client).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::SocketAddr;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    fn peer(text: &str) -> Peer {
        SocketAddr::new(text.parse().expect("an address"), 1).into()
    }

    fn rate(amount: u64, burst: u64) -> Rate {
        Rate::new(amount, Duration::from_secs(1), burst).expect("within the limits")
    }

    /// A clock that reads this many milliseconds.
    fn at(handle: &Handle, start: Instant, ms: u64) {
        handle.set_time(start + Duration::from_millis(ms), Duration::ZERO);
    }

    #[test]
    fn addresses_of_one_household_are_one_client() {
        let clients = Clients::default();
        let same = |a, b| clients.client(&peer(a)) == clients.client(&peer(b));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::2"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(same("10.0.0.1", "::ffff:10.0.0.1"));
        let wide = Clients::new(8, 0, vec!["10.1.0.0/16".parse().expect("a network")]);
        let wide = wide.expect("right");
        assert_eq!(wide.client(&peer("10.0.0.1")), wide.client(&peer("10.200.0.1")));
        assert_eq!(wide.client(&peer("2001:db8::")), wide.client(&peer("fe80::1")));
        assert_ne!(wide.client(&peer("::")), wide.client(&peer("0.0.0.0")));
        for nobody in [peer("10.1.2.3"), peer("::ffff:10.1.2.3"), Peer::Unix, Peer::Unknown] {
            assert_eq!(wide.client(&nobody), None, "{nobody}");
        }
        assert_eq!(Clients::new(33, 64, vec![]), Err(ClientsError::Prefix));
        assert_eq!(Clients::new(32, 129, vec![]), Err(ClientsError::Prefix));
        let many = vec!["::/0".parse().expect("a network"); MAX_EXEMPT_NETWORKS + 1];
        assert_eq!(Clients::new(32, 64, many), Err(ClientsError::TooManyExempt));
    }

    #[test]
    fn each_client_has_its_own_bucket() {
        let start = Instant::now();
        let handle = Handle::new(start, Duration::ZERO);
        let rates = ClientRates::new(rate(2, 3), Clients::default(), 100);
        let (a, b) = (peer("10.0.0.1"), peer("10.0.0.2"));
        for _ in 0..3 {
            assert_eq!(rates.take(&a, &handle), Ok(()));
        }
        assert_eq!(rates.take(&a, &handle), Err(Duration::from_millis(500)));
        assert_eq!(rates.take(&b, &handle), Ok(()));
        assert_eq!((rates.refused(), rates.known()), (1, 2));
        at(&handle, start, 499);
        assert_eq!(rates.take(&a, &handle), Err(Duration::from_millis(1)));
        at(&handle, start, 500);
        assert_eq!(rates.take(&a, &handle), Ok(()));
        assert!(rates.take(&a, &handle).is_err());
        // Whoever stays away long enough is forgotten, which loses nothing.
        at(&handle, start, 10_000);
        assert_eq!(rates.take(&b, &handle), Ok(()));
        at(&handle, start, 20_000);
        assert_eq!(rates.take(&b, &handle), Ok(()));
        assert_eq!(rates.known(), 1);
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_table() {
        let handle = Handle::new(Instant::now(), Duration::ZERO);
        let rates = ClientRates::new(rate(1, 1), Clients::default(), 1000);
        for n in 0..100_000_u32 {
            let client = Peer::V4(n.into(), 1);
            assert_eq!(rates.take(&client, &handle), Ok(()));
            assert!(rates.take(&client, &handle).is_err(), "the newest are always known");
            assert!(rates.known() <= 1000);
        }
    }

    proptest! {
        /// While there is room, the table does what one bucket for each client for ever would do.
        #[test]
        fn forgetting_loses_nothing(
            amount in 1..20_u64,
            burst in 1..20_u64,
            steps in prop::collection::vec((0..900_u64, 0..4_u32), 1..300),
        ) {
            let (start, rate) = (Instant::now(), rate(amount, burst));
            let handle = Handle::new(start, Duration::ZERO);
            let rates = ClientRates::new(rate, Clients::default(), 1000);
            let (mut plain, mut ms, mut seen) = ([Bucket::default(); 4], 0, HashSet::new());
            for (wait, who) in steps {
                ms += wait;
                at(&handle, start, ms);
                seen.insert(who);
                let expected = plain[who as usize].take(&rate, 1, handle.tick());
                let taken = rates.take(&Peer::V4(who.into(), 1), &handle);
                prop_assert_eq!(taken, expected.map_err(Duration::from_millis));
                prop_assert!(rates.known() <= seen.len());
            }
        }
    }
}
