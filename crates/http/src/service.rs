//! The HTTP service: what all connections of one server share.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use medusa_core::inspect::Inspect;
use medusa_core::{
    ChannelSettings, Handle, Peer, Protocol, ServerLimitOptions, ServerLimits, Service,
};

use crate::access_log::{AccessLog, Lead};
use crate::extension::Request;
use crate::extensions::RateLimit;
use crate::figures::{Figures, count};
use crate::hosts::Hosts;
use crate::limits::{HttpLimits, HttpSettings, SPARE_RECORDS};
use crate::list::Extensions;
use crate::reply::Reply;
use crate::session::{BoxedRecord, Records, Session};
use crate::shown::{Maker, Shown};
use crate::wire::fields::FieldTable;
use crate::write::Common;

/// Makes HTTP sessions.
pub struct HttpService {
    shared: Rc<Shared>,
    channel: RefCell<Rc<ChannelSettings>>,
}

/// What the sessions of one server share for as long as it runs.
pub(crate) struct Shared {
    /// What new requests go by.
    pub(crate) setup: RefCell<Rc<Setup>>,
    pub(crate) log_lead: Lead,
    /// Heads are parsed into this, one at a time.
    pub(crate) table: RefCell<FieldTable>,
    pub(crate) common: Common,
    /// Queues of records to lend, so that an idle session owns none.
    spare_queues: RefCell<Vec<Records>>,
    spare_records: RefCell<Vec<BoxedRecord>>,
    pub(crate) figures: Figures,
    /// The services of the loop, from the first connection on.
    pub(crate) handle: OnceCell<Handle>,
    pub(crate) limits: Rc<ServerLimits>,
    /// How often each client may ask.
    pub(crate) requests: RefCell<Option<RateLimit>>,
    /// Makes the extensions that operators plug in.
    pub(crate) maker: RefCell<Option<Rc<dyn Maker>>>,
}

/// What a server was told. It is replaced as a whole; each request holds the one it began with,
/// and nothing else does, so that an old one goes with its last request.
pub(crate) struct Setup {
    pub(crate) settings: HttpSettings,
    pub(crate) hosts: Rc<Hosts>,
    pub(crate) log: Option<Rc<dyn AccessLog>>,
}

impl HttpService {
    /// Makes a service over these hosts, or over one list of extensions, which may change while
    /// it runs.
    pub fn new(
        hosts: impl Into<Hosts>,
        settings: HttpSettings,
        channel: ChannelSettings,
        log: Option<Rc<dyn AccessLog>>,
    ) -> Self {
        let setup = Setup { settings, hosts: Rc::new(hosts.into()), log };
        let shared = Shared {
            setup: RefCell::new(Rc::new(setup)),
            log_lead: Lead::default(),
            table: RefCell::new(FieldTable::new()),
            common: Common::default(),
            spare_queues: RefCell::default(),
            spare_records: RefCell::default(),
            figures: Figures::default(),
            handle: OnceCell::new(),
            limits: ServerLimits::new(ServerLimitOptions::default()),
            requests: RefCell::default(),
            maker: RefCell::default(),
        };
        Self { shared: Rc::new(shared), channel: RefCell::new(Rc::new(channel)) }
    }

    /// Replaces everything that the service was told; its figures go on.
    ///
    /// The next request of each connection, old or new, goes by what is new. Requests that have
    /// begun end as they began: with their extensions, their limits and their log. What was told
    /// of channels holds for new connections.
    pub fn replace(
        &self,
        hosts: impl Into<Hosts>,
        settings: HttpSettings,
        channel: ChannelSettings,
        log: Option<Rc<dyn AccessLog>>,
    ) {
        let setup = Rc::new(Setup { settings, hosts: Rc::new(hosts.into()), log });
        let old = self.shared.setup.replace(setup);
        self.channel.replace(Rc::new(channel));
        // Last, for extensions may do anything when they are dropped.
        drop(old);
    }

    /// Replaces settings only: as [`HttpService::replace`], with the hosts and the log that there
    /// are.
    pub fn set_settings(&self, settings: HttpSettings, channel: ChannelSettings) {
        let now = self.shared.setup();
        let setup = Setup { settings, hosts: now.hosts.clone(), log: now.log.clone() };
        self.shared.setup.replace(Rc::new(setup));
        self.channel.replace(Rc::new(channel));
    }

    /// Has extensions that operators plug in through the inspection tree made by this. Without
    /// one, none can be.
    pub fn set_maker(&self, maker: Rc<dyn Maker>) {
        self.shared.maker.replace(Some(maker));
    }

    /// Replaces the limits of the server as a whole.
    ///
    /// Connections that are open count as they did. Those that were accepted while there were no
    /// [`HttpLimits::server`] at all are held to no bandwidth. What is known of how often clients
    /// ask is kept unless that limit changes.
    pub fn set_limits(&self, limits: HttpLimits) {
        let HttpLimits { server, requests } = limits;
        self.shared.limits.replace(server);
        let mut current = self.shared.requests.borrow_mut();
        if current.as_ref().map(RateLimit::options) != requests.as_ref() {
            *current = requests.map(RateLimit::new);
        }
    }

    /// The service as a part of the inspection tree, in which its extensions can be changed.
    pub fn inspect(&self) -> Rc<dyn Inspect> {
        Rc::new(Shown(self.shared.clone()))
    }

    /// The list of extensions of the default host.
    pub fn extensions(&self) -> Rc<Extensions> {
        self.shared.setup().hosts.default_host().extensions.clone()
    }
}

impl Service for HttpService {
    fn name(&self) -> &'static str {
        "http"
    }

    fn accept(&self, _: &Peer, handle: &Handle) -> Option<Box<dyn Protocol>> {
        self.shared.handle.get_or_init(|| handle.clone());
        Some(Box::new(Session::new(self.shared.clone())))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        self.channel.borrow().clone()
    }

    fn limits(&self) -> Option<Rc<ServerLimits>> {
        self.shared.limits.is_on().then(|| self.shared.limits.clone())
    }

    fn refusal(&self) -> &[u8] {
        TURNED_AWAY
    }
}

/// What a client hears that has too many connections already.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nServer: Medusa\r\n\
    Connection: close\r\nRetry-After: 1\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 70\r\n\r\n\
    503 Service Unavailable: this client has too many connections already\n";

impl Shared {
    /// Counts a request; gives the reply if its client asks too often.
    pub(crate) fn one_too_many(&self, request: &Request<'_>) -> Option<Reply> {
        let requests = self.requests.borrow();
        let reply = requests.as_ref()?.check(&request.peer, request.handle)?;
        count(&self.figures.limited);
        Some(reply)
    }

    /// What a request that begins now goes by.
    pub(crate) fn setup(&self) -> Rc<Setup> {
        self.setup.borrow().clone()
    }

    pub(crate) fn record(&self) -> BoxedRecord {
        self.spare_records.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn spare_queue(&self) -> Option<Records> {
        self.spare_queues.borrow_mut().pop()
    }

    pub(crate) fn recycle_queue(&self, queue: Records) {
        let mut spare = self.spare_queues.borrow_mut();
        if spare.len() < SPARE_RECORDS {
            spare.push(queue);
        }
    }

    pub(crate) fn recycle(&self, mut record: BoxedRecord) {
        let mut spare = self.spare_records.borrow_mut();
        if spare.len() < SPARE_RECORDS {
            record.clear();
            spare.push(record);
        }
    }
}
