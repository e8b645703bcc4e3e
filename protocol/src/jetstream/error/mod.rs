//! The JetStream error table: one constructor per row, with the exact codes and texts.
//!
//! Rows whose text is only `{err}` wrap a cause; where the cause is itself a row, it is returned
//! unchanged.

mod table;

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// An error as it stands in an API response or in an error PubAck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiError {
    /// The code in the style of HTTP.
    pub code: u16,
    /// The code that tells the rows apart.
    #[serde(skip_serializing_if = "is_zero")]
    pub err_code: u16,
    /// The text for people; some clients match on it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub description: Cow<'static, str>,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.description, self.err_code)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jetstream::json::to_json;

    #[test]
    fn table_is_frozen() {
        let mut rows = String::new();
        for (err_code, code, text) in table::ROWS {
            rows.push_str(&format!("{err_code} {code} {text}\n"));
        }
        assert_eq!(rows, include_str!("table.txt"));
    }

    #[test]
    fn arguments_fill_the_template() {
        let error = ApiError::wrong_last_sequence(3);
        assert_eq!(error.description, "wrong last sequence: 3");
        assert_eq!((error.code, error.err_code), (400, 10071));
    }

    #[test]
    fn json_form_omits_what_is_empty() {
        let mut out = Vec::new();
        to_json(&ApiError::stream_not_found(), &mut out);
        assert_eq!(
            out,
            br#"{"code":404,"err_code":10059,"description":"stream not found"}"#
        );
        out.clear();
        to_json(
            &ApiError {
                code: 500,
                err_code: 0,
                description: "".into(),
            },
            &mut out,
        );
        assert_eq!(out, br#"{"code":500}"#);
    }
}
