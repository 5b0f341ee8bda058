//! The logs of the binary, as its options ask for them.

use std::rc::Rc;

use medusa_core::Handle;
use medusa_http::access_log::{AccessLog, Form};
use medusa_log::{Destination, DiagnosticsForm, DiagnosticsOptions, Lines, Logs, OpenError};

use crate::command::{AccessLogTo, Diagnostics, LogFormat, LogLevel, Serve};
use crate::serve::Failure;

/// Sends diagnostics to standard error; they are written when the logs are started.
pub(crate) fn open(options: &Serve) -> Result<Logs, Failure> {
    let logs =
        Logs::new().map_err(|e| Failure::System(format!("cannot log to standard error: {e}")))?;
    logs.take_panics();
    let level = match options.log_level {
        LogLevel::Off => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let form = match options.diagnostics {
        Diagnostics::Human => DiagnosticsForm::Human,
        Diagnostics::Json => DiagnosticsForm::Json,
    };
    let diagnostics =
        DiagnosticsOptions { destination: Destination::Stderr, form, levels: level.to_owned() };
    logs.diagnostics(&diagnostics).map_err(|e| Failure::System(e.to_string()))?;
    Ok(logs)
}

/// Opens the log of requests, if there is one.
pub(crate) fn access(
    logs: &Logs,
    handle: &Handle,
    options: &Serve,
) -> Result<Option<Rc<dyn AccessLog>>, Failure> {
    let by_level = if options.log_level >= LogLevel::Info {
        AccessLogTo::Log(Destination::Stderr)
    } else {
        AccessLogTo::Off
    };
    let to = options.access_log.clone().unwrap_or(by_level);
    let AccessLogTo::Log(mut destination) = to else { return Ok(None) };
    if let Some(rule) = &options.log_rotate {
        let Destination::File { rotate, .. } = &mut destination else {
            return Err(Failure::Usage(
                "only a file can be rotated; name one with --access-log FILE, or leave \
                 --log-rotate out"
                    .to_owned(),
            ));
        };
        *rotate = Some(rule.clone());
    }
    let form = match options.log_format {
        LogFormat::Combined => Form::Combined,
        LogFormat::Common => Form::Common,
        LogFormat::Json => Form::Json,
    };
    let lines = logs.lines(handle, &destination, form == Form::Json);
    let lines = lines.map_err(|e: OpenError| {
        Failure::Usage(format!("{e} (--access-log DEST says where to log)"))
    })?;
    Ok(Some(Rc::new(Access { lines, form })))
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
