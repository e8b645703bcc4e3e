//! Every `-ERR` text that a client can see, and whether it ends the connection.

use super::encode::Sink;

/// One `-ERR` line; texts are matched literally by client libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the texts")]
pub enum WireError<'a> {
    UnknownProtocolOperation,
    AuthorizationViolation,
    AuthenticationTimeout,
    UserAuthenticationExpired,
    UserAuthenticationRevoked,
    AccountAuthenticationExpired,
    MaximumConnectionsExceeded,
    MaximumAccountActiveConnectionsExceeded,
    /// At SUB only that SUB is refused; a limit lowered below what exists closes (the caller knows).
    MaximumSubscriptionsExceeded,
    MaximumPayloadViolation,
    MaximumControlLineExceeded,
    StaleConnection,
    InvalidClientProtocol,
    NoRespondersRequiresHeaders,
    InvalidSubject,
    /// Pedantic connections only; the message is delivered all the same.
    InvalidPublishSubject,
    PublishDenied {
        subject: &'a [u8],
    },
    ReplyDenied {
        reply: &'a [u8],
    },
    SubscribeDenied {
        subject: &'a [u8],
    },
    QueueSubscribeDenied {
        subject: &'a [u8],
        queue: &'a [u8],
    },
    TooManyTokens {
        subject: &'a [u8],
    },
    /// Permission lost at a reload; the subscription is removed.
    SubscriptionLost {
        subject: &'a [u8],
        sid: &'a [u8],
    },
    FailedAccountRegistration,
    ConnectionThrottled,
    RoutePort,
    LeafNodePort,
    GatewayPort,
    WrongPort,
}

impl WireError<'_> {
    /// Whether the server closes the connection after the line.
    #[must_use]
    pub const fn closes(self) -> bool {
        !matches!(
            self,
            Self::MaximumSubscriptionsExceeded
                | Self::InvalidSubject
                | Self::InvalidPublishSubject
                | Self::PublishDenied { .. }
                | Self::ReplyDenied { .. }
                | Self::SubscribeDenied { .. }
                | Self::QueueSubscribeDenied { .. }
                | Self::TooManyTokens { .. }
                | Self::SubscriptionLost { .. }
                | Self::FailedAccountRegistration
        )
    }

    /// Appends the text between the quotes.
    pub fn write_text<S: Sink + ?Sized>(self, out: &mut S) {
        let parts: [&[u8]; 5] = match self {
            Self::PublishDenied { subject } => [
                b"Permissions Violation for Publish to \"",
                subject,
                b"\"",
                b"",
                b"",
            ],
            Self::ReplyDenied { reply } => [
                b"Permissions Violation for Publish with Reply of \"",
                reply,
                b"\"",
                b"",
                b"",
            ],
            Self::SubscribeDenied { subject } => [SUBSCRIPTION, subject, b"\"", b"", b""],
            Self::QueueSubscribeDenied { subject, queue } => {
                [SUBSCRIPTION, subject, b"\" using queue \"", queue, b"\""]
            }
            Self::TooManyTokens { subject } => {
                [SUBSCRIPTION, subject, b"\", too many tokens", b"", b""]
            }
            Self::SubscriptionLost { subject, sid } => {
                [SUBSCRIPTION, subject, b"\" (sid \"", sid, b"\")"]
            }
            plain => [plain.fixed_text().as_bytes(), b"", b"", b"", b""],
        };
        for part in parts {
            out.put(part);
        }
    }

    const fn fixed_text(self) -> &'static str {
        match self {
            Self::UnknownProtocolOperation => "Unknown Protocol Operation",
            Self::AuthorizationViolation => "Authorization Violation",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::UserAuthenticationExpired => "User Authentication Expired",
            Self::UserAuthenticationRevoked => "User Authentication Revoked",
            Self::AccountAuthenticationExpired => "Account Authentication Expired",
            Self::MaximumConnectionsExceeded => "maximum connections exceeded",
            Self::MaximumAccountActiveConnectionsExceeded => {
                "maximum account active connections exceeded"
            }
            Self::MaximumSubscriptionsExceeded => "maximum subscriptions exceeded",
            Self::MaximumPayloadViolation => "Maximum Payload Violation",
            Self::MaximumControlLineExceeded => "maximum control line exceeded",
            Self::StaleConnection => "Stale Connection",
            Self::InvalidClientProtocol => "invalid client protocol",
            Self::NoRespondersRequiresHeaders => "no responders requires headers support",
            Self::InvalidSubject => "Invalid Subject",
            Self::InvalidPublishSubject => "Invalid Publish Subject",
            Self::FailedAccountRegistration => "Failed Account Registration",
            Self::ConnectionThrottled => "Connection throttling is active. Please try again later.",
            Self::RoutePort => "attempted to connect to route port",
            Self::LeafNodePort => "attempted to connect to leaf node port",
            Self::GatewayPort => "attempted to connect to gateway port",
            Self::WrongPort => "attempted to connect to wrong port",
            Self::PublishDenied { .. } | Self::ReplyDenied { .. } => "Permissions Violation",
            Self::SubscribeDenied { .. }
            | Self::QueueSubscribeDenied { .. }
            | Self::TooManyTokens { .. }
            | Self::SubscriptionLost { .. } => "Permissions Violation for Subscription",
        }
    }
}

const SUBSCRIPTION: &[u8] = b"Permissions Violation for Subscription to \"";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: WireError<'_>) -> String {
        let mut out = Vec::new();
        error.write_text(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn texts_with_arguments() {
        let (subject, queue, sid) = (&b"a.b"[..], &b"q"[..], &b"7"[..]);
        let head = "Permissions Violation for Subscription to \"a.b\"";
        assert_eq!(text(WireError::SubscribeDenied { subject }), head);
        assert_eq!(
            text(WireError::QueueSubscribeDenied { subject, queue }),
            format!("{head} using queue \"q\"")
        );
        assert_eq!(
            text(WireError::TooManyTokens { subject }),
            format!("{head}, too many tokens")
        );
        assert_eq!(
            text(WireError::SubscriptionLost { subject, sid }),
            format!("{head} (sid \"7\")")
        );
        assert_eq!(
            text(WireError::ReplyDenied {
                reply: b"$JS.ACK.x"
            }),
            "Permissions Violation for Publish with Reply of \"$JS.ACK.x\""
        );
    }

    #[test]
    fn only_some_errors_close() {
        assert!(WireError::UnknownProtocolOperation.closes());
        assert!(WireError::StaleConnection.closes());
        assert!(!WireError::InvalidSubject.closes());
        assert!(!WireError::PublishDenied { subject: b"a" }.closes());
    }
}
