//! The FTP service: what all sessions of one server share.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use medusa_core::inspect::Inspect;
use medusa_core::limits::READ_BUFFER_BYTES;
use medusa_core::{Bandwidth, ChannelSettings, Clock, Handle, Peer, Protocol, Service};

use crate::announce::{Names, Resolve};
use crate::authorizer::Authorizer;
use crate::events::{Event, Events};
use crate::guard::Guard;
use crate::limits::FtpSettings;
use crate::passive::Ports;
use crate::session::{Refusal, Session};
use crate::shown::Shown;

/// Makes FTP sessions.
pub struct FtpService {
    shared: Rc<Shared>,
}

/// What the sessions of one server share.
pub(crate) struct Shared {
    setup: RefCell<Rc<Setup>>,
    pub(crate) guard: Guard,
    pub(crate) ports: Ports,
    pub(crate) names: Names,
    /// Of all data connections together.
    pub(crate) bandwidth: Rc<Bandwidth>,
    pub(crate) figures: Figures,
    /// The loop that it is used on.
    pub(crate) clock: OnceCell<Clock>,
}

/// What a server was told; replaced as a whole.
pub(crate) struct Setup {
    settings: FtpSettings,
    pub(crate) authorizers: Vec<Rc<dyn Authorizer>>,
    events: Vec<Rc<dyn Events>>,
    /// Of control connections.
    channel: Rc<ChannelSettings>,
    /// Of data connections.
    pub(crate) data: Rc<ChannelSettings>,
}

/// Running totals of one server.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) commands: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    pub(crate) logins: Cell<u64>,
    pub(crate) failed_logins: Cell<u64>,
    pub(crate) turned_away: Cell<u64>,
    pub(crate) sent: Cell<u64>,
    pub(crate) received: Cell<u64>,
    pub(crate) failed: Cell<u64>,
}

pub(crate) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

impl FtpService {
    /// Makes a service for these users: of the authorizers the first that decides about a name is
    /// asked. All of `events` hear what happens.
    pub fn new(
        settings: FtpSettings,
        authorizers: Vec<Rc<dyn Authorizer>>,
        events: Vec<Rc<dyn Events>>,
    ) -> Self {
        Self::with_names(settings, authorizers, events, Names::of_the_system())
    }

    /// Makes a service that looks up the names which it announces so, on helper threads.
    pub fn resolving(
        settings: FtpSettings,
        authorizers: Vec<Rc<dyn Authorizer>>,
        events: Vec<Rc<dyn Events>>,
        resolve: Arc<Resolve>,
    ) -> Self {
        Self::with_names(settings, authorizers, events, Names::new(resolve))
    }

    fn with_names(
        settings: FtpSettings,
        authorizers: Vec<Rc<dyn Authorizer>>,
        events: Vec<Rc<dyn Events>>,
        names: Names,
    ) -> Self {
        let bandwidth = Bandwidth::new(settings.send_rate, settings.receive_rate);
        let setup = RefCell::new(Rc::new(Setup::new(settings, authorizers, events)));
        let (guard, ports, figures, clock) = Default::default();
        Self { shared: Rc::new(Shared { setup, guard, ports, names, bandwidth, figures, clock }) }
    }

    /// Replaces everything that the service was told; sessions and figures go on. Whoever is logged
    /// in stays so, with the rights that were given then.
    pub fn replace(
        &self,
        settings: FtpSettings,
        authorizers: Vec<Rc<dyn Authorizer>>,
        events: Vec<Rc<dyn Events>>,
    ) {
        self.shared.names.keep(&settings.announce);
        self.shared.bandwidth.replace(settings.send_rate, settings.receive_rate);
        let setup = Rc::new(Setup::new(settings, authorizers, events));
        let old = self.shared.setup.replace(setup);
        // Last, for what is dropped may be anything.
        drop(old);
    }

    /// Replaces settings only: as [`FtpService::replace`], with the users and the events that there
    /// are.
    pub fn set_settings(&self, settings: FtpSettings) {
        let now = self.shared.setup.borrow().clone();
        self.replace(settings, now.authorizers.clone(), now.events.clone());
    }

    /// The service as a part of the inspection tree.
    pub fn inspect(&self) -> Rc<dyn Inspect> {
        Rc::new(Shown(self.shared.clone()))
    }
}

impl Setup {
    fn new(
        settings: FtpSettings,
        authorizers: Vec<Rc<dyn Authorizer>>,
        events: Vec<Rc<dyn Events>>,
    ) -> Self {
        let stall = settings.stall_timeout;
        let channel = Rc::new(ChannelSettings { stall, ..ChannelSettings::default() });
        let data = Rc::new(ChannelSettings {
            read_bytes: READ_BUFFER_BYTES,
            send_rate: settings.transfer_send_rate,
            receive_rate: settings.transfer_receive_rate,
            ..(*channel).clone()
        });
        Self { settings, authorizers, events, channel, data }
    }
}

impl Shared {
    pub(crate) fn setup(&self) -> Rc<Setup> {
        self.setup.borrow().clone()
    }

    pub(crate) fn settings(&self) -> FtpSettingsRef {
        FtpSettingsRef(self.setup())
    }

    /// Tells all who want to hear it.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        for events in &self.setup().events {
            events.event(event);
        }
    }
}

/// The settings of now.
pub(crate) struct FtpSettingsRef(Rc<Setup>);

impl std::ops::Deref for FtpSettingsRef {
    type Target = FtpSettings;

    fn deref(&self) -> &FtpSettings {
        &self.0.settings
    }
}

impl Service for FtpService {
    fn name(&self) -> &'static str {
        "ftp"
    }

    fn accept(&self, peer: &Peer, handle: &Handle) -> Option<Box<dyn Protocol>> {
        let shared = &self.shared;
        shared.clock.get_or_init(|| handle.clock());
        Some(match shared.guard.admit(peer.ip(), &shared.settings(), handle.now()) {
            Ok(admission) => Box::new(Session::new(shared.clone(), *peer, admission)),
            Err(turned) => {
                count(&shared.figures.turned_away);
                Box::new(Refusal(turned.text()))
            }
        })
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        self.shared.setup().channel.clone()
    }
}
