//! The HTTP service: what all connections of one server share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use medusa_core::inspect::{Inspect, Node, Value};
use medusa_core::{ChannelSettings, Handle, Peer, Protocol, Service};

use crate::access_log::{AccessLog, Lead};
use crate::extension::Extensions;
use crate::limits::{HttpSettings, SPARE_RECORDS};
use crate::session::{Record, Records, Session};
use crate::wire::fields::FieldTable;
use crate::write::Common;

/// Makes HTTP sessions.
pub struct HttpService {
    shared: Rc<Shared>,
    channel: Rc<ChannelSettings>,
}

/// What the sessions of one server share.
pub(crate) struct Shared {
    pub(crate) settings: HttpSettings,
    pub(crate) extensions: Rc<Extensions>,
    pub(crate) log: Option<Rc<dyn AccessLog>>,
    pub(crate) log_lead: Lead,
    /// Heads are parsed into this, one at a time.
    pub(crate) table: RefCell<FieldTable>,
    pub(crate) common: Common,
    /// Queues of records to lend, so that an idle session owns none.
    spare_queues: RefCell<Vec<Records>>,
    spare_records: RefCell<Vec<Record>>,
    pub(crate) figures: Figures,
}

/// Running totals of one server.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) requests: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    pub(crate) aborted: Cell<u64>,
    pub(crate) panics: Cell<u64>,
}

pub(crate) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

impl HttpService {
    /// Makes a service over this list of extensions, which may change while it runs.
    pub fn new(
        extensions: Rc<Extensions>,
        settings: HttpSettings,
        channel: ChannelSettings,
        log: Option<Rc<dyn AccessLog>>,
    ) -> Self {
        let shared = Shared {
            settings,
            extensions,
            log,
            log_lead: Lead::default(),
            table: RefCell::new(FieldTable::new()),
            common: Common::default(),
            spare_queues: RefCell::default(),
            spare_records: RefCell::default(),
            figures: Figures::default(),
        };
        Self { shared: Rc::new(shared), channel: Rc::new(channel) }
    }

    /// The service as a part of the inspection tree.
    pub fn inspect(&self) -> Rc<dyn Inspect> {
        Rc::new(Shown(self.shared.clone()))
    }

    /// The list of extensions.
    pub fn extensions(&self) -> &Rc<Extensions> {
        &self.shared.extensions
    }
}

impl Service for HttpService {
    fn name(&self) -> &'static str {
        "http"
    }

    fn accept(&self, _: &Peer, _: &Handle) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Session::new(self.shared.clone())))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        self.channel.clone()
    }
}

impl Shared {
    pub(crate) fn record(&self) -> Record {
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

    pub(crate) fn recycle(&self, mut record: Record) {
        let mut spare = self.spare_records.borrow_mut();
        if spare.len() < SPARE_RECORDS {
            record.clear();
            spare.push(record);
        }
    }
}

struct Shown(Rc<Shared>);

impl Inspect for Shown {
    fn node(&self) -> Node {
        let figures = &self.0.figures;
        let extensions = self.0.extensions.list();
        let names: Vec<_> = extensions.iter().map(|e| e.name()).collect();
        Node::new("http")
            .field("requests", Value::Count(figures.requests.get()))
            .field("refused", Value::Count(figures.refused.get()))
            .field("aborted", Value::Count(figures.aborted.get()))
            .field("panics", Value::Count(figures.panics.get()))
            .field("extensions", Value::Text(names.join(", ")))
    }
}
