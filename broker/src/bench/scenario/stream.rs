//! Publishing into streams.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::caller::{Caller, PubAcks};
use super::super::phase::{self, crew};
use super::super::ring::{Ring, Spread, subject};
use super::stored::Stored;
use super::{Budget, Crew, Evidence, Names, Params, Sample, Target, api, warm_and_measure};

/// Unacknowledged messages while a stream is filled.
const FILL_WINDOW: usize = 1000;
/// Filling for a consumer ends after this time with what is there: a server that syncs every message
/// would take minutes.
pub(super) const FILL_LIMIT: Duration = Duration::from_secs(15);

/// Publishes one message at a time, or several.
pub(super) fn publish(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let streams = create(params, target, names, &json!({}))?;
    let mut publishers = publishers(params, target, names)?;
    let sample = warm_and_measure(params, target, &mut crew(&mut publishers))?;
    Ok((sample, Box::new(stored(params, streams, publishers))))
}

/// Creates the streams of a run; `more` is added to their configuration.
pub(super) fn create(
    params: &Params,
    target: &Target,
    names: &Names,
    more: &Value,
) -> io::Result<Vec<String>> {
    let mut client = target.connect()?;
    let mut streams = Vec::new();
    for number in 0..params.streams {
        let name = names.stream(number);
        let first = subject(&names.prefix(), number, 0);
        let all = first.trim_end_matches('0').to_owned() + "*";
        let mut config = json!({
            "name": name, "subjects": [all], "storage": storage(params), "retention": "limits",
        });
        if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
            config.extend(more.clone());
        }
        api::create_stream(&mut client, &config)?;
        streams.push(name);
    }
    Ok(streams)
}

/// The word of the API.
pub(super) fn storage(params: &Params) -> &'static str {
    if params.memory { "memory" } else { "file" }
}

/// Clients that publish into the streams of [`create`].
pub(super) fn publishers(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<Vec<Caller<PubAcks>>> {
    let spread = Spread::Streams {
        streams: params.streams,
        subjects: params.subjects,
        together: 1,
    };
    let connect = |number| {
        let reply = names.reply("p", number);
        let ring = Ring::new(
            &names.prefix(),
            Some(&reply),
            params.in_flight,
            params.size,
            number,
            spread,
        );
        let crew = Crew {
            number,
            size: params.clients,
        };
        Caller::connect(target, ring, &reply, crew, params.size, PubAcks::default())
    };
    (0..params.clients).map(connect).collect()
}

/// What these clients were acknowledged.
pub(super) fn stored(
    params: &Params,
    streams: Vec<String>,
    publishers: Vec<Caller<PubAcks>>,
) -> Stored {
    Stored {
        streams,
        together: 1,
        acks: publishers
            .into_iter()
            .map(|publisher| publisher.answers.0)
            .collect(),
        newest: None,
        size: params.size,
    }
}

/// A stream with messages to be consumed, as many as are stored within `limit`.
pub(super) fn fill(
    params: &Params,
    target: &Target,
    names: &Names,
    limit: Duration,
) -> io::Result<Stored> {
    let filling = Params {
        in_flight: FILL_WINDOW,
        clients: 1,
        budget: Budget {
            messages: params.budget.messages,
            time: limit,
        },
        ..params.clone()
    };
    let streams = create(&filling, target, names, &json!({}))?;
    let mut publishers = publishers(&filling, target, names)?;
    phase::run(&mut crew(&mut publishers), filling.budget)?;
    Ok(stored(&filling, streams, publishers))
}
