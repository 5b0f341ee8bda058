//! A client of FTP that speaks bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

/// A control connection.
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects, and reads the greeting.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        let mut client = Self(BufReader::new(stream));
        let greeting = client.reply();
        assert!(greeting.starts_with("220 "), "{greeting}");
        client
    }

    /// Logs in, and sets type I.
    #[track_caller]
    pub fn logged_in(address: &str, name: &str, password: &str) -> Self {
        let mut client = Self::connect(address);
        for (command, code) in [
            (format!("USER {name}"), "331"),
            (format!("PASS {password}"), "230"),
            ("TYPE I".to_owned(), "200"),
        ] {
            let said = client.say(&command);
            assert!(said.starts_with(code), "{command}: {said}");
        }
        client
    }

    /// The next line; none at the end.
    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers");
        line
    }

    /// Gives a command without waiting for the answer.
    pub fn send(&mut self, line: &str) {
        self.stream().write_all(format!("{line}\r\n").as_bytes()).expect("it reads");
    }

    /// Gives a command; the first line of the answer.
    pub fn say(&mut self, line: &str) -> String {
        self.send(line);
        self.reply()
    }

    /// A data connection for the next transfer.
    #[track_caller]
    pub fn data(&mut self) -> TcpStream {
        let said = self.say("EPSV");
        let port = said.split('|').nth(3).and_then(|port| port.parse().ok());
        let mut address = self.0.get_ref().peer_addr().expect("it is connected");
        address.set_port(port.unwrap_or_else(|| panic!("no port: {said}")));
        let data = TcpStream::connect(address).expect("it listens");
        data.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        data
    }

    /// Has something sent; gives it and the last answer.
    #[track_caller]
    pub fn fetch(&mut self, command: &str) -> (Vec<u8>, String) {
        let mut data = self.data();
        let said = self.say(command);
        if !said.starts_with('1') {
            return (Vec::new(), said);
        }
        let mut got = Vec::new();
        // What breaks off is told by the last answer.
        let _ = data.read_to_end(&mut got);
        (got, self.reply())
    }

    /// Sends something by a command; gives the last answer.
    #[track_caller]
    pub fn put(&mut self, command: &str, content: &[u8]) -> String {
        let mut data = self.data();
        let said = self.say(command);
        if !said.starts_with('1') {
            return said;
        }
        // If it is not taken to its end, the last answer tells.
        let _ = data.write_all(content);
        drop(data);
        self.reply()
    }

    /// What carries it.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }
}
