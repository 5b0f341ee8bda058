//! `[log]`: diagnostics, and the lines of requests and transfers.

use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use medusa_ftp::RecordForm;
use medusa_http::access_log::Form;
use medusa_log::limits::KEPT_FILES;
use medusa_log::{Destination, DiagnosticsForm, Facility, Rotate, SyslogAddress};

use crate::command::LogLevel;
use crate::config::Span;
use crate::config::kind::{Choice, DAY, Kind, Number, Parsed, SECOND, Size, Text, Time, quoted};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::value::Value;
use crate::life::directory_of;

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Log {
    pub(crate) level: LogLevel,
    pub(crate) to: Destination,
    pub(crate) form: DiagnosticsForm,
    pub(crate) access: Option<AccessPlan>,
    pub(crate) transfers: Option<TransfersPlan>,
}

/// Where the lines of requests go.
pub(crate) type AccessPlan = LinesPlan<Form>;

/// Where the lines of FTP go.
pub(crate) type TransfersPlan = LinesPlan<RecordForm>;

/// Where the lines of a service go, and what they look like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinesPlan<F> {
    pub(crate) to: Destination,
    pub(crate) form: F,
    /// Where the destination is named.
    pub(crate) span: Span,
}

/// A destination, or none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum To {
    Off,
    Log(Destination),
}

/// How a destination is named.
pub(super) struct ToKind {
    /// Whether nothing at all may be meant.
    pub(super) may_be_off: bool,
}

impl Kind for ToKind {
    type Value = To;

    fn expects(&self) -> String {
        let off = if self.may_be_off { ", \"off\"" } else { "" };
        format!(
            "\"stderr\", \"stdout\", \"syslog\", \"syslog:unix:PATH\", \"syslog:IP:PORT\"{off} or the \
             path of a file"
        )
    }

    fn read(&self, value: &Value, base: &Path) -> Result<To, Problem> {
        let text = Text("a destination").read(value, base)?;
        if self.may_be_off && text == "off" {
            return Ok(To::Off);
        }
        let mut to: Destination =
            text.parse().map_err(|why: String| Problem::new(value.span.clone(), why))?;
        match &mut to {
            Destination::File { path, .. } => *path = base.join(&*path),
            Destination::Syslog(options) => {
                if let SyslogAddress::Unix(path) = &mut options.address {
                    *path = base.join(&*path);
                }
            }
            Destination::Stderr | Destination::Stdout => {}
        }
        Ok(To::Log(to))
    }

    fn write(&self, value: &To) -> String {
        let absolute = |path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.to_string_lossy().into_owned()
        };
        quoted(&match value {
            To::Off => "off".to_owned(),
            To::Log(Destination::Stderr) => "stderr".to_owned(),
            To::Log(Destination::Stdout) => "stdout".to_owned(),
            To::Log(Destination::File { path, .. }) => absolute(path),
            To::Log(Destination::Syslog(options)) => match &options.address {
                SyslogAddress::Unix(path) => format!("syslog:unix:{}", absolute(path)),
                SyslogAddress::Udp(address) => format!("syslog:{address}"),
            },
        })
    }
}

/// Reads `[log]`.
pub(crate) fn log(section: &mut Section<'_>) -> Log {
    let level = section.or(
        "level",
        "From which level on diagnostics are logged.",
        &Choice(LogLevel::WORDS),
        LogLevel::Info,
    );
    let to = section.or(
        "to",
        "Where diagnostics go.",
        &ToKind { may_be_off: false },
        To::Log(Destination::Stderr),
    );
    let form = section.or(
        "form",
        "What they look like: lines for people, or objects of JSON, one a line.",
        &Choice(&[("human", DiagnosticsForm::Human), ("json", DiagnosticsForm::Json)]),
        DiagnosticsForm::Human,
    );
    // As the level says of everything else on standard error.
    let shown = level >= LogLevel::Info;
    let default = if shown { To::Log(Destination::Stderr) } else { To::Off };
    let access = section.section(
        "access",
        "The line that is logged for each request, by servers that say nothing else.",
        |section| access(section, default.clone()),
    );
    let transfers = section.section(
        "transfers",
        "The line that is logged for each transfer by FTP, by servers that say nothing else.",
        |section| transfers(section, default),
    );
    let To::Log(to) = to else { unreachable!("diagnostics are not off, but by their level") };
    need(section, &to);
    Log { level, to, form, access, transfers }
}

/// Reads where the lines of requests go, and what they look like.
pub(crate) fn access(section: &mut Section<'_>, default: To) -> Option<AccessPlan> {
    const FORMS: Choice<Form> =
        Choice(&[("combined", Form::Combined), ("common", Form::Common), ("json", Form::Json)]);
    lines(section, default, "What it looks like.", &FORMS)
}

/// Reads where the lines of transfers go, and what they look like.
pub(crate) fn transfers(section: &mut Section<'_>, default: To) -> Option<TransfersPlan> {
    const FORMS: Choice<RecordForm> =
        Choice(&[("xferlog", RecordForm::Xferlog), ("json", RecordForm::Json)]);
    let doc =
        "What it looks like. In JSON there are lines of logins too, also of those that failed.";
    lines(section, default, doc, &FORMS)
}

fn lines<F: Copy + PartialEq + Default>(
    section: &mut Section<'_>,
    default: To,
    what_form: &'static str,
    forms: &Choice<F>,
) -> Option<LinesPlan<F>> {
    let to = section.or(
        "to",
        "Where it goes. A file is made if it is missing, its directory must exist.",
        &ToKind { may_be_off: true },
        default,
    );
    let form = section.or("form", what_form, forms, F::default());
    let rotate = section.section(
        "rotate",
        "When a file becomes `FILE.1`, what was that `FILE.2`, and so on.",
        rotate,
    );
    let facility = section.maybe(
        "facility",
        "For syslog: the facility, as \"daemon\" or \"local0\".",
        &Parsed {
            what: "the name of a syslog facility",
            parse: str::parse::<Facility>,
            write: Facility::to_string,
        },
    );
    let tag = section.maybe(
        "tag",
        "For syslog: the name under which lines are sent.",
        &Text("1 to 48 printable ASCII characters"),
    );
    let To::Log(mut to) = to else { return None };
    match &mut to {
        Destination::File { rotate: rule, .. } => *rule = rotate,
        _ if rotate.is_some() => section.advise(
            "rotate",
            "only a file can be rotated",
            "name one (`to`, or --access-log FILE), or leave the rotation out",
        ),
        _ => {}
    }
    if let Destination::Syslog(options) = &mut to {
        options.facility = facility.unwrap_or(options.facility);
        options.tag = tag.unwrap_or_else(|| options.tag.clone());
    } else {
        for key in ["facility", "tag"].into_iter().filter(|key| section.has(key)) {
            section.refuse(key, format!("`{key}` is for syslog only"));
        }
    }
    need(section, &to);
    Some(LinesPlan { to, form, span: section.place("to") })
}

/// Says which directory is needed to write there, and to begin new files.
pub(super) fn need(section: &Section<'_>, to: &Destination) {
    let directory = match to {
        Destination::File { path, .. } => directory_of(path),
        Destination::Syslog(options) => match &options.address {
            SyslogAddress::Unix(path) => directory_of(path),
            SyslogAddress::Udp(_) => return,
        },
        Destination::Stderr | Destination::Stdout => return,
    };
    section.need(|needs| needs.write.push(directory));
}

fn rotate(section: &mut Section<'_>) -> Option<Rotate> {
    let size = section.maybe(
        "size",
        "Bytes that a file has at most; only a single longer line makes it larger.",
        &Size(1..=1 << 60),
    );
    let every = section.maybe(
        "every",
        "The time after which a new file begins, counted from 1970 in UTC: \"1d\" is each midnight.",
        &Time(SECOND..=366 * DAY),
    );
    let keep = section.or("keep", "Old files that stay.", &Number(0..=u64::from(KEPT_FILES)), 7);
    let seconds = |every: Duration| NonZeroU64::new(every.as_secs());
    let (size, every) = (size.and_then(NonZeroU64::new), every.and_then(seconds));
    (size.is_some() || every.is_some()).then_some(Rotate { size, every, keep: keep as u32 })
}
