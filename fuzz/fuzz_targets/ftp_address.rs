//! PORT and EPRT: what is taken reads the same when it is written again.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use medusa_ftp::wire::address::{parse_extended_port, parse_port};

fuzz_target!(|data: &[u8]| {
    if let Ok(SocketAddr::V4(address)) = parse_port(data) {
        let [a, b, c, d] = address.ip().octets();
        let [high, low] = address.port().to_be_bytes();
        let plain = format!("{a},{b},{c},{d},{high},{low}");
        assert_eq!(parse_port(plain.as_bytes()), Ok(address.into()));
    }
    if let Ok(address) = parse_extended_port(data) {
        let family = if address.is_ipv4() { 1 } else { 2 };
        let plain = format!("|{family}|{}|{}|", address.ip(), address.port());
        assert_eq!(parse_extended_port(plain.as_bytes()), Ok(address));
    }
});
