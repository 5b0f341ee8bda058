//! Where data connections go: the arguments of PORT and EPRT, the replies to PASV and EPSV
//! (RFC 959, section 4.1.2; RFC 2428).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::reply;

/// Longest text of an address.
const MAX_ADDRESS_BYTES: usize = 64;

/// An address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It is written in another way than the RFC says.
    Malformed,
    /// It is of a kind that there is none of (RFC 2428, section 2: answered with 522).
    UnknownFamily,
}

/// What EPSV asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// A port, of whatever the control connection uses.
    Any,
    /// A port of IPv4.
    V4,
    /// A port of IPv6.
    V6,
    /// That from now on no other way of making data connections is taken.
    All,
}

/// Parses the argument of PORT: `h1,h2,h3,h4,p1,p2`.
pub fn parse_port(argument: &[u8]) -> Result<SocketAddr, AddressError> {
    let text = short_text(argument)?;
    let mut numbers = [0_u8; 6];
    let mut parts = text.trim_matches(' ').split(',');
    for number in &mut numbers {
        *number = parts.next().and_then(plain_number).ok_or(AddressError::Malformed)?;
    }
    if parts.next().is_some() {
        return Err(AddressError::Malformed);
    }
    let [a, b, c, d, high, low] = numbers;
    Ok(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
}

/// Parses the argument of EPRT: `|1|132.235.1.2|6275|`, with any delimiter.
pub fn parse_extended_port(argument: &[u8]) -> Result<SocketAddr, AddressError> {
    let text = short_text(argument)?.trim_matches(' ');
    let delimiter = text.chars().next().ok_or(AddressError::Malformed)?;
    // RFC 2428, section 2: one of the printable characters, and none that an address has.
    if !delimiter.is_ascii_graphic() || delimiter.is_ascii_hexdigit() || delimiter == '.' {
        return Err(AddressError::Malformed);
    }
    let mut parts = text[1..].split(delimiter);
    let mut part = || parts.next().ok_or(AddressError::Malformed);
    let (family, address, port, rest) = (part()?, part()?, part()?, part()?);
    if !rest.is_empty() || parts.next().is_some() {
        return Err(AddressError::Malformed);
    }
    let address: IpAddr = match family {
        "1" => address.parse::<Ipv4Addr>().map_err(|_| AddressError::Malformed)?.into(),
        "2" => address.parse::<Ipv6Addr>().map_err(|_| AddressError::Malformed)?.into(),
        other if plain_number::<u32>(other).is_some() => return Err(AddressError::UnknownFamily),
        _ => return Err(AddressError::Malformed),
    };
    let port = plain_number(port).ok_or(AddressError::Malformed)?;
    Ok(SocketAddr::new(address.to_canonical(), port))
}

/// Parses the argument of EPSV.
pub fn parse_extended_passive(argument: &str) -> Result<Extended, AddressError> {
    match argument {
        "" => Ok(Extended::Any),
        "1" => Ok(Extended::V4),
        "2" => Ok(Extended::V6),
        all if all.eq_ignore_ascii_case("ALL") => Ok(Extended::All),
        other if plain_number::<u32>(other).is_some() => Err(AddressError::UnknownFamily),
        _ => Err(AddressError::Malformed),
    }
}

/// Appends the reply to PASV.
pub fn passive(out: &mut Vec<u8>, address: Ipv4Addr, port: u16) {
    let ([a, b, c, d], [high, low]) = (address.octets(), port.to_be_bytes());
    let text = format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low}).");
    reply::line(out, 227, &text);
}

/// Appends the reply to EPSV.
pub fn extended_passive(out: &mut Vec<u8>, port: u16) {
    reply::line(out, 229, &format!("Entering Extended Passive Mode (|||{port}|)."));
}

fn short_text(argument: &[u8]) -> Result<&str, AddressError> {
    if argument.len() > MAX_ADDRESS_BYTES {
        return Err(AddressError::Malformed);
    }
    std::str::from_utf8(argument).map_err(|_| AddressError::Malformed)
}

/// A number of digits only: `parse` alone takes a sign.
fn plain_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn port_table() {
        let told = |text: &str| parse_port(text.as_bytes()).map(|a| a.to_string());
        assert_eq!(told("127,0,0,1,4,210").as_deref(), Ok("127.0.0.1:1234"));
        assert_eq!(told(" 255,255,255,255,255,255 ").as_deref(), Ok("255.255.255.255:65535"));
        for bad in [
            "",
            "1,2,3,4,5",
            "1,2,3,4,5,6,7",
            "1,2,3,4,5,256",
            "1,2,3,4,5,-1",
            "1,2,3,4,5,+1",
            "1,2,3,4,5,",
            "1.2.3.4,5,6",
            "a,b,c,d,e,f",
            "1,2,3,4, 5,6",
        ] {
            assert_eq!(told(bad), Err(AddressError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn extended_port_table() {
        let told = |text: &str| parse_extended_port(text.as_bytes()).map(|a| a.to_string());
        assert_eq!(told("|1|132.235.1.2|6275|").as_deref(), Ok("132.235.1.2:6275"));
        assert_eq!(told("!1!132.235.1.2!6275!").as_deref(), Ok("132.235.1.2:6275"));
        assert_eq!(
            told("|2|1080::8:800:200C:417A|5282|").as_deref(),
            Ok("[1080::8:800:200c:417a]:5282")
        );
        assert_eq!(told("|2|::ffff:10.0.0.1|99|").as_deref(), Ok("10.0.0.1:99"), "a mapped one");
        for (bad, error) in [
            ("", AddressError::Malformed),
            ("|1|1.2.3.4|5", AddressError::Malformed),
            ("|1|1.2.3.4|5|6|", AddressError::Malformed),
            ("|1|::1|5|", AddressError::Malformed),
            ("|2|1.2.3.4|5|", AddressError::Malformed),
            ("|1|1.2.3.4|65536|", AddressError::Malformed),
            ("|1|1.2.3.4|+5|", AddressError::Malformed),
            ("|x|1.2.3.4|5|", AddressError::Malformed),
            ("\u{e4}1\u{e4}1.2.3.4\u{e4}5\u{e4}", AddressError::Malformed),
            ("|3|1.2.3.4|5|", AddressError::UnknownFamily),
        ] {
            assert_eq!(told(bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn what_passive_replies_say() {
        let mut out = Vec::new();
        passive(&mut out, Ipv4Addr::new(10, 1, 2, 3), 50_000);
        extended_passive(&mut out, 50_000);
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("(10,1,2,3,195,80)") && text.contains("(|||50000|)"), "{text}");
    }

    #[test]
    fn extended_passive_table() {
        for (text, asked) in [
            ("", Ok(Extended::Any)),
            ("1", Ok(Extended::V4)),
            ("2", Ok(Extended::V6)),
            ("all", Ok(Extended::All)),
            ("3", Err(AddressError::UnknownFamily)),
            ("x", Err(AddressError::Malformed)),
        ] {
            assert_eq!(parse_extended_passive(text), asked, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_argument_has_an_answer(argument in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_port(&argument);
            let _ = parse_extended_port(&argument);
        }

        #[test]
        fn any_address_can_be_said(ip: [u8; 4], wide: [u8; 16], port: u16) {
            let [a, b, c, d] = ip;
            let plain = format!("{a},{b},{c},{d},{},{}", port / 256, port % 256);
            let expected = SocketAddr::new(Ipv4Addr::from(ip).into(), port);
            prop_assert_eq!(parse_port(plain.as_bytes()), Ok(expected));
            let wide = IpAddr::from(Ipv6Addr::from(wide));
            let extended = format!("|2|{wide}|{port}|");
            let expected = SocketAddr::new(wide.to_canonical(), port);
            prop_assert_eq!(parse_extended_port(extended.as_bytes()), Ok(expected));
        }
    }
}
