//! Limits on real sockets: what a client that is turned away sees, and a bandwidth that holds.
#![allow(missing_docs)]

mod common;

use std::io::Read;
use std::rc::Rc;
use std::time::Instant;

use common::{Echo, client, echoed, inet, join, look, read_all, serve_with};
use medusa_core::inspect::Value;
use medusa_core::reactor::ListenOptions;
use medusa_core::{
    Address, ChannelSettings, Handle, Peer, Protocol, Rate, ServerLimitOptions, ServerLimits,
    Service, Settings,
};

/// An echo under limits.
struct Limited {
    limits: Rc<ServerLimits>,
    settings: Rc<ChannelSettings>,
}

impl Service for Limited {
    fn name(&self) -> &'static str {
        "limited"
    }

    fn accept(&self, _: &Peer, _: &Handle) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Echo))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        self.settings.clone()
    }

    fn limits(&self) -> Option<Rc<ServerLimits>> {
        Some(self.limits.clone())
    }

    fn refusal(&self) -> &[u8] {
        b"too many\r\n"
    }
}

fn serve(options: ServerLimitOptions, settings: ChannelSettings) -> (Address, common::Server) {
    serve_with(Settings::default(), move |reactor| {
        let limited = Limited { limits: ServerLimits::new(options), settings: Rc::new(settings) };
        let address = inet("127.0.0.1:0");
        reactor.listen(&address, Rc::new(limited), ListenOptions::default()).expect("free").1
    })
}

#[test]
fn one_connection_too_many_hears_why_and_leaves_no_trace() {
    let options = ServerLimitOptions { connections_a_client: Some(2), ..Default::default() };
    let (address, server) = serve(options, ChannelSettings::default());
    let (mut one, mut two) = (client(&address), client(&address));
    echoed(&mut one);
    echoed(&mut two);
    for _ in 0..3 {
        assert_eq!(read_all(&mut client(&address)), b"too many\r\n");
    }
    echoed(&mut one);
    assert_eq!(look(&server, "listeners/1", "turned away"), Some(Value::Count(3)));
    assert_eq!(look(&server, "listeners/1", "open"), Some(Value::Count(2)));
    drop(one);
    while look(&server, "listeners/1", "open") != Some(Value::Count(1)) {
        std::thread::yield_now();
    }
    echoed(&mut client(&address));
    join(server);
}

/// Times are not asserted upwards: a busy machine may be slow, but never quicker than the limit.
#[test]
fn a_bandwidth_holds_on_sockets() {
    let rate = Rate::bytes_a_second(400_000).expect("right");
    let settings = ChannelSettings { send_rate: Some(rate), ..Default::default() };
    let (address, server) = serve(ServerLimitOptions::default(), settings);
    let mut client = client(&address);
    let began = Instant::now();
    let mut writer = client.try_clone().expect("a socket can be cloned");
    let writing = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, &vec![b'x'; 300_000]).expect("it is read");
    });
    let mut back = vec![0; 300_000];
    client.read_exact(&mut back).expect("it comes back");
    // 100,000 bytes may leave at once.
    assert!(began.elapsed().as_millis() >= 490, "{:?}", began.elapsed());
    writing.join().expect("the writer is done");
    join(server);
}
