//! `medusa console`: what scripts get of it, and what a person at a terminal sees.

mod fake;
mod server;
mod terminal;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use fake::{Fake, OPERATOR, runtime};
use rustix::process::{Pid, Signal, kill_process};
use server::{PATIENCE, Server, get, medusa, read_answer};
use terminal::Terminal;

/// Runs a console with these arguments, with this on its standard input.
fn console(arguments: &[&str], input: &str) -> Output {
    let mut child = medusa(["console"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there");
    // It may have ended before it has read everything.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it runs")
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

/// A monitor in a directory of its own.
fn fake(directory: &Path) -> Fake {
    Fake::unix(&directory.join("monitor.sock"))
}

#[test]
fn statements_of_the_command_line_run_until_one_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(directory.path());
    let good = console(&[&fake.address, "-e", "1", "-e", "channels()", "-e", "hello()"], "");
    assert_eq!(
        out(&good),
        "1\n\
         peer                sent        age\n\
         ───────────────  ───────  ─────────\n\
         127.0.0.1:40000  2.0 KiB     500 ms\n\
         [::1]:5             12 B  2 h 1 min\n\
         hello\n\\u{1b}]0;owned\\u{7}\nevil \\u{1b}[2J\nnil\n"
    );
    assert_eq!((status(&good), err(&good)), (0, ""));
    let bad = console(&[&fake.address, "-e", "error", "-e", "2"], "");
    assert_eq!((status(&bad), out(&bad), err(&bad)), (1, "", "error: no way\n"));
    assert_eq!(fake.statements(), ["1", "channels()", "hello()", "error"]);
}

#[test]
fn results_are_lines_of_json_for_those_who_want_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(directory.path());
    let good = console(&["--json", &fake.address, "-e", "channels()", "-e", "hello()"], "");
    assert_eq!(
        out(&good),
        "[{\"peer\":\"127.0.0.1:40000\",\"sent\":2048,\"age\":0.5},\
         {\"peer\":\"[::1]:5\",\"sent\":12,\"age\":7260.0}]\n\
         \"evil \\u001b[2J\"\nnull\n"
    );
    assert_eq!(status(&good), 0);
    let many = console(&["--json", &fake.address, "-e", "many()"], "");
    let rows: serde_json::Value = serde_json::from_str(out(&many)).expect("one value");
    let rows = rows.as_array().expect("a list");
    assert_eq!((rows.len(), &rows[999]["n"]), (1000, &999.into()));
    let bad = console(&["--json", &fake.address, "-e", "error"], "");
    let told: serde_json::Value = serde_json::from_str(err(&bad)).expect("an object");
    assert_eq!((status(&bad), out(&bad)), (1, ""));
    assert_eq!(told["failed"]["message"], "no way");
}

#[test]
fn statements_on_standard_input_may_have_several_lines() {
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(directory.path());
    let input =
        "-- a comment\n\n1\nx = {\n  2,\n}\nwhile a then_some()\nend\nx = y +\n  foo.bar\n3\n";
    let output = console(&[&fake.address], input);
    // What the fake does not know it says back; what is not complete it wants more of.
    assert_eq!(out(&output), "1\nx = {\n  2,\n}\nwhile a then_some()\nend\n");
    assert_eq!(
        err(&output),
        "error: attempt to index a nil value (global 'foo')\n  2 │   foo.bar\n    │   ^^^\n"
    );
    assert_eq!(status(&output), 1);
    assert_eq!(fake.statements().len(), 5);
    // A last line without an end, and a statement that never ends.
    let output = console(&[&fake.address], "1\n2");
    assert_eq!((status(&output), out(&output)), (0, "1\n2\n"));
    let output = console(&[&fake.address], "while a then_some()\n");
    assert_eq!(status(&output), 1, "{}", err(&output));
    assert!(err(&output).contains("'end' expected"), "{}", err(&output));
}

#[test]
fn what_cannot_begin_ends_with_status_2() {
    let directory = tempfile::tempdir().expect("a directory");
    let nobody = directory.path().join("nobody.sock");
    let output = console(&[&format!("unix:{}", nobody.display()), "-e", "1"], "");
    assert_eq!(status(&output), 2);
    assert!(err(&output).contains("no monitor listens there"), "{}", err(&output));
    let output = console(&["nonsense"], "");
    assert_eq!(status(&output), 2);
    assert!(err(&output).contains("use unix:PATH, HOST:PORT or :PORT"), "{}", err(&output));
    let fake = fake(directory.path());
    let output = console(&[&fake.address, "-e", "hang_up()"], "");
    assert_eq!(status(&output), 2);
    assert!(err(&output).contains("the connection ended while the statement ran"));
}

#[test]
fn a_signal_cancels_the_statement_of_a_script() {
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(directory.path());
    let mut child = medusa(["console", &fake.address, "-e", "wait()", "-e", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there");
    let mut said = [0; 8];
    child.stdout.as_mut().expect("piped").read_exact(&mut said).expect("it prints at once");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((status(&output), out(&output), err(&output)), (1, "", "cancelled\n"));
    assert_eq!(fake.statements(), ["wait()"]);
}

#[test]
fn both_sides_prove_that_they_know_the_password() {
    let directory = tempfile::tempdir().expect("a directory");
    let fake = Fake::tcp();
    let file = directory.path().join("password");
    let name = file.to_str().expect("UTF-8");
    let write = |text: &str, mode: u32| {
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("ours");
    };
    let login = |user: &str| {
        console(&[&fake.address, "--user", user, "--password-file", name, "-e", "1"], "")
    };
    write(&format!("{}\n", OPERATOR.1), 0o600);
    let good = login(OPERATOR.0);
    assert_eq!((status(&good), out(&good)), (0, "1\n"), "{}", err(&good));
    write("another\n", 0o600);
    let wrong = login(OPERATOR.0);
    assert_eq!((status(&wrong), out(&wrong)), (2, ""));
    assert!(err(&wrong).contains("wrong name or password\\u{1b}[2J"), "{}", err(&wrong));
    // A server that lets everybody in does not know the password.
    let impostor = login("eve");
    assert_eq!(status(&impostor), 2);
    assert!(err(&impostor).contains("the server does not know the password"), "{}", err(&impostor));
    assert_eq!(fake.statements(), ["1"]);
    write(OPERATOR.1, 0o644);
    let open = login(OPERATOR.0);
    assert_eq!(status(&open), 2);
    assert!(err(&open).contains("chmod 600"), "{}", err(&open));
}

#[test]
fn the_server_of_the_same_user_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = runtime(directory.path());
    let find = || {
        medusa(["console", "-e", "7"])
            .env("MEDUSA_RUNTIME_DIR", &sockets)
            .output()
            .expect("it runs")
    };
    let _one = Fake::unix(&sockets.join("one.sock"));
    let found = find();
    assert_eq!((status(&found), out(&found)), (0, "7\n"), "{}", err(&found));
    let _two = Fake::unix(&sockets.join("two.sock"));
    let several = find();
    assert_eq!(status(&several), 2);
    for name in ["one", "two"] {
        let command = format!("  medusa console unix:{}/{name}.sock", sockets.display());
        assert!(err(&several).lines().any(|line| line == command), "{}", err(&several));
    }
}

/// A console at a terminal, with its home in a directory.
fn at_terminal(directory: &Path, fake: &Fake) -> Terminal {
    let home = directory.to_str().expect("UTF-8");
    let command = format!("{} console {}", env!("CARGO_BIN_EXE_medusa"), fake.address);
    let environment = [("HOME", home), ("XDG_STATE_HOME", home), ("NO_COLOR", "")];
    let terminal = Terminal::run(directory, &environment, &command);
    terminal.wait_for_end("medusa>");
    terminal
}

#[test]
fn a_person_types_statements_and_sees_results() {
    if terminal::is_missing("a_person_types_statements_and_sees_results") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(directory.path());
    let terminal = at_terminal(directory.path(), &fake);
    terminal.enter("channels()");
    terminal.wait_for_end(
        "medusa> channels()\n\
         peer                sent        age\n\
         ───────────────  ───────  ─────────\n\
         127.0.0.1:40000  2.0 KiB     500 ms\n\
         [::1]:5             12 B  2 h 1 min\n\
         medusa>",
    );
    // The head of the table is bold, the numbers have a colour.
    let colours = terminal.colours();
    assert!(colours.contains("\x1b[1mpeer") && colours.contains("\x1b[36m"), "{colours:?}");
    // A statement of several lines.
    terminal.enter("x = y +");
    terminal.enter("  foo.bar");
    terminal.wait_for_end(
        "medusa> x = y +\n  foo.bar\n\
         error: attempt to index a nil value (global 'foo')\n  2 │   foo.bar\n    │   ^^^\nmedusa>",
    );
    // What the server knows to be incomplete is taken up again.
    terminal.enter("while a then_some()");
    terminal.wait_for_end("medusa> while a then_some()");
    terminal.enter("end");
    terminal.wait_for_end("while a then_some()\nend\nwhile a then_some()\nend\nmedusa>");
    // Nothing steers the terminal.
    terminal.enter("hello()");
    terminal.wait_for_end("hello\n\\u{1b}]0;owned\\u{7}\nevil \\u{1b}[2J\nnil\nmedusa>");
    terminal.keys(&["C-d"]);
    terminal.wait_for_end("left 0");
}

#[test]
fn a_person_has_completion_history_and_more() {
    if terminal::is_missing("a_person_has_completion_history_and_more") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(directory.path());
    let terminal = at_terminal(directory.path(), &fake);
    terminal.type_in("print(cha");
    terminal.keys(&["Tab"]);
    terminal.wait("the choice", |screen| {
        screen.contains("channels") && screen.contains("channel_limit")
    });
    terminal.wait_for_end("medusa> print(channel");
    terminal.keys(&["s", "Tab"]);
    terminal.wait_for_end("medusa> print(channels");
    terminal.keys(&["C-c"]);
    terminal.wait("a new line", |screen| screen.ends_with("\nmedusa>"));
    terminal.type_in("cl");
    terminal.keys(&["Tab"]);
    terminal.wait_for_end("medusa> close");
    // Names that would steer the terminal are not offered.
    terminal.keys(&["C-u", "e", "Tab"]);
    terminal.wait_for_end("medusa> e");
    terminal.keys(&["C-u"]);
    terminal.enter("41");
    terminal.wait_for_end("medusa> 41\n41\nmedusa>");
    terminal.enter("password = 42");
    terminal.wait_for_end("42\nmedusa>");
    // It is not even remembered.
    terminal.keys(&["Up"]);
    terminal.wait_for_end("medusa> 41");
    terminal.keys(&["C-u"]);
    // As many rows as the screen has room for; more of them on demand.
    terminal.enter("many()");
    let screen = terminal.wait_for_end("(more follows: press enter)\nmedusa>");
    assert!(screen.lines().any(|line| line == "17"), "{screen}");
    assert!(!screen.lines().any(|line| line == " 18"), "{screen}");
    terminal.keys(&["Enter"]);
    terminal.wait("more", |screen| screen.lines().any(|line| line == "35"));
    terminal.enter("quit");
    terminal.wait_for_end("left 0");

    let history = directory.path().join("medusa").join("console-history");
    let kept = std::fs::read_to_string(&history).expect("a history");
    assert!(kept.contains("41\n") && kept.contains("many()"), "{kept}");
    assert!(!kept.contains("password"), "{kept}");
    let mode = std::fs::metadata(&history).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The next console finds it.
    let directory_of_next = tempfile::tempdir().expect("a directory");
    let command = format!("{} console {}", env!("CARGO_BIN_EXE_medusa"), fake.address);
    let home = directory.path().to_str().expect("UTF-8");
    let next = Terminal::run(directory_of_next.path(), &[("XDG_STATE_HOME", home)], &command);
    next.wait_for_end("medusa>");
    next.keys(&["Up"]);
    next.wait_for_end("medusa> many()");
}

#[test]
fn ctrl_c_ends_the_statement_and_not_the_session() {
    if terminal::is_missing("ctrl_c_ends_the_statement_and_not_the_session") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(directory.path());
    let terminal = at_terminal(directory.path(), &fake);
    terminal.type_in("what is not wanted");
    terminal.keys(&["C-c"]);
    terminal.wait_for_end("medusa> what is not wanted\nmedusa>");
    terminal.enter("wait()");
    terminal.wait_for_end("wait()\nwaiting");
    terminal.keys(&["C-c"]);
    terminal.wait_for_end("waiting\n^C\ncancelled\nmedusa>");
    terminal.enter("5");
    terminal.wait_for_end("medusa> 5\n5\nmedusa>");
    assert_eq!(fake.statements(), ["wait()", "5"]);
    assert_eq!(fake.seen.lock().expect("nobody panics").connections, 1);
}

#[test]
fn notices_stand_above_the_prompt_and_the_session_outlives_an_upgrade() {
    if terminal::is_missing("notices_stand_above_the_prompt") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(directory.path());
    let terminal = at_terminal(directory.path(), &fake);
    terminal.enter("later()");
    terminal.wait("the notice", |screen| {
        screen.contains("* nobody confirmed: the change was undone\n")
            && screen.ends_with("medusa>")
    });
    terminal.type_in("upgrade()");
    terminal.keys(&["Enter", "6"]);
    terminal.wait("the session", |screen| {
        screen.contains("* another process serves now\n")
            && screen.contains("* connected again: the session goes on\n")
            && screen.ends_with("medusa> 6")
    });
    terminal.keys(&["Enter"]);
    terminal.wait_for_end("medusa> 6\n6\nmedusa>");
    // A connection that was only lost finds the session where it is.
    terminal.enter("hang_up()");
    terminal.wait("the session", |screen| screen.matches("the session goes on").count() == 2);
    terminal.enter("7");
    terminal.wait_for_end("medusa> 7\n7\nmedusa>");
    terminal.enter("hang_up()");
    terminal.wait("the session", |screen| screen.matches("the session goes on").count() == 3);
    let seen = fake.seen.lock().expect("nobody panics");
    let kept = "{\"x\":1}".to_owned();
    let resumed = [
        ("session-1".to_owned(), Some(kept)),
        ("session-2".to_owned(), None),
        ("session-2".to_owned(), None),
    ];
    assert_eq!((seen.connections, &*seen.resumed), (4, &resumed[..]));
}

/// Asks for a file over and over on one connection; gives the number of answers, all of them good.
fn load(address: &str, stop: &AtomicBool) -> usize {
    let mut client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        client.write_all(get("/f").as_bytes()).expect("it reads");
        let answer = read_answer(&mut client);
        assert_eq!((answer.status, &*answer.body), (200, &b"content"[..]));
        answered += 1;
    }
    answered
}

#[test]
fn an_extension_comes_changes_and_goes_while_requests_flow() {
    let name = "an_extension_comes_changes_and_goes_while_requests_flow";
    if terminal::is_missing(name) || server::is_missing("curl", name) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let site = directory.path().join("site");
    std::fs::create_dir(&site).expect("made");
    std::fs::write(site.join("f"), "content").expect("written");
    let home = directory.path().to_str().expect("UTF-8");
    let mut command = medusa([site.as_os_str()]);
    command
        .args(["--http", "127.0.0.1:0", "--no-ftp"])
        .env("MEDUSA_RUNTIME_DIR", directory.path().join("medusa"));
    let server = Server::start(&mut command);
    let stop = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        // Whatever fails in here, the load ends.
        let _stop = StopAtEnd(&stop);
        let loads: Vec<_> = (0..4).map(|_| scope.spawn(|| load(server.address(), &stop))).collect();
        plug_in_change_and_remove(&server, directory.path(), home);
        stop.store(true, Ordering::Relaxed);
        loads.into_iter().map(|load| load.join().expect("no request has failed")).sum::<usize>()
    });
    assert!(answered > 0);
}

/// Has what runs beside a test end with it.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a person does, without naming the server: there is only one.
fn plug_in_change_and_remove(server: &Server, directory: &Path, home: &str) {
    let command = format!("{} console", env!("CARGO_BIN_EXE_medusa"));
    let sockets = format!("{home}/medusa");
    let environment = [("MEDUSA_RUNTIME_DIR", &*sockets), ("XDG_STATE_HOME", home)];
    let terminal = Terminal::run(directory, &environment, &command);
    terminal.wait_for_end("medusa>");
    let curl = || {
        let url = server.url("/hello");
        let output = Command::new("curl").args(["-q", "-sS", "--noproxy", "*", &url]).output();
        String::from_utf8(output.expect("curl runs").stdout).expect("UTF-8")
    };
    let run = |statement: &str, says: &str| {
        terminal.enter(statement);
        terminal.wait(says, |screen| {
            let said = screen.rsplit_once(statement).is_some_and(|(_, said)| said.contains(says));
            said && screen.ends_with("\nmedusa>")
        });
    };
    assert!(curl().starts_with("404"));
    run("at = \"servers/http/extensions\"", "");
    for line in ["act(at, \"add\", [[use = \"fixed\"", "match = \"/hello\"", "name = \"greeting\""]
    {
        terminal.enter(line);
    }
    run("text = \"hello\\n\"]])", "`greeting` is plugged in");
    assert_eq!(curl(), "hello\n");
    run("list(at)", "greeting  fixed");
    terminal.type_in("act(\"servers/http/extensions/g");
    terminal.keys(&["Tab"]);
    terminal.wait_for_end("act(\"servers/http/extensions/greeting");
    terminal.keys(&["C-u"]);
    for line in ["act(at..\"/greeting\", \"replace\", [[use = \"fixed\"", "match = \"/hello\""] {
        terminal.enter(line);
    }
    run("text = \"bye\"]])", "`fixed` has taken the place of `greeting`");
    assert_eq!(curl(), "bye");
    run("act(at..\"/fixed\", \"remove\")", "`fixed` is taken out");
    assert!(curl().starts_with("404"));
}
