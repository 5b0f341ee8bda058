//! The server's side of one login.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{MAX_MESSAGE, Record, ScramError, attribute, is_nonce, keyed, xor};

/// The first message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst {
    name: String,
    nonce: String,
    /// `n,,` or `y,,`, which the client has to say again.
    header: String,
    /// The message without its header.
    bare: String,
}

impl ClientFirst {
    /// Reads `client-first-message` (RFC 5802, section 7).
    pub fn read(message: &str) -> Result<Self, ScramError> {
        if message.len() > MAX_MESSAGE {
            return Err(ScramError::Malformed);
        }
        let mut parts = message.splitn(3, ',');
        let (binding, identity) = (parts.next(), parts.next());
        let bare = parts.next().ok_or(ScramError::Malformed)?;
        let header = match (binding, identity) {
            (Some(binding @ ("n" | "y")), Some("")) => format!("{binding},,"),
            (Some(binding), Some(identity))
                if binding.starts_with("p=") || identity.starts_with("a=") =>
            {
                return Err(ScramError::Unsupported);
            }
            _ => return Err(ScramError::Malformed),
        };
        if bare.starts_with("m=") {
            return Err(ScramError::Unsupported);
        }
        let mut parts = bare.split(',');
        let name = unescaped(attribute("n", &mut parts)?)?;
        let nonce = attribute("r", &mut parts)?;
        if name.is_empty() || !is_nonce(nonce) {
            return Err(ScramError::Malformed);
        }
        // What follows are extensions that may be passed over.
        Ok(Self { name, nonce: nonce.to_owned(), header, bare: bare.to_owned() })
    }

    /// Who wants to log in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes `server-first-message` with a nonce of our own ([`super::nonce`]).
    pub fn challenge(self, record: Record, nonce: &str) -> (Challenge, String) {
        let nonce = self.nonce + nonce;
        let salt = STANDARD.encode(&record.salt);
        let message = format!("r={nonce},s={salt},i={}", record.iterations);
        let begun = format!("{},{message},", self.bare);
        (Challenge { record, nonce, header: self.header, begun }, message)
    }
}

/// `=2C` is a comma and `=3D` an equals sign (RFC 5802, section 5.1).
fn unescaped(name: &str) -> Result<String, ScramError> {
    let mut out = String::with_capacity(name.len());
    let mut parts = name.split('=');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let rest = if let Some(rest) = part.strip_prefix("2C") {
            out.push(',');
            rest
        } else {
            out.push('=');
            part.strip_prefix("3D").ok_or(ScramError::Malformed)?
        };
        out.push_str(rest);
    }
    Ok(out)
}

/// A login that waits for the client's proof. It is good for one.
#[derive(Debug)]
pub struct Challenge {
    record: Record,
    nonce: String,
    header: String,
    /// What of the message that both sides sign is known.
    begun: String,
}

impl Challenge {
    /// Checks `client-final-message`; gives `server-final-message`, our own proof.
    pub fn verify(self, message: &str) -> Result<String, ScramError> {
        if message.len() > MAX_MESSAGE {
            return Err(ScramError::Malformed);
        }
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut parts = without_proof.split(',');
        let binding = attribute("c", &mut parts)?;
        let nonce = attribute("r", &mut parts)?;
        let proof = STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok());
        let proof = proof.ok_or(ScramError::Malformed)?;
        if binding != STANDARD.encode(&self.header) {
            return Err(ScramError::Unsupported);
        }
        if nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let signed = self.begun + without_proof;
        let signature = keyed(&self.record.stored_key, signed.as_bytes());
        let client_key = xor(&proof, &signature);
        let is_right = Sha256::digest(client_key).ct_eq(&self.record.stored_key[..]);
        if !bool::from(is_right) {
            return Err(ScramError::Wrong);
        }
        let proof = keyed(&self.record.server_key, signed.as_bytes());
        Ok(format!("v={}", STANDARD.encode(proof)))
    }
}
