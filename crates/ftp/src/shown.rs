//! What a server shows of itself in the inspection tree: figures, settings, users, and who is kept
//! out, with the way to let them in again.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use medusa_core::Clock;
use medusa_core::inspect::{Action, Answer, Inspect, Level, Node, Value};

use crate::announce::Announced;
use crate::guard::Ban;
use crate::service::Shared;

/// The server.
pub(crate) struct Shown(pub(crate) Rc<Shared>);

impl Shared {
    /// The loop's time; there is none before the first session, and nothing to compare with it.
    fn now(&self) -> Option<Instant> {
        self.clock.get().and_then(Clock::now)
    }

    fn bans(&self) -> Vec<Ban> {
        self.now().map_or_else(Vec::new, |now| self.guard.bans(&self.settings(), now))
    }
}

impl Inspect for Shown {
    fn node(&self) -> Node {
        let figures = &self.0.figures;
        let (sessions, users) = self.0.guard.figures();
        let node = Node::new("ftp")
            .about("A server of FTP.", &[])
            .field("sessions", Value::Count(sessions as u64))
            .field("users", Value::Count(users as u64))
            .field("commands", Value::Count(figures.commands.get()))
            .field("refused", Value::Count(figures.refused.get()))
            .field("logins", Value::Count(figures.logins.get()))
            .field("failed logins", Value::Count(figures.failed_logins.get()))
            .field("turned away", Value::Count(figures.turned_away.get()))
            .field("bans", Value::Count(self.0.bans().len() as u64))
            .field("files sent", Value::Count(figures.sent.get()))
            .field("files received", Value::Count(figures.received.get()))
            .field("transfers failed", Value::Count(figures.failed.get()))
            .field("passive ports in use", Value::Count(self.0.ports.len() as u64));
        let children = ["bans", "settings", "users"].map(str::to_owned).into();
        Node { children, ..self.0.bandwidth.describe(node) }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let shared = self.0.clone();
        Some(match name {
            "bans" => Rc::new(Bans(shared)),
            "settings" => Rc::new(Settings(shared)),
            "users" => Rc::new(Users(shared)),
            _ => return None,
        })
    }
}

/// What the server goes by.
struct Settings(Rc<Shared>);

impl Inspect for Settings {
    fn node(&self) -> Node {
        let settings = self.0.settings();
        let mut node = Node::new("ftp-settings")
            .about("What a server of FTP goes by; the configuration says it.", &[])
            .field("login timeout", Value::Time(settings.login_timeout))
            .field("idle timeout", Value::Time(settings.idle_timeout))
            .field("retire idle", Value::Time(settings.retire_idle))
            .field("data timeout", Value::Time(settings.data_timeout))
            .field("stall", Value::Time(settings.stall_timeout))
            .field("sessions", Value::Count(settings.sessions as u64))
            .field("sessions per address", Value::Count(settings.sessions_per_address as u64))
            .field("login tries", Value::Count(settings.login_tries.into()))
            .field("login delay", Value::Time(settings.login_delay))
            .field("ban tries", Value::Count(settings.ban_tries.into()))
            .field("ban time", Value::Time(settings.ban_time))
            .field("active", Value::Flag(settings.active))
            .field("atomic uploads", Value::Flag(settings.atomic_uploads))
            .field("message", Value::Text(settings.message.clone()));
        if let Some(ports) = &settings.passive_ports {
            let ports = format!("{}-{}", ports.start(), ports.end());
            node = node.field("passive ports", Value::Text(ports));
        }
        for announcement in &settings.announce {
            let address = match &announcement.address {
                Announced::Address(address) => address.to_string(),
                Announced::Name(name) => match self.0.names.known(name) {
                    Some(address) => format!("{name} ({address})"),
                    None => format!("{name} (not known yet)"),
                },
            };
            node = node.field(format!("announced to {}", announcement.to), Value::Text(address));
        }
        for (name, rate) in [
            ("send rate of a transfer", settings.transfer_send_rate),
            ("receive rate of a transfer", settings.transfer_receive_rate),
        ] {
            if let Some(rate) = rate {
                node = node.field(name, Value::Text(rate.to_string()));
            }
        }
        node
    }
}

/// Who is logged in.
struct Users(Rc<Shared>);

impl Inspect for Users {
    fn node(&self) -> Node {
        let children = self.0.guard.users();
        let node = Node::new("ftp-users").about("Who is logged in.", &[]);
        Node { children, ..node.field("users", Value::Count(self.0.guard.figures().1 as u64)) }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        Some(self.0.guard.account(name)? as _)
    }
}

/// Who is kept out.
struct Bans(Rc<Shared>);

impl Inspect for Bans {
    fn node(&self) -> Node {
        let bans = self.0.bans();
        let children = bans.iter().map(|ban| ban.address.to_string()).collect();
        let about = "The addresses from which too many logins have failed; nobody is let in there.";
        let node = Node::new("ftp-bans").about(about, &[]);
        Node { children, ..node.field("bans", Value::Count(bans.len() as u64)) }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let address: IpAddr = name.parse().ok()?;
        let ban = self.0.guard.ban(address, &self.0.settings(), self.0.now()?)?;
        Some(Rc::new(Banned { shared: self.0.clone(), ban }))
    }
}

/// One address that is kept out.
struct Banned {
    shared: Rc<Shared>,
    ban: Ban,
}

const BAN_ACTIONS: &[Action] =
    &[Action::new(Level::Operate, "lift", "", "Lets whoever is there try again.")];

impl Inspect for Banned {
    fn node(&self) -> Node {
        let unix = self.shared.clock.get().and_then(Clock::unix_time).unwrap_or_default();
        Node::new("ftp-ban")
            .about("An address, or a network of IPv6, from which nobody is let in.", &[])
            .field("failed logins", Value::Count(self.ban.tries.into()))
            .field("until", Value::Date(unix + self.ban.left))
    }

    fn actions(&self) -> &'static [Action] {
        BAN_ACTIONS
    }

    fn act(&self, _: &str, _: &[String], answer: Answer) {
        let address = self.ban.address;
        if self.shared.guard.lift(address) {
            tracing::info!("the ban of {address} from FTP was lifted");
            answer.done(format!("{address} may log in again"));
        } else {
            answer.refused(format!("{address} is not banned any more"));
        }
    }
}
