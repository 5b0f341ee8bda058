//! Diagnostics (`tracing`) on their way to a log.
//!
//! The one design choice: destination, form and levels can all be changed while the program runs,
//! and nothing that is told ever waits for its reader.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::destination::{Destination, OpenError};
use crate::queue::Queue;

/// What diagnostics look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiagnosticsForm {
    /// Lines for people; with colours on a terminal.
    Human,
    /// An object of JSON on each line.
    Json,
}

/// What becomes of diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiagnosticsOptions {
    /// Where they go.
    pub destination: Destination,
    /// What they look like.
    pub form: DiagnosticsForm,
    /// From which level on they are told: `info`, or by target `info,medusa_http=debug`.
    pub levels: String,
}

type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;
type Output = Box<dyn Layer<Filtered> + Send + Sync>;

/// The diagnostics of this process.
pub(crate) struct Diagnostics {
    queue: Arc<Queue>,
    levels: reload::Handle<Targets, Registry>,
    output: reload::Handle<Output, Filtered>,
    shown: Mutex<String>,
}

/// Reads levels as people write them.
pub(crate) fn levels(text: &str) -> Result<Targets, String> {
    // A word alone would be taken for a target.
    let is_level = |part: &str| {
        part.contains('=') || (!part.is_empty() && part.parse::<LevelFilter>().is_ok())
    };
    let targets = text.split(',').all(is_level).then(|| text.parse().ok()).flatten();
    targets.ok_or_else(|| {
        format!(
            "`{text}` does not say what to tell: write off, error, warn, info, debug or trace, or \
             such a level by target, as in `info,medusa_http=debug`"
        )
    })
}

impl Diagnostics {
    /// Makes these the diagnostics of the process.
    pub(crate) fn install(
        queue: Arc<Queue>,
        options: &DiagnosticsOptions,
        levels: Targets,
    ) -> Result<Self, OpenError> {
        let (diagnostics, subscriber) = Self::new(queue, options, levels);
        let installed = subscriber.try_init();
        installed.map_err(|_| OpenError("diagnostics are taken care of already".to_owned()))?;
        Ok(diagnostics)
    }

    pub(crate) fn new(
        queue: Arc<Queue>,
        options: &DiagnosticsOptions,
        levels: Targets,
    ) -> (Self, impl tracing::Subscriber + Send + Sync + 'static) {
        let shown = Mutex::new(levels.to_string());
        let (filter, levels) = reload::Layer::new(levels);
        let (layer, output) = reload::Layer::new(layer(queue.clone(), options));
        let subscriber = tracing_subscriber::registry().with(filter).with(layer);
        (Self { queue, levels, output, shown }, subscriber)
    }

    /// Changes everything; gives the queue that they went to before.
    pub(crate) fn change(
        &mut self,
        queue: Arc<Queue>,
        options: &DiagnosticsOptions,
        levels: Targets,
    ) -> Arc<Queue> {
        self.output
            .reload(layer(queue.clone(), options))
            .expect("the subscriber lives as long as the process");
        self.set_levels(levels);
        std::mem::replace(&mut self.queue, queue)
    }

    pub(crate) fn set_levels(&self, levels: Targets) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = levels.to_string();
        self.levels.reload(levels).expect("the subscriber lives as long as the process");
    }

    /// What is told, as [`levels`] reads it.
    pub(crate) fn levels(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn layer(queue: Arc<Queue>, options: &DiagnosticsOptions) -> Output {
    let colours = match options.destination {
        Destination::Stderr => io::stderr().is_terminal(),
        Destination::Stdout => io::stdout().is_terminal(),
        Destination::File { .. } | Destination::Syslog(_) => false,
    };
    let form = tracing_subscriber::fmt::layer().with_writer(Out(queue));
    match options.form {
        DiagnosticsForm::Human => form.with_ansi(colours).with_target(false).boxed(),
        DiagnosticsForm::Json => form.with_ansi(false).json().boxed(),
    }
}

/// Takes each diagnostic in one call.
struct Out(Arc<Queue>);

impl Write for &Out {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.append(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Out {
    type Writer = &'a Out;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::queue::Next;

    fn said(queue: &Queue) -> String {
        let mut all = Vec::new();
        while let Next::Write(buffer) = queue.next(Some(Duration::ZERO)) {
            all.extend(buffer);
        }
        String::from_utf8(all).expect("text")
    }

    #[test]
    fn destination_form_and_levels_change_while_the_program_runs() {
        let queue = |name: &str| Arc::new(Queue::new(name.to_owned(), None));
        let (first, second) = (queue("first"), queue("second"));
        let mut options = DiagnosticsOptions {
            destination: Destination::Syslog(crate::SyslogOptions::default()),
            form: DiagnosticsForm::Human,
            levels: "warn".to_owned(),
        };
        let read = |text: &str| levels(text).expect("levels");
        let (mut diagnostics, subscriber) = Diagnostics::new(first.clone(), &options, read("warn"));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not told");
            tracing::warn!("a\x1b[2Jb");
            let text = said(&first);
            assert!(text.ends_with("WARN a\\x1b[2Jb\n"), "{text:?}");
            diagnostics.set_levels(read("error,medusa_log=debug"));
            assert_eq!(read(&diagnostics.levels()), read("error,medusa_log=debug"));
            tracing::debug!("told");
            tracing::debug!(target: "other", "not told");
            let text = said(&first);
            assert!(text.ends_with("DEBUG told\n") && text.lines().count() == 1, "{text:?}");
            options.form = DiagnosticsForm::Json;
            diagnostics.change(second.clone(), &options, read("info"));
            tracing::info!(bytes = 7, "a \"quote\"\n");
            assert_eq!(said(&first), "");
            let line: serde_json::Value = serde_json::from_str(&said(&second)).expect("JSON");
            assert_eq!(line["fields"]["message"], "a \"quote\"\n");
            assert_eq!((&line["fields"]["bytes"], &line["level"]), (&7.into(), &"INFO".into()));
        });
        for wrong in ["loud", "info,medusa_http", "medusa_http=loud", ""] {
            let error = levels(wrong).expect_err(wrong);
            assert!(error.contains(&format!("`{wrong}`")) && error.contains("warn"), "{error}");
        }
    }
}
