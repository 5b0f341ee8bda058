//! A client's connection: the login, and its requests on their way to a session.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use medusa_auth::scram::{self, Challenge, ClientFirst};
use medusa_core::{ChannelId, Close, Context, Ending, Frame, Peer, Protocol, Terminator};

use crate::limits::{FAILED_LOGIN_DELAY, FAREWELL, REST};
use crate::monitor::Inner;
use crate::operators::{Operators, OperatorsError};
use crate::outbox::Outbox;
use crate::session::Session;
use crate::wire::{
    self, CLIENT_LINE_BYTES, Done, Failed, FromClient, FromServer, Hello, LOGIN_LINE_BYTES,
    LineBuffer, LoginKind, Notice, NoticeKind, Refused, Role, VERSION, Welcome,
};

/// The protocol of a connection.
pub(crate) struct Connection {
    monitor: Rc<Inner>,
    id: Option<ChannelId>,
    outbox: Option<Rc<Outbox>>,
    lines: LineBuffer,
    from: String,
    state: State,
    /// Other connections have their turn before the next line is looked at.
    rests: Rc<Cell<bool>>,
    /// The client will say nothing more.
    input_ended: bool,
    /// Why the connection ends as soon as no statement runs.
    leaving: Option<NoticeKind>,
}

/// What a helper thread has read.
type Read = Rc<RefCell<Option<Result<Operators, OperatorsError>>>>;

enum State {
    /// Waits for the first message of a login.
    Hello,
    /// The file of operators is being read.
    Reading(ClientFirst, Read),
    /// Waits for the proof.
    Challenged(Challenge, String, Option<Role>),
    /// The login has failed; the answer is held back.
    Failed(String),
    /// Logged in.
    In(Rc<Session>),
}

impl Connection {
    pub(crate) fn new(monitor: Rc<Inner>) -> Self {
        Self {
            monitor,
            id: None,
            outbox: None,
            lines: LineBuffer::new(LOGIN_LINE_BYTES),
            from: String::new(),
            state: State::Hello,
            rests: Rc::default(),
            input_ended: false,
            leaving: None,
        }
    }

    fn say(cx: &mut Context<'_>, message: &FromServer) {
        cx.send_with(|out| message.write(out));
    }

    fn refuse(cx: &mut Context<'_>, why: String) -> Result<(), Close> {
        Self::say(cx, &FromServer::Refused(Refused { why }));
        Err(Close::Linger)
    }

    /// The name of the user at the other end, if that is enough to log in.
    fn known_user(cx: &Context<'_>) -> Option<String> {
        let user = matches!(cx.peer(), Peer::Unix).then(|| cx.peer_user())??;
        if user == 0 {
            return Some("root".to_owned());
        }
        (user == rustix::process::geteuid().as_raw()).then(|| format!("uid {user}"))
    }

    fn welcome(
        &mut self,
        operator: &str,
        role: Role,
        data: Option<String>,
        cx: &mut Context<'_>,
    ) -> Result<(), Close> {
        let outbox = Rc::new(Outbox::new(cx.waker()));
        self.monitor.end_login(cx.id());
        cx.clear_timeout();
        match self.monitor.open(operator, role, &self.from, outbox.clone()) {
            Ok(session) => {
                self.outbox = Some(outbox);
                self.lines.set_limit(CLIENT_LINE_BYTES);
                tracing::debug!(
                    "session {} of {operator} ({role}) from {} begins",
                    session.number,
                    self.from
                );
                let welcome = Welcome {
                    operator: operator.to_owned(),
                    role,
                    session: session.token.borrow().clone(),
                    data,
                };
                Self::say(cx, &FromServer::Welcome(welcome));
                self.state = State::In(session);
                Ok(())
            }
            Err(why) => Self::refuse(cx, why),
        }
    }

    /// A login that has failed: told later, in the same words whatever was wrong.
    fn fail(&mut self, why: &str, told: &str, cx: &mut Context<'_>) {
        self.monitor.failed.set(self.monitor.failed.get() + 1);
        tracing::warn!("a login to the monitor from {} has failed: {why}", self.from);
        self.state = State::Failed(told.to_owned());
        cx.pause_input();
        cx.set_timeout(FAILED_LOGIN_DELAY);
    }

    /// Looks at the lines that have come, one at a time.
    fn take_lines(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        while !self.rests.get() && !matches!(self.state, State::Reading(..) | State::Failed(_)) {
            let line = match self.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(e) => return self.overlong(&e.to_string(), cx),
            };
            if !line.is_empty() {
                self.line(&line, cx)?;
                self.rest(cx);
            }
        }
        let waits = self.rests.get() || matches!(self.state, State::Reading(..) | State::Failed(_));
        if waits {
            cx.pause_input();
        } else {
            cx.resume_input();
        }
        self.leave_if_done(cx)
    }

    /// Lets other connections have their turn, if more lines wait.
    fn rest(&mut self, cx: &mut Context<'_>) {
        if self.lines.pending() > 0 && matches!(self.state, State::In(_)) {
            self.rests.set(true);
            let (rests, waker) = (self.rests.clone(), cx.waker());
            cx.handle().timer(REST, move |_| {
                rests.set(false);
                waker.wake();
            });
        }
    }

    fn overlong(&mut self, why: &str, cx: &mut Context<'_>) -> Result<(), Close> {
        if let State::In(_) = self.state {
            let failed = Failed { message: why.to_owned(), ..Failed::default() };
            Self::say(cx, &FromServer::Failed(failed));
            return Err(Close::Linger);
        }
        Self::refuse(cx, why.to_owned())
    }

    fn line(&mut self, line: &[u8], cx: &mut Context<'_>) -> Result<(), Close> {
        let message = FromClient::read(line);
        if let State::In(session) = &self.state {
            let session = session.clone();
            match message {
                Ok(message) => self.request(&session, message, cx),
                Err(e) => {
                    let failed = Failed { message: e.to_string(), ..Failed::default() };
                    self.tell(&FromServer::Failed(failed));
                }
            }
            return Ok(());
        }
        match (message, std::mem::replace(&mut self.state, State::Hello)) {
            (Ok(FromClient::Login(login)), State::Hello) => match ClientFirst::read(&login.data) {
                Ok(first) => self.look_up(first, cx),
                Err(e) => {
                    let told = e.to_string();
                    self.fail(&told, &told, cx);
                }
            },
            (Ok(FromClient::Proof(proof)), State::Challenged(challenge, name, role)) => {
                return match (challenge.verify(&proof.data), role) {
                    (Ok(data), Some(role)) => self.welcome(&name, role, Some(data), cx),
                    (result, _) => {
                        let e = result.err().unwrap_or(scram::ScramError::Wrong);
                        let why = format!("{e}, as `{}`", name.escape_debug());
                        self.fail(&why, &scram::ScramError::Wrong.to_string(), cx);
                        Ok(())
                    }
                };
            }
            (Ok(_), _) => {
                let told = "log in first";
                self.fail("something else was said", told, cx);
            }
            (Err(e), _) => {
                let told = e.to_string();
                self.fail(&told, &told, cx);
            }
        }
        Ok(())
    }

    /// Has the operator looked up.
    fn look_up(&mut self, first: ClientFirst, cx: &mut Context<'_>) {
        let Some(path) = self.monitor.settings.borrow().operators.clone() else {
            let told = scram::ScramError::Wrong.to_string();
            return self.fail("there is no file of operators", &told, cx);
        };
        let read = Read::default();
        let (to, waker) = (read.clone(), cx.waker());
        cx.handle().run(
            move || Operators::read(&path),
            move |result| {
                let lost = |lost| Err(OperatorsError::Io(std::io::Error::other(lost)));
                *to.borrow_mut() = Some(result.unwrap_or_else(lost));
                waker.wake();
            },
        );
        self.state = State::Reading(first, read);
    }

    /// The file was read.
    fn looked_up(&mut self, cx: &mut Context<'_>) {
        let State::Reading(_, read) = &self.state else { return };
        let Some(result) = read.take() else { return };
        let State::Reading(first, _) = std::mem::replace(&mut self.state, State::Hello) else {
            return;
        };
        match (result, scram::nonce()) {
            (Ok(operators), Ok(nonce)) => {
                let name = first.name().to_owned();
                let (role, record) = operators.look_up(&name);
                let (challenge, data) = first.challenge(record, &nonce);
                Self::say(cx, &FromServer::Challenge(wire::Challenge { data }));
                self.state = State::Challenged(challenge, name, role);
            }
            (Err(e), _) => {
                tracing::error!("nobody can log in to the monitor: the file of operators: {e}");
                self.fail("the file of operators cannot be used", "nobody can log in", cx);
            }
            (_, Err(e)) => self.fail(&format!("no random numbers: {e}"), "nobody can log in", cx),
        }
    }

    fn tell(&self, message: &FromServer) {
        if let Some(outbox) = &self.outbox {
            outbox.push(message);
        }
    }

    fn request(&mut self, session: &Rc<Session>, message: FromClient, cx: &mut Context<'_>) {
        match message {
            FromClient::Run(run) => session.run(run),
            FromClient::More(more) => session.more(more.id, more.rows),
            FromClient::Complete(word) => session.complete(word.id, word.code, word.at),
            FromClient::Cancel(cancel) => {
                let message = if session.cancel(Some(cancel.run)) {
                    FromServer::Done(Done { id: cancel.id, ..Done::default() })
                } else {
                    let message = format!("no statement {} is running", cancel.run);
                    FromServer::Failed(Failed { id: cancel.id, message, ..Failed::default() })
                };
                self.tell(&message);
            }
            FromClient::Resume(resume) => {
                let Some(outbox) = &self.outbox else { return };
                let found = self.monitor.resume(&resume.session, session, outbox, &self.from);
                match (found, resume.kept) {
                    (Some(found), _) => {
                        self.state = State::In(found);
                        self.tell(&FromServer::Done(Done { id: resume.id, ..Done::default() }));
                    }
                    (None, Some(kept)) => session.restore(resume.id, kept),
                    (None, None) => self.tell(&FromServer::Failed(Failed {
                        id: resume.id,
                        message: "the session is not here any more; this one is new".to_owned(),
                        ..Failed::default()
                    })),
                }
            }
            FromClient::Login(_) | FromClient::Proof(_) => {
                let message = "you have logged in already".to_owned();
                Self::say(cx, &FromServer::Failed(Failed { message, ..Failed::default() }));
            }
        }
    }

    /// Begins to end the connection: at once, or when the statement that runs has ended.
    fn leave(&mut self, why: NoticeKind, cx: &mut Context<'_>) -> Result<(), Close> {
        if !matches!(self.state, State::In(_)) {
            return Err(Close::Flush);
        }
        if self.leaving.is_none() {
            cx.set_timeout(FAREWELL);
        }
        self.leaving = Some(why);
        self.leave_if_done(cx)
    }

    fn leave_if_done(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let State::In(session) = &self.state else { return Ok(()) };
        if session.is_busy() {
            return Ok(());
        }
        if let Some(why) = self.leaving {
            return self.say_farewell(why, cx);
        }
        if self.input_ended && !self.rests.get() && self.lines.pending() == 0 {
            self.flush(cx);
            return Err(Close::Flush);
        }
        Ok(())
    }

    fn say_farewell(&mut self, kind: NoticeKind, cx: &mut Context<'_>) -> Result<(), Close> {
        let State::In(session) = &self.state else { return Err(Close::Flush) };
        let mut notice = Notice { kind, text: String::new(), kept: None };
        if kind == NoticeKind::Moved {
            let (kept, lost) = session.keep();
            "another process serves now, or nobody listens here any more: connect again"
                .clone_into(&mut notice.text);
            if !lost.is_empty() {
                notice.text.extend(["; not taken along: ", &lost.join(", ")]);
            }
            if let Some((changes, _)) = session.desk.trial.borrow().armed() {
                let changes = changes.to_string();
                notice.text.extend([
                    "; unconfirmed changes are gone, for it serves what the configuration says: ",
                    &changes,
                ]);
            }
            notice.kept = kept;
        } else {
            "the server stops".clone_into(&mut notice.text);
        }
        self.flush(cx);
        Self::say(cx, &FromServer::Notice(notice));
        Err(Close::Flush)
    }

    fn flush(&self, cx: &mut Context<'_>) {
        if let Some(outbox) = &self.outbox {
            outbox.flush(cx);
        }
    }
}

impl Protocol for Connection {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.set_terminator(Terminator::None);
        self.id = Some(cx.id());
        self.from = cx.peer().to_string();
        let user = Self::known_user(cx);
        let login = if user.is_some() { LoginKind::None } else { LoginKind::ScramSha256 };
        let server = self.monitor.server.clone();
        Self::say(cx, &FromServer::Hello(Hello { server, version: VERSION, login }));
        if let Some(user) = user {
            return self.welcome(&user, Role::All, None, cx);
        }
        let settings = self.monitor.settings.borrow().clone();
        if settings.operators.is_none() && matches!(cx.peer(), Peer::Unix) {
            let why = "this is the monitor of another user, who has named no operators";
            return Self::refuse(cx, why.to_owned());
        }
        self.monitor.begin_login(cx.id());
        cx.set_timeout(settings.login_within);
        Ok(())
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        match frame {
            Frame::Part(bytes) | Frame::End(bytes) => self.lines.feed(bytes),
            Frame::Eof(bytes) => {
                self.lines.feed(bytes);
                self.input_ended = true;
                if !matches!(self.state, State::In(_)) {
                    // Nobody waits for an answer whose question was not put.
                    return Err(Close::Flush);
                }
                // A last line needs no end.
                self.lines.feed(b"\n");
            }
            Frame::Overlong(_) | Frame::Malformed(_) => return Err(Close::Flush),
        }
        self.take_lines(cx)
    }

    fn resumed(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.looked_up(cx);
        self.flush(cx);
        self.take_lines(cx)
    }

    fn passed(&mut self, _: u64, _: u64, cx: &mut Context<'_>) -> Result<(), Close> {
        if let Some(outbox) = &self.outbox {
            outbox.sent(cx);
        }
        Ok(())
    }

    fn timeout(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        match (&self.state, self.leaving) {
            (State::Failed(told), _) => {
                let told = told.clone();
                Self::refuse(cx, told)
            }
            (State::In(session), Some(why)) => {
                session.cancel(None);
                self.say_farewell(why, cx)
            }
            _ => {
                let within = self.monitor.settings.borrow().login_within.as_secs_f64();
                tracing::warn!("a login to the monitor from {} took too long", self.from);
                Self::refuse(cx, format!("the login took longer than {within} s"))
            }
        }
    }

    fn retire(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.leave(NoticeKind::Moved, cx)
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.leave(NoticeKind::Stopping, cx)
    }

    fn closed(&mut self, _: &Ending) {
        if let Some(id) = self.id {
            self.monitor.end_login(id);
        }
        if let (State::In(session), Some(outbox)) = (&self.state, &self.outbox)
            && session.is_of(outbox)
        {
            let (monitor, session) = (self.monitor.clone(), session.clone());
            monitor.detach(&session);
        }
    }

    fn doing(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        match &self.state {
            State::In(session) => {
                write!(out, "session {} of {}", session.number, session.operator)
            }
            _ => out.write_str("logs in"),
        }
    }
}
