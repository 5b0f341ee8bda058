//! Servers of FTP as people write them.

use super::{load_text, place};

/// A server of FTP, to which more is added.
const FTP: &str =
    "[files.x]\nmemory = 1\n[[server]]\nprotocol = \"ftp\"\nlisten = \"127.0.0.1:0\"\n";

/// All that can be said.
const ALL: &str = "passwords = \"passwords\"\nbanner = \"a\\nb\"\nactive = false\nmessage = \"README\"\n\
    atomic_uploads = false\n[server.limits]\nlogin_timeout = \"5s\"\nidle_timeout = \"6s\"\n\
    retire_idle = \"7s\"\ndata_timeout = \"8s\"\nstall = \"9s\"\nsessions = 10\n\
    sessions_per_address = 11\nlogin_tries = 12\nlogin_delay = \"13ms\"\nban_tries = 14\n\
    ban_time = \"15s\"\ntransfer_send_rate = 16\ntransfer_receive_rate = \"17 KiB\"\nsend_rate = 18\n\
    receive_rate = 19\n[server.passive]\nports = \"5000-5009\"\n[[server.passive.announce]]\n\
    address = \"192.0.2.1\"\nto = [\"10.0.0.0/8\", \"192.168.1.1\"]\n\
    [[server.passive.announce]]\naddress = \"ftp.example.org\"\n[server.anonymous]\nfiles = \"x\"\n\
    permissions = \"elrw\"\nsessions = 5\nidentity = \"nobody\"\numask = \"0077\"\nwelcome = \"Hello.\"\n[[server.user]]\nname = \"ann\"\n\
    files = \"x\"\nquota = \"1 GiB\"\nquota_files = 20\nsend_rate = 1\nreceive_rate = 2\n[[server.user.directory]]\nat = \"/in\"\n\
    permissions = \"elw\"\n";

#[track_caller]
fn load(more: &str) -> Result<super::Loaded, String> {
    let place = place();
    std::fs::write(place.path().join("passwords"), "").expect("it is written");
    let text = format!("{FTP}{more}");
    load_text(place.path(), &text).inspect(|loaded| {
        let again = load_text(place.path(), &loaded.shown()).expect("what is shown is right");
        assert_eq!(again.record.configuration(), loaded.record.configuration());
    })
}

#[test]
fn everything_can_be_said_and_is_shown() {
    load("[server.anonymous]\nfiles = \"x\"\n").expect("it is right");
    let shown = load(ALL).expect("it is right").record.configuration();
    for line in ALL.lines().filter(|line| !line.starts_with("passwords")) {
        // Sizes and lists are shown in one way, however they were written.
        let key = line.split(" = ").next().expect("there is a first part");
        assert!(shown.contains(key), "{line}: {shown}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    let anonymous = |more: &str| format!("[server.anonymous]\nfiles = \"x\"\n{more}");
    let ann = "[[server.user]]\nname = \"ann\"\nfiles = \"x\"\n";
    let passwords = "passwords = \"passwords\"\n";
    for (more, said) in [
        (String::new(), "nobody can log in"),
        (ann.to_owned(), "users without passwords"),
        (format!("{passwords}{}", anonymous("")), "passwords, and no users"),
        (format!("passwords = \"none\"\n{ann}"), "medusa passwd"),
        (format!("{passwords}{ann}{ann}"), "somebody called `ann` already"),
        (
            format!("{passwords}{}{}", anonymous(""), ann.replace("ann", "ftp")),
            "somebody called `ftp` already",
        ),
        (format!("{passwords}{}", ann.replace("ann", &"n".repeat(256))), "at most 255 bytes"),
        (anonymous("permissions = \"rx\"\n"), "`x` is no permission"),
        (
            anonymous("[[server.anonymous.directory]]\nat = \"in\"\npermissions = \"r\"\n"),
            "`at` takes",
        ),
        (anonymous("[server.passive]\nports = \"5-4\"\n"), "the lower one first"),
        (anonymous("[server.passive]\nports = \"0-4\"\n"), "from 1 to 65535"),
        (anonymous("[[server.passive.announce]]\naddress = \"::1\"\n"), "EPSV tells only the port"),
        (anonymous("[[server.passive.announce]]\naddress = \"a b\"\n"), "it is neither"),
        (format!("message = \"a/b\"\n{}", anonymous("")), "without its directory"),
        (anonymous("quota = \"much\"\n"), "a size of at least 0"),
        (anonymous("quota_files = 2000000\n"), "from 0 to 1000000"),
        (anonymous("identity = \"root\"\n"), "nobody may be root"),
        (anonymous("identity = \"no such user\"\n"), "no user `no such user`"),
        (anonymous("[server.limits]\nban_time = \"1ms\"\n"), "a time from 1s to 30d"),
        (anonymous("[server.limits]\nlogin_trys = 1\n"), "did you mean `login_tries`?"),
    ] {
        let told = load(&more).map(|_| ()).expect_err(&more);
        assert!(told.contains(said), "{said}: {told}");
    }
    let unix = FTP.replace("127.0.0.1:0", "unix:s") + &anonymous("");
    let told = load_text(place().path(), &unix).map(|_| ()).expect_err("no such socket");
    assert!(told.contains("is nowhere to serve ftp") && told.contains("IP:PORT"), "{told}");
}
