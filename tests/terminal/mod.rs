//! A terminal that a test types into and looks at, by tmux.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test uses some of it

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use crate::server::PATIENCE;

/// A terminal of 80 by 24; it is closed when the test is over.
pub struct Terminal {
    socket: PathBuf,
}

/// Whether there is no tmux; says so.
pub fn is_missing(test: &str) -> bool {
    use std::io::Write as _;
    let missing = Command::new("tmux").arg("-V").output().is_err();
    if missing {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: tmux is not installed");
    }
    missing
}

impl Terminal {
    /// Runs a command of the shell; its sockets are kept in a directory.
    pub fn run(directory: &Path, environment: &[(&str, &str)], command: &str) -> Self {
        let terminal = Self { socket: directory.join("tmux") };
        let mut start = terminal.tmux();
        start.args(["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24"]);
        for (name, value) in environment {
            start.arg("-e").arg(format!("{name}={value}"));
        }
        // What the command leaves behind stays on the screen.
        let output = start.arg(format!("{command}; echo \"left $?\"; exec cat")).output();
        assert_done(&output.expect("tmux runs"));
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        // Its own settings, whatever the terminal around the tests is.
        command.arg("-S").arg(&self.socket).arg("-u").env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        command
    }

    /// Types keys, by the names that tmux has for them.
    pub fn keys(&self, keys: &[&str]) {
        assert_done(&self.tmux().arg("send-keys").args(keys).output().expect("tmux runs"));
    }

    /// Types text and presses enter.
    pub fn enter(&self, text: &str) {
        self.type_in(text);
        self.keys(&["Enter"]);
    }

    /// Types text.
    pub fn type_in(&self, text: &str) {
        assert_done(&self.tmux().args(["send-keys", "-l", text]).output().expect("tmux runs"));
    }

    /// Everything that was shown, the newest at the end.
    pub fn screen(&self) -> String {
        self.capture(&[])
    }

    /// The same with the escapes of its colours.
    pub fn colours(&self) -> String {
        self.capture(&["-e"])
    }

    fn capture(&self, options: &[&str]) -> String {
        let mut capture = self.tmux();
        capture.args(["capture-pane", "-p", "-S", "-", "-J"]).args(options);
        let output = capture.output().expect("tmux runs");
        assert_done(&output);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n").trim_end().to_owned()
    }

    /// Waits until the screen is as told.
    pub fn wait(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let begin = Instant::now();
        loop {
            let screen = self.screen();
            if is_it(&screen) {
                return screen;
            }
            assert!(begin.elapsed() < PATIENCE, "no {what}:\n{screen}");
        }
    }

    /// Waits until the screen ends so.
    pub fn wait_for_end(&self, end: &str) -> String {
        self.wait(end, |screen| screen.ends_with(end))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
