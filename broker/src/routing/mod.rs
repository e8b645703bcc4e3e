//! Routing: who gets a message that is published on a subject.
//!
//! A pure data structure: no sockets, no time, no randomness. What a subscription *is* stays open
//! (`S`), and so does what a listener inside the server is (`L`); the server fills in connections
//! and the JetStream core's tags.
//!
//! - [`Trie`] holds the subscriptions of one account, token by token.
//! - [`Table`] is a trie plus watches on literal subjects.
//! - [`Account`] makes a table shareable: a lock that is held for one lookup or one change and
//!   never across anything else, and a generation number that each change raises.
//! - What other nodes listen to lies in the same trie ([`PeerId`]), and each change says what they have to be told
//!   ([`Changed`]).
//! - [`LookupCache`] belongs to one publisher and remembers results for as long as the generation
//!   stands still.

mod account;
mod cache;
mod matches;
mod members;
mod remote;
mod shown;
mod table;
mod trie;
mod watches;

pub use account::{Account, Accounts, Changed, Listens};
pub use cache::LookupCache;
pub use matches::{Group, Matches};
pub use remote::PeerId;
pub use shown::{Announce, Show};
pub use table::Table;
pub use trie::{SubId, Trie};
pub use watches::Change;
