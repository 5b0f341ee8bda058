//! DNS messages: no bytes upset the reader of answers, nor the forwarder, whose replies are never
//! longer than their clients can take.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_core::testing::Harness;
use medusa_core::{Address, Service};
use medusa_dns::wire::{Answer, Kind, Question};
use medusa_dns::{Forwarder, Resolver, ResolverSettings};

fuzz_target!(|data: &[u8]| {
    // The first byte says where what a client sends ends and what a server sends begins.
    let Some((&at, data)) = data.split_first() else { return };
    let (request, answer) = data.split_at(usize::from(at).min(data.len()));
    for kind in [Kind::A, Kind::AAAA, Kind::PTR, Kind::SRV, Kind::CNAME] {
        let question = Question::new("a.example", kind).expect("a name");
        let id = answer.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        let _ = Answer::read(answer, id, &question);
    }

    let mut h = Harness::new();
    let [here, client, server] = ["127.0.0.1:53", "127.0.0.1:5000", "192.0.2.53:53"]
        .map(|text| text.parse().expect("an address"));
    let settings = ResolverSettings {
        resolv_conf: "/nonexistent".into(),
        hosts: "/nonexistent".into(),
        servers: vec![server],
        ..ResolverSettings::default()
    };
    let resolver = Resolver::new(&h.handle(), settings);
    let forwarder = Forwarder::new(resolver, std::rc::Rc::new(|_| true));
    let datagrams = forwarder.datagrams().expect("it takes datagrams");
    h.handle().bind_datagram(Address::Inet(here), datagrams, |_| {});
    h.run();
    for _ in 0..2 {
        h.datagram(here, request, client);
        h.run();
        while let Some(sent) = h.take_datagram() {
            if sent.to == server {
                // With the id that was asked, for otherwise nothing is ever taken.
                let mut answer = answer.to_vec();
                if let (Some(id), Some(asked)) = (answer.get_mut(..2), sent.bytes.get(..2)) {
                    id.copy_from_slice(asked);
                }
                h.datagram(sent.from, &answer, server);
                h.run();
            } else {
                assert_eq!(sent.to, client);
                assert!(sent.bytes.len() <= 65_535);
            }
        }
    }
    h.advance(std::time::Duration::from_secs(60));
});
