//! A person at a terminal.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use medusa_monitor::wire::{Done, MAX_ROWS, Role, Value};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, ExternalPrinter};

use crate::batch::put;
use crate::editor::Assistant;
use crate::fault;
use crate::history;
use crate::limits::{HISTORY, NOTICES};
use crate::link::{Link, Opened, Trouble};
use crate::paint::Tone;
use crate::screen::Screen;
use crate::show::Show;
use crate::target::Target;
use crate::text;

/// Lines of the screen that rows of a result leave free: the statement, the head of the table, what
/// is said below it, and the next prompt.
const SPARE_LINES: usize = 6;
/// The fewest rows that are asked for.
const LEAST_ROWS: u32 = 5;
/// From how many milliseconds on it is told how long a statement ran.
const SLOW_MS: u64 = 500;

/// Notices on their way to the terminal.
#[derive(Debug)]
pub(crate) struct Notices {
    queue: Receiver<String>,
    dropped: Arc<AtomicUsize>,
}

/// A function that takes notices and never waits, and where they come out.
pub(crate) fn notices() -> (impl Fn(String) + Send + 'static, Notices) {
    let (put, queue): (SyncSender<String>, _) = sync_channel(NOTICES);
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = dropped.clone();
    let announce = move |text| {
        if put.try_send(text).is_err() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    (announce, Notices { queue, dropped })
}

impl Notices {
    /// Shows them above the line that is edited, as they come.
    fn show(self, mut printer: impl ExternalPrinter + Send + 'static) {
        std::thread::spawn(move || {
            let paint = Screen::output().paint;
            while let Ok(mut text) = self.queue.recv() {
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    text = format!("{text}\n({dropped} further notices were dropped)");
                }
                let clean = text::lines(text.trim_end()).into_owned();
                if printer.print(paint.text(Tone::Notice, &format!("* {clean}")) + "\n").is_err() {
                    return;
                }
            }
        });
    }
}

/// The console of a person.
pub(crate) struct Console {
    link: Rc<RefCell<Link>>,
    editor: Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
    prompt: (String, String),
    /// The last result goes on.
    more: bool,
}

impl Console {
    /// Greets whoever is there.
    pub(crate) fn new(
        link: Link,
        opened: &Opened,
        target: &Target,
        notices: Notices,
    ) -> Result<Self, String> {
        let paint = Screen::output().paint;
        let failed = |e: ReadlineError| format!("the terminal cannot be used: {e}");
        let config = Config::builder()
            .max_history_size(HISTORY)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(failed)?
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .build();
        let history = FileHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history).map_err(failed)?;
        let link = Rc::new(RefCell::new(link));
        editor.set_helper(Some(Assistant { link: link.clone(), paint }));
        // A terminal that can do nothing has no place above its prompt.
        if let Ok(printer) = editor.create_external_printer() {
            notices.show(printer);
        }
        let history = history::path().filter(|path| {
            let made = history::make(path).map_err(ReadlineError::from);
            let loaded = made.and_then(|()| editor.load_history(path));
            if let Err(e) = &loaded {
                eprintln!("note: no history in {}: {e}", path.display());
            }
            loaded.is_ok()
        });
        let plain = match opened.role {
            Role::All => "medusa> ".to_owned(),
            role => format!("medusa ({role})> "),
        };
        let prompt = (plain.clone(), paint.text(Tone::Prompt, plain.trim_end()) + " ");
        let greeting = format!(
            "{} at {target}\nYou are {} and may {}. `help` says what there is, ctrl-D leaves.\n",
            text::line(&opened.server),
            text::line(&opened.operator),
            match opened.role {
                Role::Look => "look",
                Role::Operate => "look and operate",
                Role::All => "do everything",
            }
        );
        put(io::stdout(), &paint.text(Tone::Faint, &greeting))?;
        Ok(Self { link, editor, history, prompt, more: false })
    }

    /// Reads and runs statements until the person leaves.
    pub(crate) fn talk(&mut self) -> Result<(), String> {
        let mut begun = String::new();
        loop {
            let read = self.editor.readline_with_initial(&self.prompt, (&begun, ""));
            begun.clear();
            match read {
                Ok(code) if code.trim().is_empty() => {
                    if std::mem::take(&mut self.more) {
                        let result = self.link.borrow_mut().more(rows());
                        self.show(result, &code)?;
                    }
                }
                Ok(code) if matches!(code.trim(), "quit" | "exit") => return Ok(()),
                Ok(code) => {
                    self.more = false;
                    if self.run(&code)? {
                        begun = code + "\n";
                    } else {
                        self.remember(&code);
                    }
                }
                // The line is cleared, and the console stays.
                Err(ReadlineError::Interrupted) => self.more = false,
                Err(ReadlineError::Eof) => return Ok(()),
                Err(e) => return Err(format!("the terminal cannot be read: {e}")),
            }
        }
    }

    /// Without a history everything else still works. What is not to be kept is not even found by
    /// the up key, for the file gets whatever that finds.
    fn remember(&mut self, code: &str) {
        if !history::is_kept(code) {
            return;
        }
        let _ = self.editor.add_history_entry(code);
        if let Some(path) = &self.history {
            let _ = self.editor.append_history(path);
        }
    }

    /// Runs a statement and shows what it gives; true if it is not complete.
    fn run(&mut self, code: &str) -> Result<bool, String> {
        let (mut broken, mut in_line) = (Ok(()), false);
        let result = self.link.borrow_mut().run(code, rows(), &mut |said| {
            if broken.is_ok() {
                broken = put(io::stdout(), &text::lines(said));
            }
            in_line = !said.ends_with('\n');
        });
        broken?;
        if in_line {
            put(io::stdout(), "\n")?;
        }
        if matches!(&result, Err(Trouble::Failed(failed)) if failed.incomplete) {
            return Ok(true);
        }
        self.show(result, code)?;
        Ok(false)
    }

    fn show(&mut self, result: Result<Done, Trouble>, code: &str) -> Result<(), String> {
        let screen = Screen::output();
        let mut out = String::new();
        match result {
            Ok(done) => {
                let show = Show { cells: screen.cells, paint: screen.paint, units: &done.units };
                for value in &done.values {
                    out.push_str(&show.value(value));
                }
                let mut notes = Vec::new();
                if done.more {
                    notes.push("more follows: press enter".to_owned());
                }
                if done.cut {
                    notes.push("what is too deep or too long was left out".to_owned());
                }
                if done.ms >= SLOW_MS {
                    notes.push(format!("{:.1} s", done.ms as f64 / 1000.0));
                }
                if !notes.is_empty() {
                    let notes = format!("({})", notes.join("; "));
                    screen.paint.put(&mut out, Tone::Faint, &notes);
                    out.push('\n');
                }
                self.more = done.more
                    && matches!(done.values.first(), Some(Value::List(_) | Value::Map(_)));
            }
            Err(Trouble::Failed(failed)) => {
                // The terminal has shown the key that cancelled it.
                out.push_str(if failed.cancelled { "\n" } else { "" });
                out.push_str(&fault::show(&failed, code, screen.paint));
            }
            Err(Trouble::Lost(why)) => {
                screen.paint.put(&mut out, Tone::Fault, "error:");
                let _ = writeln!(out, " {}", text::line(&why));
            }
        }
        put(io::stdout(), &out)
    }
}

/// The rows of a result that the screen has room for.
fn rows() -> u32 {
    let lines = Screen::output().lines.saturating_sub(SPARE_LINES);
    u32::try_from(lines).unwrap_or(MAX_ROWS).clamp(LEAST_ROWS, MAX_ROWS)
}
