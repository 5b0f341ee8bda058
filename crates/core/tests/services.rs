//! The loop's services on real sockets and threads: datagrams, jobs, calls, timers, panics.
#![allow(missing_docs)]

mod common;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{Echo, PATIENCE, client, echoed, inet, join, look, read_all, serve, serve_with};
use medusa_core::datagram::{DatagramProtocol, DatagramSender};
use medusa_core::handle::JobLost;
use medusa_core::inspect::Value;
use medusa_core::reactor::{Bind, ListenOptions, ListenerChange};
use medusa_core::{
    Address, ChannelSettings, Close, Context, Frame, Handle, Peer, Protocol, Reactor, Service,
    Settings,
};

/// Gives datagrams back; an idle socket also sends what a timer gives it.
struct UdpEcho(SocketAddr);

impl DatagramProtocol for UdpEcho {
    fn opened(&mut self, sender: DatagramSender, handle: &Handle) {
        let to = self.0;
        handle.timer(Duration::from_millis(1), move |_| sender.send(b"from a timer", to));
    }

    fn input(&mut self, datagram: &[u8], from: SocketAddr, out: &mut DatagramSender) {
        out.send(datagram, from);
    }
}

#[test]
fn datagrams_are_answered_and_leave_from_timers() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let own = socket.local_addr().expect("bound");
    let (bound, server) = serve_with(Settings::default(), move |reactor| {
        let (tell, hear) = mpsc::channel();
        let tell = move |bound| tell.send(bound).expect("somebody hears");
        reactor.handle().bind_datagram(inet("127.0.0.1:0"), Box::new(UdpEcho(own)), tell);
        hear
    });
    let Ok(Ok(Address::Inet(bound))) = bound.recv() else { panic!("not bound") };
    let mut buffer = [0; 100];
    let (n, from) = socket.recv_from(&mut buffer).expect("the timer's datagram");
    assert_eq!((&buffer[..n], from), (&b"from a timer"[..], bound));
    for i in 0..100_u8 {
        socket.send_to(&[i], bound).expect("sent");
        let (n, _) = socket.recv_from(&mut buffer).expect("an answer");
        assert_eq!(&buffer[..n], [i]);
    }
    join(server);
}

/// Echoes over TCP and UDP.
struct Both;

impl Service for Both {
    fn name(&self) -> &'static str {
        "both"
    }

    fn accept(&self, _: &Peer, _: &Handle) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Echo))
    }

    fn datagrams(&self) -> Option<Box<dyn DatagramProtocol>> {
        struct Back;
        impl DatagramProtocol for Back {
            fn input(&mut self, datagram: &[u8], from: SocketAddr, out: &mut DatagramSender) {
                out.send(datagram, from);
            }
        }
        Some(Box::new(Back))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        Rc::default()
    }
}

#[test]
fn a_service_has_tcp_and_udp_at_one_address_and_both_go_together() {
    let ((id, bound), server) = serve_with(Settings::default(), |reactor| {
        let options = ListenOptions::default();
        reactor.listen(&inet("127.0.0.1:0"), Rc::new(Both), options).expect("a free port")
    });
    echoed(&mut client(&bound));
    let Address::Inet(address) = bound else { panic!("{bound} is no IP:PORT") };
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(address).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let ask = || socket.send(b"over UDP").and_then(|_| socket.recv(&mut [0; 100]));
    assert_eq!(ask().expect("an answer"), 8);

    server.remote.call(move |handle| handle.unlisten(id)).expect("the loop comes round");
    // What comes in the very moment of closing is lost.
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket option");
    let is_refused = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
    while !ask().err().as_ref().is_some_and(is_refused) {}
    join(server);
}

/// A datagram sent between two turns lay there until some event woke the loop.
#[test]
fn a_datagram_sent_between_turns_waited_for_an_event() {
    struct Keeps(Rc<RefCell<Option<DatagramSender>>>);
    impl DatagramProtocol for Keeps {
        fn opened(&mut self, sender: DatagramSender, _: &Handle) {
            *self.0.borrow_mut() = Some(sender);
        }
        fn input(&mut self, _: &[u8], _: SocketAddr, _: &mut DatagramSender) {}
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let mut reactor = Reactor::new(Settings::default()).expect("a loop");
    let mut events = mio::Events::with_capacity(16);
    let kept = Rc::new(RefCell::new(None));
    let keeps = Box::new(Keeps(kept.clone()));
    reactor.handle().bind_datagram(inet("127.0.0.1:0"), keeps, |bound| drop(bound.expect("bound")));
    let soon = Some(Duration::from_millis(10));
    for _ in 0..10 {
        // After these the socket has nothing more to tell.
        reactor.turn(&mut events, soon).expect("a turn");
    }
    let sender = kept.borrow().clone().expect("it is bound by now");
    sender.send(b"now", socket.local_addr().expect("bound"));
    let began = Instant::now();
    reactor.turn(&mut events, Some(PATIENCE)).expect("a turn");
    assert!(began.elapsed() < PATIENCE, "the loop slept over it");
    socket.set_nonblocking(true).expect("a socket option");
    assert_eq!(socket.recv(&mut [0; 10]).expect("it was sent"), 3);
}

#[test]
fn calls_from_many_threads_and_results_of_jobs_reach_the_loop() {
    let ((), server) = serve_with(Settings::default(), |_| ());
    let (tell, hear) = mpsc::channel();
    let calling = |thread: i32| {
        let (remote, tell) = (server.remote.clone(), tell.clone());
        std::thread::spawn(move || {
            for i in 0..100 {
                let tell = tell.clone();
                let call = move |handle: &Handle| {
                    let then = move |result: Result<i32, JobLost>| {
                        tell.send(result.expect("no panic")).expect("heard");
                    };
                    handle.run(move || thread * 100 + i, then);
                };
                remote.call(call).expect("far fewer than the queue holds");
            }
        })
    };
    let threads: Vec<_> = (0..4).map(calling).collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    drop(tell);
    let mut heard: Vec<i32> = hear.iter().collect();
    heard.sort_unstable();
    assert!(heard.iter().copied().eq(0..400));
    let (tell, hear) = mpsc::channel();
    let call = move |handle: &Handle| {
        let work = || std::panic::resume_unwind(Box::new(()));
        handle.run(work, move |result: Result<(), _>| tell.send(result).expect("heard"));
    };
    server.remote.call(call).expect("room");
    assert_eq!(hear.recv().expect("told"), Err(JobLost::Panicked));
    join(server);
}

#[test]
fn a_thousand_timers_fire_once_each_and_never_early() {
    let ((), server) = serve_with(Settings::default(), |_| ());
    let (tell, hear) = mpsc::channel();
    let call = move |handle: &Handle| {
        for i in 0..1000_u64 {
            let (tell, began) = (tell.clone(), handle.now());
            let after = Duration::from_millis(i * 7 % 100);
            handle.timer(after, move |handle| {
                tell.send((i, handle.now() - began >= after)).expect("heard");
            });
        }
    };
    server.remote.call(call).expect("room");
    let mut heard: Vec<(u64, bool)> = hear.iter().collect();
    heard.sort_unstable();
    assert!(heard.iter().copied().eq((0..1000).map(|i| (i, true))));
    join(server);
}

/// Panics at the first connection, and is an echo from then on.
#[derive(Default)]
struct Shy(Cell<bool>);

impl Service for Shy {
    fn name(&self) -> &'static str {
        "shy"
    }

    fn accept(&self, _: &Peer, _: &Handle) -> Option<Box<dyn Protocol>> {
        if !self.0.replace(true) {
            std::panic::resume_unwind(Box::new(()));
        }
        Some(Box::new(Echo))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        Rc::default()
    }
}

#[test]
fn a_panic_in_a_service_or_a_call_ended_the_loop() {
    let (address, server) = serve_with(Settings::default(), |reactor| {
        let service = Rc::new(Shy::default());
        let listening = reactor.listen(&inet("127.0.0.1:0"), service, ListenOptions::default());
        listening.expect("a free port").1
    });
    assert!(read_all(&mut client(&address)).is_empty());
    let call = |_: &Handle| std::panic::resume_unwind(Box::new(()));
    server.remote.call(call).expect("room");
    echoed(&mut client(&address));
    assert_eq!(look(&server, "reactor", "panics"), Some(Value::Count(2)));
    join(server);
}

#[test]
fn turns_that_take_long_are_seen_and_remembered() {
    let (address, server) = serve(|| Echo);
    echoed(&mut client(&address));
    let slow = || look(&server, "reactor", "turns over 20 ms");
    // The machine itself may have been slow.
    let before = slow();
    let held = Duration::from_millis(30);
    server.remote.call(move |_| std::thread::sleep(held)).expect("room");
    // The first question may be answered in the turn that is asked about.
    let begin = Instant::now();
    while slow() == before {
        assert!(begin.elapsed() < PATIENCE, "it is not seen");
    }
    for (path, field) in [("reactor", "longest turn"), ("reactor/slowest turns/1", "took")] {
        let Some(Value::Time(took)) = look(&server, path, field) else { panic!("{path}") };
        assert!(took >= held, "{path}: {took:?}");
    }
    let Some(Value::Time(p99)) = look(&server, "reactor", "turn p99") else { panic!("a time") };
    assert!(p99 > Duration::ZERO);
    join(server);
}

#[test]
fn what_the_process_uses_is_read_on_a_helper_thread_and_told() {
    let (_, server) = serve(|| Echo);
    let own = u64::from(std::process::id());
    assert_eq!(look(&server, "process", "id"), Some(Value::Count(own)));
    if cfg!(target_os = "linux") {
        let private = look(&server, "process", "private");
        assert!(matches!(private, Some(Value::Bytes(1..))), "{private:?}");
        let descriptors = look(&server, "process", "descriptors");
        assert!(matches!(descriptors, Some(Value::Count(3..))), "{descriptors:?}");
    }
    join(server);
}

/// Says one word to whoever connects, and ends.
struct Says(&'static [u8]);

impl Protocol for Says {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.send(self.0);
        Err(Close::Flush)
    }

    fn input(&mut self, _: Frame<'_>, _: &mut Context<'_>) -> Result<(), Close> {
        Ok(())
    }
}

fn says(address: &Address, word: &'static [u8]) -> Bind {
    let service = medusa_core::service("says", move |_, _| Says(word));
    Bind { address: address.clone(), service, options: ListenOptions::default() }
}

#[test]
fn listeners_change_as_a_whole_or_not_at_all() {
    let any = || inet("127.0.0.1:0");
    let (added, server) = serve_with(Settings::default(), move |reactor| {
        let bind = vec![says(&any(), b"old"), says(&any(), b"old")];
        let change = ListenerChange { bind, ..ListenerChange::default() };
        reactor.change_listeners(change).expect("both are bound")
    });
    let [(kept, kept_at), (gone, gone_at)] = &added[..] else { panic!("{added:?}") };
    let change = |second: &Address| {
        let (tell, hear) = mpsc::channel();
        let (kept, gone, second) = (*kept, *gone, second.clone());
        let call = move |handle: &Handle| {
            let change = ListenerChange {
                bind: vec![says(&any(), b"new"), says(&second, b"new")],
                serve: vec![(kept, says(&second, b"new").service)],
                stop: vec![gone],
            };
            handle.change_listeners(change, move |done| tell.send(done).expect("it waits"));
        };
        server.remote.call(call).expect("there is room");
        hear.recv().expect("it is told")
    };
    let said = |address: &Address| read_all(&mut client(address));
    let open = || look(&server, "listeners", "open");
    // The second new one cannot be bound, so the first is gone again and nothing has changed.
    let error = change(gone_at).expect_err("its address is taken");
    assert_eq!((error.place, error.error.kind()), (1, std::io::ErrorKind::AddrInUse));
    assert_eq!(open(), Some(Value::Count(2)));
    assert_eq!((&*said(kept_at), &*said(gone_at)), (&b"old"[..], &b"old"[..]));
    let added = change(&any()).expect("both are bound");
    assert_eq!(open(), Some(Value::Count(3)));
    for address in [kept_at, &added[0].1, &added[1].1] {
        assert_eq!(said(address), b"new");
    }
    let Address::Inet(gone) = gone_at else { panic!("{gone_at}") };
    assert!(std::net::TcpStream::connect(gone).is_err());
    join(server);
}
