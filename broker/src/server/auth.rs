//! Authentication: who a CONNECT is, and what it may do.

use std::fmt::Debug;
use std::sync::Arc;

use jetwake_protocol::wire::ConnectOptions;

use crate::options::Auth;

/// What a connection may publish and subscribe. Consulted once per message and subscription.
pub trait Permissions: Debug + Send + Sync {
    /// Whether a message may be published on `subject`.
    fn may_publish(&self, subject: &[u8]) -> bool;
    /// Whether a subscription on `filter`, in `queue` if one is named, is allowed.
    fn may_subscribe(&self, filter: &[u8], queue: Option<&[u8]>) -> bool;
}

/// A successful login.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user's name, empty if there is no authentication.
    pub user: String,
    /// Number of the account.
    pub account: u32,
    /// Restrictions; `None` allows everything.
    pub permissions: Option<Arc<dyn Permissions>>,
}

/// Decides on logins.
pub trait Authenticator: Debug + Send + Sync {
    /// Whether a client has to say who it is.
    fn is_required(&self) -> bool;
    /// Checks a CONNECT; `None` refuses it.
    fn login(&self, connect: &ConnectOptions) -> Option<Login>;
}

/// Authentication by the single user or token of the options; everybody is welcome without one.
#[derive(Debug)]
pub(super) struct SingleUser {
    pub(super) auth: Option<Auth>,
}

impl Authenticator for SingleUser {
    fn is_required(&self) -> bool {
        self.auth.is_some()
    }

    fn login(&self, connect: &ConnectOptions) -> Option<Login> {
        let user = match &self.auth {
            None => String::new(),
            Some(Auth::User { user, password }) => {
                let known = same(user.as_bytes(), connect.user.as_bytes());
                let proven = is_password(password, &connect.pass);
                (known && proven).then(|| user.clone())?
            }
            Some(Auth::Token(token)) => {
                is_password(token, &connect.auth_token).then(String::new)?
            }
        };
        Some(Login {
            user,
            account: super::Accounts::GLOBAL,
            permissions: None,
        })
    }
}

/// Compares with a password or with its bcrypt hash, which is slow on purpose: a thread is busy with
/// it for as long as the hash's cost says.
pub(crate) fn is_password(expected: &str, given: &str) -> bool {
    if is_bcrypt(expected) {
        return bcrypt::verify(given, expected).unwrap_or(false);
    }
    same(expected.as_bytes(), given.as_bytes())
}

/// `$2a$`, `$2b$`, `$2x$` or `$2y$` and what follows.
fn is_bcrypt(password: &str) -> bool {
    matches!(
        password.as_bytes(),
        [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', ..]
    )
}

/// Compares in a time that does not tell where the difference is.
pub(crate) fn same(expected: &[u8], given: &[u8]) -> bool {
    expected.len() == given.len()
        && expected
            .iter()
            .zip(given)
            .fold(0, |diff, (a, b)| diff | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(user: &str, pass: &str, token: &str) -> ConnectOptions {
        ConnectOptions {
            user: user.into(),
            pass: pass.into(),
            auth_token: token.into(),
            ..ConnectOptions::default()
        }
    }

    #[test]
    fn only_the_right_credentials_log_in() {
        let auth = Some(Auth::User {
            user: "u".into(),
            password: "p".into(),
        });
        let user = SingleUser { auth };
        assert_eq!(user.login(&connect("u", "p", "")).unwrap().user, "u");
        for wrong in [
            connect("u", "q", ""),
            connect("v", "p", ""),
            connect("", "", "p"),
        ] {
            assert!(user.login(&wrong).is_none());
        }
        let token = SingleUser {
            auth: Some(Auth::Token("t".into())),
        };
        assert!(token.login(&connect("", "", "t")).is_some());
        assert!(token.login(&connect("t", "t", "")).is_none());
        let hash = bcrypt::hash("t", 4).unwrap();
        let hashed = SingleUser {
            auth: Some(Auth::Token(hash.clone())),
        };
        assert!(hashed.login(&connect("", "", "t")).is_some());
        assert!(hashed.login(&connect("", "", "u")).is_none());
        assert!(hashed.login(&connect("", "", &hash)).is_none());
        assert!(
            SingleUser { auth: None }
                .login(&connect("", "", ""))
                .is_some()
        );
    }
}
