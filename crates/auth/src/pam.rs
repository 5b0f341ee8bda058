//! Asks PAM about a user of the system, in a process of its own.
//!
//! The one design choice: the modules of PAM are other people's code, and do what a server cannot
//! stand: they wait, they start programs, they change the identity of the whole process, and some
//! need root. So each question goes to a program that is started for it, which is this one again
//! (`medusa ask-pam`), becomes root if it may, answers one line and ends. One that does not answer
//! in time is killed.

use std::ffi::{CString, OsString};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use medusa_core::sys::pam::{PamError, authenticate, is_available};
use medusa_core::sys::privileges::{Keep, become_root, pass_on};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long one question may take.
pub const PAM_TIME: Duration = Duration::from_secs(30);

/// Bytes of a question: service, name, host and password.
const MAX_QUESTION: u64 = 4096;

/// Bytes of an answer.
const MAX_ANSWER: usize = 512;

/// Where services are described.
const SERVICES: &str = "/etc/pam.d";

/// Services that are tried where none is named, the first that there is.
pub const USUAL_SERVICES: [&str; 2] = ["medusa", "ftp"];

/// How PAM is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pam {
    /// The program that asks it: one that calls [`answer`] with its input and output.
    pub program: PathBuf,
    /// The arguments with which it does that.
    pub arguments: Vec<OsString>,
    /// The service, a file in `/etc/pam.d`.
    pub service: String,
}

/// Whether there is a service of this name, and the library to ask it.
pub fn has_service(name: &str) -> bool {
    let is_name = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    is_name && Path::new(SERVICES).join(name).is_file() && is_available()
}

/// A program that was started; it is killed when this is dropped, with what it has started itself.
struct Asked(Child);

impl Drop for Asked {
    fn drop(&mut self) {
        // It may have ended by itself. What cannot be killed is not waited for either.
        if kill_process_group(Pid::from_child(&self.0), Signal::KILL).is_ok() {
            let _ = self.0.wait();
        }
    }
}

impl Pam {
    /// Asks whether this is the password, and the account may be used; the inner error is the
    /// reason why not. Blocks, for up to [`PAM_TIME`].
    pub(crate) fn ask(
        &self,
        name: &str,
        password: &[u8],
        from: Option<IpAddr>,
    ) -> Result<Result<(), String>, String> {
        let failed = |e: io::Error| format!("{} cannot be asked: {e}", self.program.display());
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.process_group(0);
        let child = pass_on(Keep::Logins, || command.spawn()).and_then(|child| child);
        let mut asked = Asked(child.map_err(failed)?);
        let host = from.map(|ip| ip.to_string()).unwrap_or_default();
        let question =
            [self.service.as_bytes(), name.as_bytes(), host.as_bytes(), password].join(&0);
        // Less than a pipe holds; what cannot be written finds no answer.
        let _ = asked.0.stdin.take().expect("piped").write_all(&question);
        let line = line(asked.0.stdout.take().expect("piped")).map_err(failed)?;
        let (word, why) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "yes" => Ok(Ok(())),
            "no" => Ok(Err(format!("PAM says: {why}"))),
            "failed" => Err(format!("PAM has failed (service `{}`): {why}", self.service)),
            _ => Err(failed(io::Error::other("it gave no answer"))),
        }
    }
}

/// Reads a line, for so long.
fn line(mut from: impl Read + std::os::fd::AsFd) -> io::Result<String> {
    let until = Instant::now() + PAM_TIME;
    let mut line = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&from, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready?,
        };
        let mut part = [0; MAX_ANSWER];
        let n = from.read(&mut part)?;
        line.extend_from_slice(&part[..n]);
        // Something that a module has left behind may hold the other end open.
        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            line.truncate(end);
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        if n == 0 || line.len() > MAX_ANSWER {
            return Ok(String::new());
        }
    }
}

/// Reads one question, asks PAM, and writes the answer: what the program does that was started for
/// it. Becomes root if it can.
pub fn answer(input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut question = Vec::new();
    input.take(MAX_QUESTION).read_to_end(&mut question)?;
    let answer = match ask(&question) {
        Ok(()) => "yes".to_owned(),
        Err(PamError::Refused(why)) => format!("no {why}"),
        Err(PamError::Failed(why)) => format!("failed {why}"),
    };
    let mut line = answer.replace('\n', " ").into_bytes();
    line.truncate(MAX_ANSWER - 1);
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

fn ask(question: &[u8]) -> Result<(), PamError> {
    let malformed = || PamError::Failed("the question makes no sense".to_owned());
    let mut parts = question.split(|&byte| byte == 0).map(CString::new);
    let mut part = || parts.next().and_then(Result::ok).ok_or_else(malformed);
    let (service, user, host, password) = (part()?, part()?, part()?, part()?);
    if parts.next().is_some() {
        return Err(malformed());
    }
    // Who may not is asked as what it is: modules then find out what they can.
    let _ = become_root();
    authenticate(&service, &user, Some(&*host).filter(|host| !host.is_empty()), &password)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a shell script in the program's place.
    fn asked(script: &str) -> Result<Result<(), String>, String> {
        let pam = Pam {
            program: "/bin/sh".into(),
            arguments: ["-c".into(), script.into()].into(),
            service: "some".into(),
        };
        pam.ask("ann", b"pass word", Some([127, 0, 0, 1].into()))
    }

    #[test]
    fn an_answer_is_one_line() {
        assert_eq!(asked("echo yes"), Ok(Ok(())));
        assert_eq!(asked("echo no such luck"), Ok(Err("PAM says: such luck".to_owned())));
        assert_eq!(
            asked("echo failed to load"),
            Err("PAM has failed (service `some`): to load".to_owned())
        );
        for script in
            ["true", "echo", "echo yesterday", "printf yes", "exec head -c 9999 /dev/zero"]
        {
            let answer = asked(script);
            assert!(answer.as_ref().is_err_and(|why| why.contains("no answer")), "{answer:?}");
        }
        let missing = Pam { program: "/nowhere".into(), arguments: vec![], service: String::new() };
        assert!(missing.ask("ann", b"x", None).is_err_and(|why| why.starts_with("/nowhere ")));
    }

    #[test]
    fn the_question_has_four_parts() {
        let script = "test \"$(tr '\\0' '|')\" = 'some|ann|127.0.0.1|pass word' && echo yes";
        assert_eq!(asked(script), Ok(Ok(())));
    }

    #[test]
    fn what_a_module_leaves_behind_keeps_nobody_waiting() {
        // Longer than anybody waits for an answer.
        assert_eq!(asked("sleep 100 & echo yes"), Ok(Ok(())));
    }

    #[test]
    fn a_question_that_makes_no_sense_is_no_yes() {
        for question in ["", "a\0b", "a\0b\0c", "a\0b\0c\0d\0e"] {
            let mut said = Vec::new();
            answer(question.as_bytes(), &mut said).expect("memory takes everything");
            assert!(!said.starts_with(b"yes") && said.ends_with(b"\n"), "{question:?} {said:?}");
        }
    }

    #[test]
    fn services_are_plain_names() {
        for name in ["", ".", "..", "../passwd", "/etc/passwd", "no such service"] {
            assert!(!has_service(name), "{name}");
        }
    }
}
