//! The session with the server: requests, their answers, and finding it again after an upgrade.
//!
//! The one design choice: a thread of its own reads, so that what the server says unasked is shown
//! while a line is being edited. It also connects anew when the connection ends, so that whoever
//! edits need not notice.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use medusa_monitor::wire::{
    CLIENT_LINE_BYTES, Cancel, Complete, Completions, Done, Failed, FromClient, FromServer, More,
    NoticeKind, Resume, Run,
};

use crate::limits::{COMPLETION, MESSAGES, RECONNECT, RETRY};
use crate::login::{Credentials, log_in};
use crate::lua;
use crate::stream::{Messages, Stream};
use crate::target::Target;

/// What is told unasked, to whoever shows it. Must not wait.
pub type Announce = Box<dyn Fn(String) + Send>;

/// The id of the request that resumes a session; those of other requests begin behind it.
const RESUME: u64 = 1;

/// A session.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    heard: Receiver<Heard>,
    last: u64,
}

/// What the threads have in common.
#[derive(Debug)]
struct Shared {
    target: Target,
    credentials: Option<Credentials>,
    state: Mutex<State>,
    changed: Condvar,
    /// Somebody does not want to wait any longer.
    interrupted: AtomicBool,
}

#[derive(Debug)]
enum State {
    /// Connected; what is sent goes here.
    Up(Stream),
    /// Connecting again.
    Trying,
    /// It was given up, for this reason.
    Down(String),
    /// It is to be tried once more.
    Wanted,
    /// The session is over.
    Over,
}

/// What the threads tell the one that asks.
#[derive(Debug)]
enum Heard {
    Message(FromServer),
    /// The connection has ended.
    Lost,
    /// The user pressed ctrl-C.
    Interrupt,
}

/// Why a statement has no result.
#[derive(Debug)]
pub enum Trouble {
    /// It failed.
    Failed(Failed),
    /// The connection did; the text says how.
    Lost(String),
}

/// Stops what runs; given to whoever notices ctrl-C.
#[derive(Clone, Debug)]
pub struct Interrupter(Arc<Shared>, SyncSender<Heard>);

impl Interrupter {
    /// Cancels the statement that runs.
    pub fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::SeqCst);
        self.0.changed.notify_all();
        // If the session is over there is nothing to stop.
        let _ = self.1.send(Heard::Interrupt);
    }
}

impl Link {
    /// Logs in on a new connection; `ask` is called if a name and a password are needed.
    pub fn open(
        target: &Target,
        ask: &mut dyn FnMut() -> Result<Credentials, String>,
        announce: Announce,
    ) -> Result<(Self, Opened, Interrupter), String> {
        let mut messages = Messages::new(target.connect()?);
        let mut credentials = None;
        let (hello, welcome) =
            log_in(&mut messages, &mut || Ok(credentials.insert(ask()?).clone()))?;
        let opened =
            Opened { server: hello.server, operator: welcome.operator.clone(), role: welcome.role };
        let up = messages.stream().try_clone().map_err(|e| e.to_string())?;
        let shared = Arc::new(Shared {
            target: target.clone(),
            credentials,
            state: Mutex::new(State::Up(up)),
            changed: Condvar::new(),
            interrupted: AtomicBool::new(false),
        });
        let (tell, heard) = sync_channel(MESSAGES);
        let interrupter = Interrupter(shared.clone(), tell.clone());
        let keeper =
            Keeper { shared: shared.clone(), tell, announce, token: welcome.session, kept: None };
        std::thread::spawn(move || keeper.keep(messages));
        Ok((Self { shared, heard, last: RESUME }, opened, interrupter))
    }

    /// Runs a statement; of a result that is a list, so many rows are wanted at first. What it
    /// prints goes to `print`.
    pub fn run(
        &mut self,
        code: &str,
        rows: u32,
        print: &mut dyn FnMut(&str),
    ) -> Result<Done, Trouble> {
        let id = self.next_id();
        let message =
            FromClient::Run(Run { id, code: lua::meant(code).into_owned(), rows: Some(rows) });
        let mut line = Vec::new();
        message.write(&mut line);
        if line.len() > CLIENT_LINE_BYTES {
            let message = format!(
                "the statement is too long: as JSON it has {} bytes, and {CLIENT_LINE_BYTES} is the \
                 limit; take it apart",
                line.len()
            );
            return Err(Trouble::Failed(Failed { message, ..Failed::default() }));
        }
        self.send(&message).map_err(Trouble::Lost)?;
        self.answer(id, print)
    }

    /// What follows of the last result.
    pub fn more(&mut self, rows: u32) -> Result<Done, Trouble> {
        let id = self.next_id();
        self.send(&FromClient::More(More { id, rows: Some(rows) })).map_err(Trouble::Lost)?;
        self.answer(id, &mut |_| {})
    }

    /// How the word in front of a place could go on; `None` if the server does not say so in time.
    pub fn complete(&mut self, code: &str, at: usize) -> Option<Completions> {
        if !matches!(*self.shared.state(), State::Up(_)) {
            return None;
        }
        let id = self.next_id();
        self.send(&FromClient::Complete(Complete { id, code: code.to_owned(), at })).ok()?;
        let until = Instant::now() + COMPLETION;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(Heard::Message(FromServer::Completions(c))) if c.id == id => return Some(c),
                Ok(Heard::Message(FromServer::Failed(f))) if f.id == id => return None,
                Ok(Heard::Lost)
                | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return None;
                }
                Ok(_) => {}
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Waits for the end of a request. The first interruption cancels it, the second one gives the
    /// connection up, with which the server ends it.
    fn answer(&mut self, id: u64, print: &mut dyn FnMut(&str)) -> Result<Done, Trouble> {
        let mut cancelled = false;
        loop {
            match self.heard.recv() {
                Ok(Heard::Message(FromServer::Print(said))) if said.id == id => print(&said.text),
                Ok(Heard::Message(FromServer::Done(done))) if done.id == id => return Ok(done),
                Ok(Heard::Message(FromServer::Failed(failed))) if failed.id == id => {
                    return Err(Trouble::Failed(failed));
                }
                Ok(Heard::Message(_)) => {}
                Ok(Heard::Interrupt) if cancelled => {
                    if let State::Up(stream) = &*self.shared.state() {
                        stream.shut_down();
                    }
                }
                Ok(Heard::Interrupt) => {
                    cancelled = true;
                    let message = FromClient::Cancel(Cancel { id: self.next_id(), run: id });
                    // If the connection has gone, that is heard next.
                    let _ = self.send_now(&message);
                }
                Ok(Heard::Lost) | Err(_) => {
                    return Err(Trouble::Lost(
                        "the connection ended while the statement ran; what it had done by then \
                         stays done"
                            .to_owned(),
                    ));
                }
            }
        }
    }

    fn send_now(&self, message: &FromClient) -> Result<(), String> {
        match &mut *self.shared.state() {
            State::Up(stream) => {
                stream.send(message).map_err(|e| format!("cannot send to the server: {e}"))
            }
            _ => Err("there is no connection".to_owned()),
        }
    }

    /// Sends, if need be when there is a connection again.
    fn send(&self, message: &FromClient) -> Result<(), String> {
        self.shared.interrupted.store(false, Ordering::SeqCst);
        let mut asked = false;
        let mut state = self.shared.state();
        loop {
            // Whatever was heard so far belongs to earlier requests.
            while self.heard.try_recv().is_ok() {}
            match &mut *state {
                State::Up(stream) => {
                    return stream
                        .send(message)
                        .map_err(|e| format!("cannot send to the server: {e}"));
                }
                State::Down(why) if asked => return Err(why.clone()),
                State::Down(_) => {
                    asked = true;
                    *state = State::Wanted;
                    self.shared.changed.notify_all();
                }
                State::Over => return Err("the session is over".to_owned()),
                State::Trying | State::Wanted => {
                    if self.shared.interrupted.load(Ordering::SeqCst) {
                        return Err("not connected yet; try again".to_owned());
                    }
                    state = self.shared.wait(state);
                }
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let State::Up(stream) = std::mem::replace(&mut *self.shared.state(), State::Over) {
            stream.shut_down();
        }
        self.shared.changed.notify_all();
    }
}

/// Who answers, and as whom it knows us.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The program and its version.
    pub server: String,
    /// Our name.
    pub operator: String,
    /// What we may do.
    pub role: medusa_monitor::wire::Role,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).expect("nobody panics while holding it")
    }
}

/// The thread that reads, and connects again.
struct Keeper {
    shared: Arc<Shared>,
    tell: SyncSender<Heard>,
    announce: Announce,
    /// What the session can be resumed by.
    token: String,
    /// What the server gave us to keep of the session, for the process that serves next.
    kept: Option<String>,
}

impl Keeper {
    fn keep(mut self, mut messages: Messages) {
        loop {
            let stopping = self.listen(&mut messages);
            {
                let mut state = self.shared.state();
                if matches!(*state, State::Over) {
                    return;
                }
                *state = State::Trying;
            }
            if self.tell.send(Heard::Lost).is_err() {
                return;
            }
            messages = match self.again(stopping) {
                Some(messages) => messages,
                None => return,
            };
        }
    }

    /// Reads to the end; tells whether the server had said that it stops.
    fn listen(&mut self, messages: &mut Messages) -> bool {
        let mut stopping = false;
        while let Ok(Some(message)) = messages.next_message() {
            match message {
                FromServer::Notice(notice) => {
                    stopping |= notice.kind == NoticeKind::Stopping;
                    self.kept = notice.kept.or(self.kept.take());
                    (self.announce)(notice.text);
                }
                message => {
                    if self.tell.send(Heard::Message(message)).is_err() {
                        break;
                    }
                }
            }
        }
        stopping
    }

    /// Connects again: for a while by itself, unless the server stops, then whenever somebody
    /// wants it. `None` when the session is over.
    fn again(&mut self, stopping: bool) -> Option<Messages> {
        let mut patience = if stopping { None } else { Some(RECONNECT) };
        loop {
            let begin = Instant::now();
            let why = match patience {
                None => "the server has stopped".to_owned(),
                Some(patience) => loop {
                    match self.connect() {
                        Ok(messages) => return self.up(messages),
                        Err(why) if begin.elapsed() >= patience => break why,
                        Err(_) => std::thread::sleep(RETRY),
                    }
                    if matches!(*self.shared.state(), State::Over) {
                        return None;
                    }
                },
            };
            let mut state = self.shared.state();
            if matches!(*state, State::Over) {
                return None;
            }
            (self.announce)(format!("not connected: {why}"));
            *state = State::Down(why);
            self.shared.changed.notify_all();
            while matches!(*state, State::Down(_)) {
                state = self.shared.wait(state);
            }
            // One try; who wants another asks again.
            patience = Some(RETRY);
        }
    }

    fn up(&self, mut messages: Messages) -> Option<Messages> {
        let stream = messages.stream().try_clone().ok()?;
        let mut state = self.shared.state();
        if matches!(*state, State::Over) {
            return None;
        }
        *state = State::Up(stream);
        self.shared.changed.notify_all();
        Some(messages)
    }

    /// Connects, logs in, and resumes the session.
    fn connect(&mut self) -> Result<Messages, String> {
        let mut messages = Messages::new(self.shared.target.connect()?);
        let credentials = self.shared.credentials.clone();
        let (_, welcome) = log_in(&mut messages, &mut || {
            credentials.clone().ok_or_else(|| "the server asks for a password now".to_owned())
        })?;
        let (session, kept) = (self.token.clone(), self.kept.clone());
        let resume = FromClient::Resume(Resume { id: RESUME, session, kept });
        messages.stream().send(&resume).map_err(|e| e.to_string())?;
        // What is said meanwhile is told when it is clear what it belongs to.
        let mut notices = VecDeque::new();
        let outcome = loop {
            match messages.next_message().map_err(|e| e.to_string())? {
                Some(FromServer::Notice(notice)) => {
                    if notices.len() < MESSAGES {
                        notices.push_back(notice.text);
                    }
                }
                Some(FromServer::Done(done)) if done.id == RESUME => break Ok(()),
                Some(FromServer::Failed(failed)) if failed.id == RESUME => {
                    break Err(failed.message);
                }
                Some(_) => {}
                None => return Err("the server closed the connection".to_owned()),
            }
        };
        // The process that has the session goes on with it, under its own name. Another one makes
        // a new session of what was kept.
        if outcome.is_err() || self.kept.take().is_some() {
            self.token = welcome.session;
        }
        (self.announce)(match outcome {
            Ok(()) => "connected again: the session goes on".to_owned(),
            Err(why) => format!("connected again: {why}"),
        });
        for notice in notices {
            (self.announce)(notice);
        }
        Ok(messages)
    }
}
