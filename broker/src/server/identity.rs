//! Who this server is: its keys and its name. Made once at the start from the operating system's
//! randomness.

use nkeys::{KeyPair, XKey};

/// See the module.
#[derive(Debug)]
pub struct Identity {
    /// The public server key, `N...`.
    pub id: String,
    /// The configured name, or the id.
    pub name: String,
    /// The public curve key, `X...`.
    pub xkey: String,
}

impl Identity {
    pub(super) fn new(name: Option<&str>) -> Self {
        let id = KeyPair::new_server().public_key();
        let name = name.map_or_else(|| id.clone(), str::to_owned);
        Self {
            id,
            name,
            xkey: XKey::new().public_key(),
        }
    }
}
