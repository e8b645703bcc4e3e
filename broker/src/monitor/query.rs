//! Query parameters of the monitoring endpoints. Bad values are answered with Go's texts.

/// Parameters of a request, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// How `/connz` shows subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Subs {
    /// Not at all.
    #[default]
    None,
    /// Their subjects.
    Subjects,
    /// All about them.
    Detail,
}

/// Which connections `/connz` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Those that are there.
    #[default]
    Open,
    /// Those that have ended.
    Closed,
    /// Both.
    Any,
}

/// Which part of a list is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Page {
    /// First entry to show.
    pub(crate) offset: usize,
    /// Most entries to show.
    pub(crate) limit: usize,
}

/// What is asked of `/subsz`.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubszQuery {
    /// Which part of the list.
    pub(crate) page: Page,
    /// The list of subscriptions too.
    pub(crate) subs: bool,
    /// Only this account's.
    pub(crate) account: Option<String>,
    /// Only those that this subject reaches.
    pub(crate) test: Option<String>,
}

/// What is asked of `/connz`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnzQuery {
    /// Which part of the list.
    pub(crate) page: Page,
    /// Open or closed ones.
    pub(crate) state: State,
    /// Only this connection.
    pub(crate) cid: Option<u64>,
    /// Only this user's.
    pub(crate) user: Option<String>,
    /// Only this account's.
    pub(crate) account: Option<String>,
    /// Only the one with this MQTT client id.
    pub(crate) mqtt_client: Option<String>,
    /// Subscriptions.
    pub(crate) subs: Subs,
    /// Users and accounts too.
    pub(crate) auth: bool,
    /// The key to sort by.
    pub(crate) sort: String,
}

/// What is asked of `/jsz`.
#[derive(Clone, Debug, Default)]
pub(crate) struct JszQuery {
    /// Accounts.
    pub(crate) accounts: bool,
    /// Only this account, with its details.
    pub(crate) account: Option<String>,
    /// Streams of the accounts.
    pub(crate) streams: bool,
    /// Consumers of the streams.
    pub(crate) consumers: bool,
    /// Configurations of what is shown.
    pub(crate) config: bool,
}

/// Entries that a page shows by itself.
const LIMIT: usize = 1024;

/// Sort keys of `/connz`.
const SORT_KEYS: &[&str] = &[
    "cid",
    "start",
    "subs",
    "pending",
    "msgs_to",
    "msgs_from",
    "bytes_to",
    "bytes_from",
    "last",
    "idle",
    "uptime",
    "stop",
    "reason",
    "rtt",
];

impl Query {
    /// Splits and decodes the part behind the question mark.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    fn get(&self, key: &str) -> &str {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map_or("", |(_, value)| value)
    }

    /// A boolean parameter; absent is false.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, String> {
        match self.get(key) {
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            other => Err(format!(
                "Error decoding boolean for '{key}': strconv.ParseBool: parsing {other:?}: invalid syntax"
            )),
        }
    }

    fn number(&self, key: &str) -> Result<i64, String> {
        match self.get(key) {
            "" => Ok(0),
            text => text.parse().map_err(|_| {
                format!(
                    "Error decoding int for '{key}': strconv.Atoi: parsing {text:?}: invalid syntax"
                )
            }),
        }
    }

    /// Nonsense stands for the default, as in nats-server.
    fn page(&self) -> Result<Page, String> {
        let limit = usize::try_from(self.number("limit")?).unwrap_or(0);
        Ok(Page {
            offset: usize::try_from(self.number("offset")?).unwrap_or(0),
            limit: if limit == 0 { LIMIT } else { limit },
        })
    }

    fn text(&self, key: &str) -> Option<String> {
        Some(self.get(key).to_owned()).filter(|text| !text.is_empty())
    }

    /// The parameters of `/connz`.
    pub(crate) fn connz(&self) -> Result<ConnzQuery, String> {
        let cid = match self.get("cid") {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                format!("Error decoding uint64 for 'cid': strconv.ParseUint: parsing {text:?}: invalid syntax")
            })?),
        };
        let state = match self.get("state").to_ascii_lowercase().as_str() {
            "" | "open" => State::Open,
            "closed" => State::Closed,
            "any" | "all" => State::Any,
            other => return Err(format!("Error decoding state for {other}")),
        };
        let subs = match self.get("subs").to_ascii_lowercase().as_str() {
            "detail" => Subs::Detail,
            _ if self.flag("subs")? => Subs::Subjects,
            _ => Subs::None,
        };
        let sort = match self.get("sort") {
            "" => "cid",
            key if SORT_KEYS.contains(&key) => key,
            other => return Err(format!("invalid sorting option: {other}")),
        };
        if matches!(sort, "stop" | "reason") && state != State::Closed {
            return Err(format!("sort by {sort} only valid on closed connections"));
        }
        let mut page = self.page()?;
        if cid.is_some() {
            page.limit = 1;
        }
        Ok(ConnzQuery {
            page,
            state,
            cid,
            user: self.text("user"),
            account: self.text("acc"),
            mqtt_client: self.text("mqtt_client"),
            subs,
            auth: self.flag("auth")?,
            sort: sort.to_owned(),
        })
    }

    /// The parameters of `/subsz`.
    pub(crate) fn subsz(&self) -> Result<SubszQuery, String> {
        let test = self.text("test");
        if let Some(subject) = &test
            && !jetwake_protocol::subject::is_literal(subject.as_bytes())
        {
            let text = format!("invalid test subject, must be publishable: {subject:?}");
            return Err(text);
        }
        Ok(SubszQuery {
            page: self.page()?,
            subs: self.flag("subs")?,
            account: self.text("acc"),
            test,
        })
    }

    /// The parameters of `/jsz`.
    pub(crate) fn jsz(&self) -> Result<JszQuery, String> {
        let consumers = self.flag("consumers")?;
        let streams = self.flag("streams")? || consumers;
        let account = self.text("acc");
        Ok(JszQuery {
            accounts: self.flag("accounts")? || streams,
            account,
            streams,
            consumers,
            config: self.flag("config")?,
        })
    }
}

/// Percent decoding; a broken escape stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match tail.get(..2).and_then(hex_byte) {
                Some(byte) => {
                    bytes.push(byte);
                    rest = tail.get(2..).unwrap_or_default();
                }
                None => bytes.push(b'%'),
            },
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("acc=%24G&streams=1&offset=3");
        let jsz = query.jsz().unwrap();
        assert_eq!(jsz.account.as_deref(), Some("$G"));
        assert!(jsz.streams && jsz.accounts && !jsz.consumers);
        let page = query.connz().unwrap().page;
        assert_eq!((page.offset, page.limit), (3, 1024));
        let page = Query::parse("offset=-1&limit=0").subsz().unwrap().page;
        assert_eq!((page.offset, page.limit), (0, 1024));
    }

    #[test]
    fn bad_values_have_gos_texts() {
        let error = Query::parse("auth=zz").connz().unwrap_err();
        let expected =
            "Error decoding boolean for 'auth': strconv.ParseBool: parsing \"zz\": invalid syntax";
        assert_eq!(error, expected);
        assert_eq!(
            Query::parse("sort=stop").connz().unwrap_err(),
            "sort by stop only valid on closed connections"
        );
        assert_eq!(
            Query::parse("state=zz").connz().unwrap_err(),
            "Error decoding state for zz"
        );
    }
}
