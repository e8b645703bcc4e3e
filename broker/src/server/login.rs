//! CONNECT.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jetwake_protocol::wire::WireError;

use super::connection::ClientDetails;
use super::reason::CloseReason;
use super::session::{End, Session};

/// The first ping comes early, so that the round trip time is known.
const FIRST_PING: Duration = Duration::from_secs(2);

impl Session {
    pub(super) fn connect(&mut self, json: &[u8]) -> Result<(), End> {
        if let Err(error) = self.options.merge(json) {
            let label = self.connection.label();
            self.shared.logger.error(format_args!("{label} - {error}"));
            return Err(End::silent(CloseReason::ProtocolViolation));
        }
        self.connection.measure_rtt();
        if self.connected {
            // A second CONNECT may change the account: nothing of the old one may stay.
            self.drop_subscriptions();
        }
        let Some(login) = self.shared.authenticator.login(&self.options) else {
            return Err(self.refuse());
        };
        let Some(account) = self.shared.accounts.get(login.account).map(Arc::clone) else {
            return Err(End::silent(CloseReason::MissingAccount));
        };
        let mut details = self.details();
        if !login.user.is_empty() {
            details.user = login.user;
        }
        details.account = account.name.to_string();
        self.connection.set_client(details);
        self.account = account;
        self.permissions = login.permissions;
        self.authenticated = true;
        self.connection
            .pulse
            .authenticated
            .store(true, Ordering::Relaxed);
        self.check_options()?;
        self.plan_first_ping();
        self.connected = true;
        self.send_ok();
        Ok(())
    }

    /// What the client says of itself; without an account, which only a login brings.
    fn details(&self) -> ClientDetails {
        let options = &self.options;
        ClientDetails {
            name: options.name.clone(),
            lang: options.lang.clone(),
            version: options.version.clone(),
            user: options.user.clone(),
            account: String::new(),
        }
    }

    fn check_options(&mut self) -> Result<(), End> {
        if !self.options.account.is_empty() || self.options.new_account {
            return Err(self.refuse());
        }
        if !(0..=1).contains(&self.options.protocol) {
            self.log_error(format_args!("invalid client protocol"));
            return Err(End::with_line(
                CloseReason::BadClientProtocolVersion,
                WireError::InvalidClientProtocol,
            ));
        }
        let headers = self.options.headers && !self.shared.options.no_header_support;
        if self.options.no_responders && !headers {
            self.log_error(format_args!("no responders requires headers support"));
            return Err(End::with_line(
                CloseReason::NoRespondersRequiresHeaders,
                WireError::NoRespondersRequiresHeaders,
            ));
        }
        self.parser.set_headers_allowed(headers);
        self.connection.headers.store(headers, Ordering::Relaxed);
        Ok(())
    }

    /// Two seconds and up to a fifth more, so that clients that came together are not pinged
    /// together.
    fn plan_first_ping(&mut self) {
        if std::mem::replace(&mut self.connected, true) {
            return;
        }
        let jitter = FIRST_PING / 5 * (self.shared.random() % 1000) as u32 / 1000;
        let delay = self.shared.options.ping_interval.min(FIRST_PING + jitter);
        let now = self.shared.uptime_nanos();
        let at = now + delay.as_nanos() as u64;
        let pulse = &self.connection.pulse;
        pulse.first_ping.store(at, Ordering::Relaxed);
        self.connection.outbound.wake.notify_one();
    }

    /// The end of a connection that failed to say who it is.
    pub(super) fn refuse(&self) -> End {
        let options = &self.options;
        if !options.user.is_empty() {
            self.log_error(format_args!(
                "authentication error - User {:?}",
                options.user
            ));
        } else if !options.auth_token.is_empty() {
            self.log_error(format_args!("authentication error - Token \"[REDACTED]\""));
        } else {
            self.log_error(format_args!("authentication error"));
        }
        if !self.connected {
            self.connection.set_client(self.details());
        }
        End::with_line(
            CloseReason::AuthenticationViolation,
            WireError::AuthorizationViolation,
        )
    }
}
