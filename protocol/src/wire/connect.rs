//! The JSON of CONNECT.
//!
//! Keys match without regard to case, unknown keys are ignored, a wrong type is an error, and a
//! second CONNECT changes only what it names.

use serde_json::{Map, Value};

/// Why a CONNECT cannot be read; the connection is closed without a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The argument is no JSON object.
    #[error("invalid CONNECT: {0}")]
    Json(String),
    /// A known key holds a value of another type.
    #[error("invalid CONNECT: wrong type of {0:?}")]
    WrongType(&'static str),
}

/// What a client asked for. The defaults hold for clients that never send CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the wire names")]
pub struct ConnectOptions {
    pub verbose: bool,
    pub pedantic: bool,
    pub echo: bool,
    pub tls_required: bool,
    pub protocol: i64,
    pub headers: bool,
    pub no_responders: bool,
    pub name: String,
    pub lang: String,
    pub version: String,
    pub user: String,
    pub pass: String,
    pub auth_token: String,
    pub nkey: String,
    pub sig: String,
    pub jwt: String,
    pub proxy_sig: String,
    /// Obsolete: any use is an authorization violation.
    pub account: String,
    /// Obsolete: any use is an authorization violation.
    pub new_account: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            tls_required: false,
            protocol: 0,
            headers: false,
            no_responders: false,
            name: String::new(),
            lang: String::new(),
            version: String::new(),
            user: String::new(),
            pass: String::new(),
            auth_token: String::new(),
            nkey: String::new(),
            sig: String::new(),
            jwt: String::new(),
            proxy_sig: String::new(),
            account: String::new(),
            new_account: false,
        }
    }
}

impl ConnectOptions {
    /// Merges the argument of a CONNECT over the current options; on error they are unchanged.
    ///
    /// # Errors
    /// If the argument is no JSON object or a known key has a value of the wrong type.
    pub fn merge(&mut self, json: &[u8]) -> Result<(), ConnectError> {
        // Text that is no UTF-8 is repaired, as Go's JSON reader does.
        let text = String::from_utf8_lossy(json);
        let object: Option<Map<String, Value>> =
            serde_json::from_str(&text).map_err(|error| ConnectError::Json(error.to_string()))?;
        let mut merged = self.clone();
        for (key, value) in object.into_iter().flatten() {
            if !value.is_null() {
                merged.set(&key.to_ascii_lowercase(), value)?;
            }
        }
        *self = merged;
        Ok(())
    }

    fn set(&mut self, key: &str, value: Value) -> Result<(), ConnectError> {
        match key {
            "verbose" => flag(&mut self.verbose, value, "verbose"),
            "pedantic" => flag(&mut self.pedantic, value, "pedantic"),
            "echo" => flag(&mut self.echo, value, "echo"),
            "tls_required" => flag(&mut self.tls_required, value, "tls_required"),
            "headers" => flag(&mut self.headers, value, "headers"),
            "no_responders" => flag(&mut self.no_responders, value, "no_responders"),
            "new_account" => flag(&mut self.new_account, value, "new_account"),
            "protocol" => {
                self.protocol = value.as_i64().ok_or(ConnectError::WrongType("protocol"))?;
                Ok(())
            }
            "name" => text(&mut self.name, value, "name"),
            "lang" => text(&mut self.lang, value, "lang"),
            "version" => text(&mut self.version, value, "version"),
            "user" => text(&mut self.user, value, "user"),
            "pass" => text(&mut self.pass, value, "pass"),
            "auth_token" => text(&mut self.auth_token, value, "auth_token"),
            "nkey" => text(&mut self.nkey, value, "nkey"),
            "sig" => text(&mut self.sig, value, "sig"),
            "jwt" => text(&mut self.jwt, value, "jwt"),
            "proxy_sig" => text(&mut self.proxy_sig, value, "proxy_sig"),
            "account" => text(&mut self.account, value, "account"),
            // Of routes and leaf nodes: not kept, but checked.
            "remote_account" => text(&mut String::new(), value, "remote_account"),
            "import" if !value.is_object() => Err(ConnectError::WrongType("import")),
            "export" if !value.is_object() => Err(ConnectError::WrongType("export")),
            _ => Ok(()),
        }
    }
}

fn flag(slot: &mut bool, value: Value, key: &'static str) -> Result<(), ConnectError> {
    *slot = value.as_bool().ok_or(ConnectError::WrongType(key))?;
    Ok(())
}

fn text(slot: &mut String, value: Value, key: &'static str) -> Result<(), ConnectError> {
    match value {
        Value::String(text) => {
            *slot = text;
            Ok(())
        }
        _ => Err(ConnectError::WrongType(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_without_regard_to_case() {
        let mut options = ConnectOptions::default();
        options
            .merge(br#"{"VERBOSE":false,"Protocol":1,"lang":"go","unknown":[1]}"#)
            .unwrap();
        assert!(!options.verbose && options.pedantic && options.echo);
        assert_eq!((options.protocol, options.lang.as_str()), (1, "go"));
    }

    #[test]
    fn a_second_connect_changes_only_what_it_names() {
        let mut options = ConnectOptions::default();
        options
            .merge(br#"{"verbose":false,"user":"a","name":"x"}"#)
            .unwrap();
        options.merge(br#"{"user":"b","name":null}"#).unwrap();
        assert!(!options.verbose);
        assert_eq!((options.user.as_str(), options.name.as_str()), ("b", "x"));
    }

    #[test]
    fn null_and_broken_text_are_taken() {
        let mut options = ConnectOptions::default();
        options.merge(b"null").unwrap();
        options
            .merge(b"{\"name\":\"\xff\",\"verbose\":null,\"cluster\":1}")
            .unwrap();
        assert_eq!(
            options,
            ConnectOptions {
                name: "\u{fffd}".into(),
                ..ConnectOptions::default()
            }
        );
    }

    #[test]
    fn bad_arguments_change_nothing() {
        let mut options = ConnectOptions::default();
        for bad in [
            &b"{bad}"[..],
            b"",
            b"[]",
            br#"{"echo":false,"verbose":"x"}"#,
            br#"{"import":1}"#,
            b"{} x",
        ] {
            options.merge(bad).unwrap_err();
        }
        assert_eq!(
            options.merge(br#"{"user":1}"#),
            Err(ConnectError::WrongType("user"))
        );
        assert_eq!(options, ConnectOptions::default());
    }
}
