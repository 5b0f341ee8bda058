//! `net`: connections that scripts make; and what a script's own server needs of a connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::time::Duration;

use medusa_core::{Address, ChannelSettings, Handle};
use medusa_script::library::text;
use medusa_script::{Later, Library, Value};

use crate::connection::{Connection, Connections, Failed, State, Wanted};

/// What scripts see of connections.
const SOURCE: &str = include_str!("net.lua");

/// How long it may take until a connection stands, unless the script says otherwise.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The longest time that a script may give a connection to stand.
const CONNECT_AT_MOST: Duration = Duration::from_secs(120);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;
/// Bytes of an address or a name.
const ADDRESS_BYTES: usize = 512;

/// A connection that is being made.
struct Attempt {
    handle: Handle,
    all: Rc<Connections>,
    token: i64,
    state: Rc<RefCell<State>>,
    addresses: VecDeque<Address>,
    within: Duration,
}

impl Attempt {
    /// Tries the next address, and the others if that fails.
    fn go_on(mut self, later: Later, why: String) {
        let Some(address) = self.addresses.pop_front().filter(|_| later.is_wanted()) else {
            self.all.close(self.token);
            return later.answer(Err(why));
        };
        self.state.borrow_mut().try_anew(later);
        let (state, handle, within) = (self.state.clone(), self.handle.clone(), self.within);
        let failed: Failed = Box::new(move |later, why| self.go_on(later, why));
        let connection = Connection { state, patience: None, opened: None, failed: Some(failed) };
        let settings = Rc::new(ChannelSettings::default());
        handle.connect(address, within, settings, Box::new(connection));
    }
}

/// Begins to make a connection for a script that waits for it.
fn connect(handle: &Handle, all: &Rc<Connections>, args: &[Value], later: Later) {
    let asked = || -> Result<(String, Duration), String> {
        let address = String::from_utf8_lossy(text(args, 0)?).into_owned();
        if address.len() > ADDRESS_BYTES {
            return Err(format!("an address has at most {ADDRESS_BYTES} bytes"));
        }
        let within = match args.get(1) {
            None | Some(Value::Nil) => CONNECT_WITHIN,
            Some(seconds) => seconds
                .as_number()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .filter(|within| *within <= CONNECT_AT_MOST)
                .ok_or("argument 2 must be a number of seconds")?,
        };
        Ok((address, within))
    };
    let (address, within) = match asked() {
        Ok(asked) => asked,
        Err(why) => return later.answer(Err(why)),
    };
    let Some((token, state)) = all.begin() else {
        return later.answer(Err("scripts have too many connections".to_owned()));
    };
    let ending = all.clone();
    later.at_end(move || ending.close(token));
    let (handle, all) = (handle.clone(), all.clone());
    let attempt = Attempt { handle, all, token, state, addresses: VecDeque::new(), within };
    let no_more = format!("`{address}` has no address");
    if let Ok(address @ (Address::Inet(_) | Address::Unix(_))) = address.parse::<Address>() {
        return Attempt { addresses: [address].into(), ..attempt }.go_on(later, no_more);
    }
    let name = address.clone();
    let look_up = move || -> Result<Vec<Address>, String> {
        let found = name.to_socket_addrs().map_err(|e| e.to_string())?;
        Ok(found.take(ADDRESSES).map(Address::Inet).collect())
    };
    let handle = attempt.handle.clone();
    handle.run(look_up, move |found| match found.unwrap_or_else(|e| Err(e.to_string())) {
        Ok(addresses) => Attempt { addresses: addresses.into(), ..attempt }.go_on(later, no_more),
        Err(why) => {
            let form = "IP:PORT, NAME:PORT or unix:PATH";
            attempt.go_on(later, format!("cannot find `{address}`: {why} (write {form})"));
        }
    });
}

/// The library `net`.
pub(crate) fn library(handle: &Handle, all: &Rc<Connections>) -> Library {
    let (handle, connecting) = (handle.clone(), all.clone());
    let (line, read) = (all.clone(), all.clone());
    let (write, send, close) = (all.clone(), all.clone(), all.clone());
    Library::new("net")
        .later("connect", move |args, later| connect(&handle, &connecting, args, later))
        .later("line", move |args, later| {
            let wanted = line.find(args.first()).and_then(|s| Ok((s, Wanted::line(args.get(1))?)));
            match wanted {
                Ok((state, wanted)) => state.borrow_mut().read(wanted, later),
                Err(why) => later.answer(Err(why)),
            }
        })
        .later("read", move |args, later| {
            let wanted = read.find(args.first()).and_then(|s| Ok((s, Wanted::bytes(args.get(1))?)));
            match wanted {
                Ok((state, wanted)) => state.borrow_mut().read(wanted, later),
                Err(why) => later.answer(Err(why)),
            }
        })
        .later("write", move |args, later| {
            let found = write.find(args.first()).and_then(|s| Ok((s, text(args, 1)?.clone())));
            match found {
                Ok((state, text)) => state.borrow_mut().write(text, later),
                Err(why) => later.answer(Err(why)),
            }
        })
        .function("send", move |args| {
            let text = text(args, 1)?.clone();
            Ok(vec![match send.find(args.first()) {
                Ok(state) => state.borrow_mut().send(text),
                Err(_) => Value::Nil,
            }])
        })
        .function("close", move |args| {
            close.close(args.first().and_then(Value::as_integer).unwrap_or(0));
            Ok(Vec::new())
        })
        .made_by(SOURCE)
}
