//! The facts that configurations are judged against.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::account::AccountLimits;
use jetwake_protocol::jetstream::consumer::ConsumerConfig;
use jetwake_protocol::jetstream::consumer_config::{self, ConsumerFacts};
use jetwake_protocol::jetstream::requests::StreamConfigRequest;
use jetwake_protocol::jetstream::stream::{RetentionPolicy, StreamConfig};
use jetwake_protocol::jetstream::stream_config::{self, StreamFacts};

use crate::jetstream::api::Call;
use crate::jetstream::api::streams::SEQ_MAX;
use crate::jetstream::settings::Settings;
use crate::jetstream::stream::Stream;

impl Call<'_> {
    /// A stream's configuration with defaults, if it is valid.
    pub(crate) fn normalized(
        &self,
        request: StreamConfigRequest,
    ) -> Result<StreamConfig, ApiError> {
        let meta = &self.core.cluster.meta;
        let stream = |name: &str| match self.stream(name) {
            Ok(stream) => Some(&stream.config),
            Err(_) => meta.get(self.account, name).map(|one| &one.config),
        };
        let facts = StreamFacts {
            account: &AccountLimits::UNLIMITED,
            max_duplicates: self.core.settings.max_duplicate_window,
            stream: &stream,
        };
        stream_config::normalize(request.config, request.pedantic, &facts)
    }

    /// What can be said only when a stream is built or rebuilt.
    pub(super) fn check_buildable(&self, config: &StreamConfig) -> Result<(), ApiError> {
        if config.first_seq > SEQ_MAX {
            return Err(ApiError::stream_invalid_config(
                "first sequence is too large",
            ));
        }
        stream_config::check_filters(config)?;
        let streams = &self.core.streams;
        let own = streams.id(self.account, &config.name).unwrap_or(0);
        stream_config::check_ownership(config, |subject| {
            streams.is_owned(self.account, subject, own)
        })?;
        stream_config::unsupported(config).map_or(Ok(()), Err)
    }
}

/// A consumer's configuration with defaults, if it is valid.
pub(super) fn consumer(
    config: ConsumerConfig,
    pedantic: bool,
    stream: &Stream,
    settings: &Settings,
) -> Result<ConsumerConfig, ApiError> {
    let facts = ConsumerFacts {
        stream: &stream.config,
        server_max_ack_pending: settings.max_ack_pending,
        account_max_ack_pending: 0,
        max_request_batch: settings.max_request_batch,
    };
    let config = consumer_config::normalize(config, pedantic, &facts)?;
    consumer_config::unsupported(&config).map_or(Ok(config), Err)
}

/// Whether a name can be part of a subject.
pub(super) fn check_path(name: &str) -> Result<(), ApiError> {
    if name.contains(['/', '\\']) {
        return Err(ApiError::consumer_name_contains_path_separators());
    }
    Ok(())
}

/// What only a new consumer is refused for.
pub(super) fn check_new(
    config: &ConsumerConfig,
    stream: &Stream,
    settings: &Settings,
) -> Result<(), ApiError> {
    let own = usize::try_from(stream.config.max_consumers).unwrap_or(0);
    let most = if own > 0 {
        own
    } else {
        settings.default_max_consumers
    };
    if !config.direct && most > 0 && stream.consumers.visible() >= most {
        return Err(ApiError::maximum_consumers_limit());
    }
    if stream.config.retention != RetentionPolicy::WorkQueue {
        return Ok(());
    }
    let others = stream.consumers.iter().map(|other| other.config());
    consumer_config::check_work_queue(config, others)
}

/// What a work queue demands of the consumer called `name`, given the others.
pub(super) fn check_existing(
    config: &ConsumerConfig,
    stream: &Stream,
    name: &str,
) -> Result<(), ApiError> {
    if stream.config.retention != RetentionPolicy::WorkQueue {
        return Ok(());
    }
    let others = stream.consumers.iter().filter(|other| other.name() != name);
    consumer_config::check_unique(config, others.map(|other| other.config()))
}
