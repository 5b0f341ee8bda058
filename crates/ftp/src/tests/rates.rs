//! Bandwidths: of a transfer, of a user, of the server, in both directions.

use medusa_core::Rate;
use medusa_core::inspect::{Outcome, Value};

use super::*;
use crate::{Authorizer, User, Verdict};

const BURST: u64 = 4000;
const BYTES: usize = 60_000;

fn rate(bytes: u64) -> Option<Rate> {
    Rate::new(bytes, Duration::from_secs(1), BURST).ok()
}

/// Lets anybody in under the name that is given, with this bandwidth for each name.
struct Anybody {
    tree: MemoryTree,
    send: Option<Rate>,
    receive: Option<Rate>,
}

impl Authorizer for Anybody {
    fn decides(&self, _: &str) -> bool {
        true
    }

    fn authorize(
        &self,
        name: &str,
        _: &[u8],
        _: &medusa_core::Peer,
        _: &medusa_core::Handle,
        then: Box<dyn FnOnce(Verdict)>,
    ) {
        let tree = Arc::new(self.tree.clone());
        let user = User::new(name, tree, Persona::Process, Permissions::ALL);
        let user = User { send_rate: self.send, receive_rate: self.receive, ..user };
        then(Verdict::Welcome(Rc::new(user)));
    }
}

/// Transfers of the sessions of some users, each a download or an upload of so many bytes.
struct Transfers {
    h: Harness,
    tree: MemoryTree,
    controls: Vec<Peer>,
    data: Vec<Peer>,
    up: bool,
}

impl Transfers {
    fn begin(settings: FtpSettings, of_user: Option<Rate>, users: &[&str], up: bool) -> Self {
        let tree = tree();
        tree.insert(&path("/big"), vec![7; BYTES]).expect("there is room");
        let (send, receive) = if up { (None, of_user) } else { (of_user, None) };
        let anybody = Anybody { tree: tree.clone(), send, receive };
        let service = FtpService::new(settings, vec![Rc::new(anybody)], Vec::new());
        let mut h = Harness::new();
        h.handle().mount("ftp", service.inspect());
        let (mut controls, mut data) = (Vec::new(), Vec::new());
        for (n, user) in users.iter().enumerate() {
            let control = h.accept(&service);
            control.send(format!("USER {user}\r\nPASS x\r\nTYPE I\r\nEPSV\r\n"));
            h.run();
            let said = control.take_text();
            let port = said.rsplit('|').nth(1).and_then(|port| port.parse().ok());
            let port: u16 = port.unwrap_or_else(|| panic!("{said}"));
            let address = SocketAddr::new([127, 0, 0, 1].into(), port);
            let peer = h.connect_to(&Address::Inet(address)).expect("it listens");
            if up {
                peer.send(vec![n as u8; BYTES]);
                peer.close_write();
            }
            h.run();
            controls.push(control);
            data.push(peer);
        }
        for (n, control) in controls.iter().enumerate() {
            let command = if up { format!("STOR up{n}") } else { "RETR big".to_owned() };
            control.send(command + "\r\n");
        }
        h.run();
        Self { h, tree, controls, data, up }
    }

    /// Bytes that have gone over the data connections of these.
    fn moved(&mut self, sessions: std::ops::Range<usize>) -> u64 {
        let of = |n: usize| match self.h.inspect(&self.data[n].path()) {
            Outcome::Node(node) => match node.value(if self.up { "received" } else { "sent" }) {
                Some(Value::Bytes(bytes)) => *bytes,
                other => panic!("{other:?}"),
            },
            // It has ended.
            _ => BYTES as u64,
        };
        sessions.map(of).sum()
    }

    /// All ends well, and all of it came.
    fn end(mut self) {
        self.h.advance(Duration::from_secs(60));
        for control in &self.controls {
            let said = control.take_text();
            assert!(said.contains("\r\n226 "), "{said}");
        }
        for (n, data) in self.data.iter().enumerate() {
            if self.up {
                let file = self.tree.metadata(&Persona::Process, &path(&format!("/up{n}")));
                assert_eq!(file.map(|m| m.size).ok(), Some(BYTES as u64));
            } else {
                assert_eq!(data.take(), vec![7; BYTES]);
            }
        }
    }
}

/// Checks that what these sessions have moved together keeps to a rate, and does not stay far
/// behind it.
#[track_caller]
fn keeps_to(transfers: &mut Transfers, sessions: std::ops::Range<usize>, rate: u64, ms: u64) {
    let got = transfers.moved(sessions.clone());
    let most = BURST + rate * ms / 1000;
    // Each may be about to wake up for its next share.
    let least = (rate * ms / 1000).saturating_sub(sessions.len() as u64 * 2048);
    let all = sessions.len() * BYTES;
    assert!(got <= most && got >= least.min(all as u64), "{got} of {least}..{most} at {ms} ms");
}

#[test]
fn a_transfer_keeps_to_its_bandwidth() {
    for up in [false, true] {
        let settings = FtpSettings {
            transfer_send_rate: rate(10_000),
            transfer_receive_rate: rate(10_000),
            ..FtpSettings::default()
        };
        let mut transfers = Transfers::begin(settings, None, &["ann", "ann"], up);
        for step in 0..20 {
            keeps_to(&mut transfers, 0..1, 10_000, step * 100);
            keeps_to(&mut transfers, 1..2, 10_000, step * 100);
            transfers.h.advance(Duration::from_millis(100));
        }
        transfers.end();
    }
}

#[test]
fn all_sessions_of_a_user_share_a_bandwidth() {
    for up in [false, true] {
        let users = ["ann", "ann", "ann", "bob"];
        let mut transfers = Transfers::begin(FtpSettings::default(), rate(12_000), &users, up);
        for step in 0..40 {
            keeps_to(&mut transfers, 0..3, 12_000, step * 100);
            keeps_to(&mut transfers, 3..4, 12_000, step * 100);
            transfers.h.advance(Duration::from_millis(100));
        }
        let Outcome::Node(node) = transfers.h.inspect("ftp/users/ann") else {
            panic!("she is here")
        };
        assert_eq!(node.value("sessions"), Some(&Value::Count(3)));
        let limit = if up { "receive rate" } else { "send rate" };
        assert_eq!(node.value(limit), Some(&Value::Text("12000/s, 4000 at once".to_owned())));
        transfers.end();
    }
}

#[test]
fn all_users_share_the_bandwidth_of_the_server() {
    for up in [false, true] {
        let (send_rate, receive_rate) = (rate(15_000), rate(15_000));
        let settings = FtpSettings { send_rate, receive_rate, ..FtpSettings::default() };
        let mut transfers = Transfers::begin(settings, rate(12_000), &["ann", "bob"], up);
        for step in 0..40 {
            keeps_to(&mut transfers, 0..2, 15_000, step * 100);
            let of_ann = transfers.moved(0..1);
            assert!(of_ann <= BURST + 12_000 * step / 10);
            transfers.h.advance(Duration::from_millis(100));
        }
        let Outcome::Node(node) = transfers.h.inspect("ftp") else { panic!("it is mounted") };
        assert!(node.value("send rate").is_some() && node.value("may receive").is_some());
        let Outcome::Node(node) = transfers.h.inspect("ftp/users") else { panic!("it is there") };
        assert_eq!(node.children, ["ann", "bob"]);
        transfers.end();
    }
}
