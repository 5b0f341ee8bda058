//! PORT, EPRT, PASV, EPSV (RFC 959, section 4.1.2; RFC 2428; RFC 2577).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use medusa_core::{Context, Peer};

use crate::announce::Announced;
use crate::data::Link;
use crate::limits::LOWEST_ACTIVE_PORT;
use crate::passive::{Wanted, listen};
use crate::session::{DataPort, Handled, Session, handle_of};
use crate::wire::address::{
    self, AddressError, Extended, parse_extended_passive, parse_extended_port, parse_port,
};
use crate::wire::command::Command;

const ONLY_EXTENDED: &str = "After EPSV ALL only EPSV is taken.";
const FAMILIES: &str = "There is no such family of addresses here; use (1,2)";

pub(crate) fn port(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    active(session, parse_port(&command.argument), cx)
}

pub(crate) fn extended_port(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    active(session, parse_extended_port(&command.argument), cx)
}

/// Takes an address to connect to: the client's own, and no port of a service, or anybody could
/// have us talk to anything (RFC 2577, section 3).
fn active(
    session: &mut Session,
    address: Result<SocketAddr, AddressError>,
    cx: &mut Context<'_>,
) -> Handled {
    if session.extended_only {
        return session.reply(cx, 501, ONLY_EXTENDED);
    }
    if !session.shared.settings().active {
        return session.reply(
            cx,
            502,
            "This server does not connect to clients: use EPSV or PASV.",
        );
    }
    let address = match address {
        Ok(address) => address,
        Err(AddressError::Malformed) => return session.reply(cx, 501, "That is no address."),
        Err(AddressError::UnknownFamily) => return session.reply(cx, 522, FAMILIES),
    };
    if Some(address.ip()) != session.peer.ip() {
        return session.reply(cx, 501, "That is not your own address.");
    }
    if address.port() < LOWEST_ACTIVE_PORT {
        return session.reply(cx, 501, "That port is too low.");
    }
    session.drop_port();
    session.port = DataPort::Active(address);
    session.reply(cx, 200, "I will connect there.")
}

pub(crate) fn passive(session: &mut Session, _: &Command, cx: &mut Context<'_>) -> Handled {
    if session.extended_only {
        return session.reply(cx, 501, ONLY_EXTENDED);
    }
    let IpAddr::V4(own) = own_address(cx) else {
        return session.reply(cx, 425, "Over IPv6 use EPSV.");
    };
    let open = move |session: &mut Session, told, cx: &mut Context<'_>| {
        open(session, IpAddr::V4(own), cx, move |out, port| address::passive(out, told, port));
        Ok(())
    };
    let name = match announced(session) {
        None => return open(session, own, cx),
        Some(Announced::Address(address)) => return open(session, address, cx),
        Some(Announced::Name(name)) => name,
    };
    let (slot, handle) = (session.wait(cx), handle_of(cx));
    session.shared.names.find(&name, &handle, move |found| {
        slot.put(move |session, cx| match found {
            Some(address) => open(session, address, cx),
            None => session.reply(cx, 425, "The address to connect to is not known now; use EPSV."),
        });
    });
    Ok(())
}

pub(crate) fn extended_passive(
    session: &mut Session,
    command: &Command,
    cx: &mut Context<'_>,
) -> Handled {
    let own = own_address(cx);
    match (parse_extended_passive(command.word()), own) {
        (Ok(Extended::All), _) => {
            session.extended_only = true;
            return session.reply(cx, 200, "From now on only EPSV is taken.");
        }
        (Ok(Extended::Any), _)
        | (Ok(Extended::V4), IpAddr::V4(_))
        | (Ok(Extended::V6), IpAddr::V6(_)) => {}
        (Ok(_) | Err(AddressError::UnknownFamily), IpAddr::V4(_)) => {
            return session.reply(cx, 522, "That is not what this connection uses; use (1)");
        }
        (Ok(_) | Err(AddressError::UnknownFamily), IpAddr::V6(_)) => {
            return session.reply(cx, 522, "That is not what this connection uses; use (2)");
        }
        (Err(AddressError::Malformed), _) => {
            return session.reply(cx, 501, "Say EPSV, EPSV 1, EPSV 2 or EPSV ALL.");
        }
    }
    open(session, own, cx, address::extended_passive);
    Ok(())
}

/// The address that the client has connected to.
fn own_address(cx: &Context<'_>) -> IpAddr {
    cx.local().as_ref().and_then(Peer::ip).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// The address that PASV tells this client, if it is not the one that it has connected to.
fn announced(session: &Session) -> Option<Announced> {
    let client = session.peer.ip()?;
    let settings = session.shared.settings();
    let found = settings.announce.iter().find(|announcement| announcement.to.contains(&client));
    found.map(|announcement| announcement.address.clone())
}

fn open(
    session: &mut Session,
    ip: IpAddr,
    cx: &mut Context<'_>,
    answer: impl FnOnce(&mut Vec<u8>, u16) + 'static,
) {
    session.drop_port();
    let link = Link::new(cx.handle(), cx.waker(), session.shares());
    let wanted = Wanted {
        ip,
        range: session.shared.settings().passive_ports.clone(),
        ports: session.shared.ports.clone(),
        client: session.peer.ip(),
        link: link.clone(),
        settings: Rc::clone(&session.shared.setup().data),
    };
    let (slot, handle) = (session.wait(cx), handle_of(cx));
    listen(wanted, &handle, move |found| {
        slot.put(move |session, cx| {
            let Some((listening, port)) = found else {
                return session.reply(cx, 425, "No port is free for a data connection; try again.");
            };
            session.port = DataPort::Passive { link, listening: Some(listening) };
            Session::answer(cx, |out| answer(out, port))
        });
    });
}
