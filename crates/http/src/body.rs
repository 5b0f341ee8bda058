//! A request's body on its way to whoever collects it.
//!
//! The one design choice: a body without a collector is read into nothing within a small limit,
//! by the same code, so that there is one way for a body to end.

use std::rc::Rc;
use std::time::Duration;

use medusa_core::collector::{Collector, Discarded, Flow, Refused};

use crate::extension::Trailers;
use crate::late::Late;
use crate::wire::Reject;
use crate::wire::chunked::{Decoder, Step};
use crate::wire::fields::FieldTable;
use crate::wire::framing::BodyFraming;

/// A body that is being received.
pub(crate) struct BodyInput {
    decoder: Option<Decoder>,
    collector: Option<Box<dyn Collector>>,
    /// An extension takes it; otherwise it is thrown away.
    is_collected: bool,
    received: u64,
    limit: u64,
    pace: Pace,
    /// Bytes that have earned no whole millisecond yet, times 1000.
    unpaid: u64,
    /// The reply of this request, where it comes later.
    late: Option<Rc<Late>>,
    waiting: bool,
    /// The client waits for a 100, which it gets when the collector wants input.
    owes_continue: bool,
    trailers: Option<Trailers>,
}

/// How quickly a body must come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Time within which some of it must come, and for which it may fall behind.
    pub(crate) timeout: Duration,
    /// Bytes a second on average; 0 is any number.
    pub(crate) least: u64,
}

/// How far the body has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    More,
    /// The collector takes nothing for now.
    Wait,
    /// It is complete; so many bytes of the part belong to what follows.
    All {
        left: usize,
    },
}

impl BodyInput {
    pub(crate) fn new(
        framing: BodyFraming,
        collector: Option<Box<dyn Collector>>,
        trailers: Option<Trailers>,
        limit: u64,
        pace: Pace,
        late: Option<Rc<Late>>,
    ) -> Self {
        Self {
            decoder: (framing == BodyFraming::Chunked).then(Decoder::new),
            is_collected: collector.is_some(),
            collector: Some(collector.unwrap_or_else(|| Box::new(Discarded))),
            received: 0,
            limit,
            pace,
            unpaid: 0,
            late,
            waiting: false,
            owes_continue: false,
            trailers,
        }
    }

    /// Takes the next part of the input; `last` says that a body of known length ends with it.
    pub(crate) fn take(&mut self, part: &[u8], last: bool) -> Result<Taken, Reject> {
        let Some(mut decoder) = self.decoder.take() else {
            let flow = self.collect(part)?;
            return Ok(match (last, flow) {
                (true, _) => Taken::All { left: 0 },
                (false, Flow::Go) => Taken::More,
                (false, Flow::Stop) => self.wait(),
            });
        };
        let mut at = 0;
        let mut stop = false;
        let taken = loop {
            match decoder.decode(&part[at..])? {
                Step::Data(range) => {
                    stop |= self.collect(&part[at + range.start..at + range.end])? == Flow::Stop;
                    at += range.end;
                }
                Step::Done(n) => break Taken::All { left: part.len() - at - n },
                Step::Need if stop => break self.wait(),
                Step::Need => break Taken::More,
            }
        };
        self.decoder = Some(decoder);
        Ok(taken)
    }

    fn wait(&mut self) -> Taken {
        self.waiting = true;
        Taken::Wait
    }

    fn collect(&mut self, part: &[u8]) -> Result<Flow, Reject> {
        self.received += part.len() as u64;
        if self.received > self.limit {
            return Err(refusal(&Refused::TooLarge));
        }
        match &mut self.collector {
            Some(collector) if !part.is_empty() => collector.collect(part).map_err(|e| refusal(&e)),
            _ => Ok(Flow::Go),
        }
    }

    /// Lets a client that waits for a 100 wait on, if the collector wants no input yet and the
    /// reply comes later; says whether it does.
    pub(crate) fn delay_continue(&mut self) -> bool {
        let stops = self.collector.as_ref().is_some_and(|c| c.flow() == Ok(Flow::Stop));
        if stops && self.late.is_some() {
            self.waiting = true;
            self.owes_continue = true;
        }
        self.owes_continue
    }

    /// Asks a collector that stopped whether it goes on.
    pub(crate) fn resume(&mut self) -> Result<bool, Reject> {
        let Some(collector) = &self.collector else { return Ok(false) };
        let flow = collector.flow().map_err(|e| refusal(&e))?;
        if !self.waiting || flow == Flow::Stop {
            return Ok(false);
        }
        self.waiting = false;
        if std::mem::take(&mut self.owes_continue)
            && let Some(late) = &self.late
        {
            late.send_continue();
        }
        Ok(true)
    }

    /// Tells the collector that it has everything. `table` is room for parsing the trailers.
    pub(crate) fn end(mut self, table: &mut FieldTable) {
        if let (Some(hear), Some(decoder)) = (self.trailers.take(), &self.decoder)
            && let Some(fields) = decoder.trailers(table)
        {
            hear(&fields);
        }
        if let Some(collector) = self.collector.take() {
            collector.end();
        }
    }

    pub(crate) fn late(&self) -> Option<&Rc<Late>> {
        self.late.as_ref()
    }

    /// The time within which some of it must arrive at first.
    pub(crate) fn timeout(&self) -> Duration {
        self.pace.timeout
    }

    /// The time within which more must arrive, when there was so much `left` and `n` bytes came:
    /// they earn the time that they may take, framing included.
    pub(crate) fn earn(&mut self, n: usize, left: Duration) -> Duration {
        if self.pace.least == 0 {
            return self.pace.timeout;
        }
        self.unpaid = self.unpaid.saturating_add((n as u64).saturating_mul(1000));
        let earned = Duration::from_millis(self.unpaid / self.pace.least);
        self.unpaid %= self.pace.least;
        (left + earned).min(self.pace.timeout)
    }

    /// Whether its collector takes nothing for now.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting
    }

    pub(crate) fn is_collected(&self) -> bool {
        self.is_collected
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}

fn refusal(refused: &Refused) -> Reject {
    match refused {
        Refused::TooLarge => Reject::with(413, "the body is larger than is allowed"),
        Refused::NoSpace | Refused::OverQuota => Reject::with(507, "there is no room for the body"),
        Refused::Failed(why) => {
            tracing::error!("a request body could not be taken: {why}");
            Reject::with(500, "the body could not be stored")
        }
        // The answer that was given counts; this one is not heard.
        Refused::Told => Reject::with(500, "the body was refused"),
    }
}
