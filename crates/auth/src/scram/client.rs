//! The client's side of one login.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use super::record::{client_keys, salted, server_key};
use super::{ACCEPTED_ITERATIONS, MAX_MESSAGE, ScramError, attribute, is_nonce, keyed, xor};

/// What the client says of channel binding: it has none.
const HEADER: &str = "n,,";

/// A client that has said who it is.
#[derive(Debug)]
pub struct Client {
    nonce: String,
    bare: String,
}

/// A client that waits for the server's proof.
pub struct Proof {
    expected: [u8; 32],
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof")
    }
}

impl Client {
    /// Makes `client-first-message`, with a nonce of [`super::nonce`].
    pub fn new(name: &str, nonce: String) -> (Self, String) {
        let name = name.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={name},r={nonce}");
        let message = format!("{HEADER}{bare}");
        (Self { nonce, bare }, message)
    }

    /// Makes `client-final-message` of `server-first-message` and the password. Takes its time, as
    /// many iterations as the server asks for.
    pub fn answer(self, message: &str, password: &str) -> Result<(Proof, String), ScramError> {
        if message.len() > MAX_MESSAGE {
            return Err(ScramError::Malformed);
        }
        let mut parts = message.split(',');
        let nonce = attribute("r", &mut parts)?;
        let salt =
            STANDARD.decode(attribute("s", &mut parts)?).map_err(|_| ScramError::Malformed)?;
        let iterations = attribute("i", &mut parts)?.parse().map_err(|_| ScramError::Malformed)?;
        // The server must add something to ours, or it could be a recording.
        if !is_nonce(nonce) || nonce.strip_prefix(&*self.nonce).is_none_or(str::is_empty) {
            return Err(ScramError::Nonce);
        }
        if !ACCEPTED_ITERATIONS.contains(&iterations) {
            return Err(ScramError::Iterations);
        }
        let salted = salted(password, &salt, iterations);
        let (client_key, stored_key) = client_keys(&salted);
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(HEADER));
        let signed = format!("{},{message},{without_proof}", self.bare);
        let proof = xor(&client_key, &keyed(&stored_key, signed.as_bytes()));
        let expected = keyed(&server_key(&salted), signed.as_bytes());
        Ok((Proof { expected }, format!("{without_proof},p={}", STANDARD.encode(proof))))
    }
}

impl Proof {
    /// Checks `server-final-message`: the server knows the password too.
    pub fn verify(&self, message: &str) -> Result<(), ScramError> {
        let proof = attribute("v", &mut message.split(','))?;
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Malformed)?;
        if bool::from(proof.ct_eq(&self.expected[..])) { Ok(()) } else { Err(ScramError::Server) }
    }
}
