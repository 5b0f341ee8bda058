//! The logs of the binary, as its configuration asks for them.

use std::rc::Rc;

use medusa_core::Handle;
use medusa_ftp::{Event, Events, RecordForm};
use medusa_http::access_log::{AccessLog, Form};
use medusa_log::{Destination, DiagnosticsForm, DiagnosticsOptions, Lines, Logs, OpenError};

use crate::command::LogLevel;
use crate::config::{AccessPlan, Log, Problem, TransfersPlan};

/// Says what becomes of diagnostics.
pub(crate) fn set_diagnostics(logs: &Logs, log: &Log) -> Result<(), OpenError> {
    let word = LogLevel::WORDS.iter().find(|(_, level)| *level == log.level);
    logs.diagnostics(&DiagnosticsOptions {
        destination: log.to.clone(),
        form: log.form,
        levels: word.map_or("info", |(word, _)| word).to_owned(),
    })
}

/// Has warnings told on standard error.
pub(crate) fn set_warnings(logs: &Logs) -> Result<(), OpenError> {
    logs.diagnostics(&DiagnosticsOptions {
        destination: Destination::Stderr,
        form: DiagnosticsForm::Human,
        levels: "warn".to_owned(),
    })
}

/// Opens a log of requests.
pub(crate) fn access(
    logs: &Logs,
    handle: &Handle,
    plan: &AccessPlan,
) -> Result<Rc<dyn AccessLog>, Problem> {
    let lines = logs.lines(handle, &plan.to, plan.form == Form::Json);
    let lines = lines.map_err(|e| Problem::new(plan.span.clone(), e.to_string()))?;
    Ok(Rc::new(Access { lines, form: plan.form }))
}

/// Lines of requests on their way to a log.
struct Access {
    lines: Rc<Lines>,
    form: Form,
}

impl AccessLog for Access {
    fn line(&self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.lines.line(write);
    }

    fn form(&self) -> Form {
        self.form
    }
}

/// Opens a log of transfers.
pub(crate) fn transfers(
    logs: &Logs,
    handle: &Handle,
    plan: &TransfersPlan,
) -> Result<Rc<dyn Events>, Problem> {
    let lines = logs.lines(handle, &plan.to, plan.form == RecordForm::Json);
    let lines = lines.map_err(|e| Problem::new(plan.span.clone(), e.to_string()))?;
    Ok(Rc::new(Transfers { lines, form: plan.form, handle: handle.clone() }))
}

/// Lines of transfers on their way to a log.
struct Transfers {
    lines: Rc<Lines>,
    form: RecordForm,
    handle: Handle,
}

impl Events for Transfers {
    fn event(&self, event: &Event<'_>) {
        let now = self.handle.unix_time();
        self.lines.line(&mut |out| event.record(self.form, now, out));
    }
}
