//! CONSUMER.CREATE in its forms, NAMES, LIST, INFO, DELETE.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::advisory::{Action, ConsumerAction as ConsumerEvent};
use jetwake_protocol::jetstream::consumer::{ConsumerAction, ConsumerConfig, ConsumerInfo};
use jetwake_protocol::jetstream::consumer_config;
use jetwake_protocol::jetstream::requests::{
    ConsumersRequest, CreateConsumerRequest, expect_empty, parse, parse_optional,
};
use jetwake_protocol::jetstream::responses::{
    ConsumerCreateResponse, ConsumerDeleteResponse, ConsumerInfoResponse, ConsumerListResponse,
    ConsumerNamesResponse,
};

use crate::jetstream::advisory::{advise, random_name};
use crate::jetstream::api::{Call, Outcome, page, rules};
use crate::jetstream::stream::{Stream, headers};

/// Names in one response.
const NAMES: usize = 1024;
/// Consumers in one response.
const CONSUMERS: usize = 256;

impl Call<'_> {
    /// CONSUMER.CREATE with or without a name and a filter in the subject.
    pub(crate) fn create_consumer(
        &mut self,
        stream: &str,
        name: Option<&str>,
        filter: Option<&str>,
    ) -> Result<Outcome<ConsumerCreateResponse>, ApiError> {
        let mut request = self.consumer_request(stream)?;
        rules::check_path(name.unwrap_or(&request.config.name))?;
        match name {
            Some(name) => {
                let durable = &request.config.durable;
                if !durable.is_empty() && durable != name {
                    return Err(ApiError::consumer_durable_name_not_match_subject());
                }
                name.clone_into(&mut request.config.name);
            }
            None if !request.config.durable.is_empty() => {
                return Err(ApiError::consumer_ephemeral_with_durable_name());
            }
            None => {}
        }
        if let Some(filter) = filter {
            if !request.config.filter_subjects.is_empty() {
                return Err(ApiError::consumer_multiple_filters_not_allowed());
            }
            if request.config.filter_subject != filter {
                return Err(ApiError::consumer_create_filter_subject_mismatch());
            }
        }
        self.add_consumer(stream, request)
    }

    /// CONSUMER.DURABLE.CREATE.
    pub(crate) fn create_durable(
        &mut self,
        stream: &str,
        name: &str,
    ) -> Result<Outcome<ConsumerCreateResponse>, ApiError> {
        let mut request = self.consumer_request(stream)?;
        rules::check_path(name)?;
        if request.config.durable.is_empty() {
            return Err(ApiError::consumer_durable_name_not_set());
        }
        if request.config.durable != name {
            return Err(ApiError::consumer_durable_name_not_match_subject());
        }
        name.clone_into(&mut request.config.name);
        self.add_consumer(stream, request)
    }

    fn consumer_request(&self, stream: &str) -> Result<CreateConsumerRequest, ApiError> {
        let request: CreateConsumerRequest = parse(self.body, self.core.settings.strict)?;
        if request.stream != stream {
            return Err(ApiError::stream_mismatch());
        }
        Ok(request)
    }

    fn add_consumer(
        &mut self,
        stream: &str,
        request: CreateConsumerRequest,
    ) -> Result<Outcome<ConsumerCreateResponse>, ApiError> {
        if request.config.replicas > 1 && !self.core.in_cluster() {
            return Err(ApiError::stream_replicas_not_supported());
        }
        let id = self.stream_id(stream)?;
        if request.config.direct || request.config.sourcing {
            self.identify(stream)?;
        }
        let (action, pedantic) = (request.action, request.pedantic);
        let target = self.stream(stream)?;
        let config = rules::consumer(request.config, pedantic, target, &self.core.settings)?;
        let existing = match config.name.as_str() {
            "" => None,
            name => target.consumers.id(name),
        };
        let info = match existing {
            Some(consumer) => self.change_consumer(id, consumer, config, action)?,
            None if action == ConsumerAction::Update => {
                return Err(ApiError::consumer_does_not_exist());
            }
            None => self.new_consumer(id, config)?,
        };
        Ok(Outcome::Durable(ConsumerCreateResponse {
            info: Some(info),
        }))
    }

    /// Whoever copies a stream learns which one it is, and is told if it has become another.
    fn identify(&mut self, stream: &str) -> Result<(), ApiError> {
        let identity = self.stream(stream)?.identity();
        let known = headers::value(self.headers, b"Nats-Stream-Identity");
        if !known.is_empty() && known != identity.as_bytes() {
            return Err(ApiError::consumer_stream_identity_mismatch(identity));
        }
        if let Some(request) = &mut self.request {
            let block = format!("NATS/1.0\r\nNats-Stream-Identity: {identity}\r\n\r\n");
            request.headers = block.into_bytes();
        }
        Ok(())
    }

    fn new_consumer(&mut self, id: u32, config: ConsumerConfig) -> Result<ConsumerInfo, ApiError> {
        let stream = self
            .core
            .streams
            .get(id)
            .ok_or_else(ApiError::stream_not_found)?;
        rules::check_new(&config, stream, &self.core.settings)?;
        let name = match config.name.as_str() {
            "" => random_name(8, self.out),
            name => name.to_owned(),
        };
        let info = self
            .core
            .with_stream(id, self.now, self.out, |stream, env| {
                let consumer = stream.add_consumer(&name, config, env)?;
                stream.consumer_info(consumer, env)
            });
        let mut info = info
            .flatten()
            .ok_or_else(ApiError::insufficient_resources)?;
        info.cluster = self.core.consumer_cluster(id, &info, self.now);
        let event = ConsumerEvent {
            stream: &info.stream_name,
            consumer: &info.name,
            action: Action::Create,
        };
        advise(
            &event,
            self.account,
            self.now,
            &self.core.settings,
            self.out,
        );
        show(&mut info);
        Ok(info)
    }

    fn change_consumer(
        &mut self,
        id: u32,
        consumer: u32,
        config: ConsumerConfig,
        action: ConsumerAction,
    ) -> Result<ConsumerInfo, ApiError> {
        let stream = self
            .core
            .streams
            .get(id)
            .ok_or_else(ApiError::stream_not_found)?;
        let old = stream
            .consumers
            .get(consumer)
            .ok_or_else(ApiError::consumer_not_found)?;
        let (old, name) = (old.config(), old.name());
        let same = consumer_config::same(old, &config);
        if action == ConsumerAction::Create && !same {
            return Err(ApiError::consumer_already_exists());
        }
        let mut config = config;
        if !same {
            rules::check_existing(&config, stream, name)?;
            let deliver = old.deliver_subject.as_bytes();
            let bound = !deliver.is_empty() && self.out.has_any_interest(self.account, deliver);
            config = consumer_config::check_update(old, config, bound)?;
        }
        let info = self
            .core
            .with_stream(id, self.now, self.out, |stream, env| {
                if !same {
                    stream.update_consumer(consumer, config, env)?;
                }
                stream.consumer_info(consumer, env)
            });
        let mut info = info
            .flatten()
            .ok_or_else(ApiError::insufficient_resources)?;
        info.cluster = self.core.consumer_cluster(id, &info, self.now);
        show(&mut info);
        Ok(info)
    }

    /// CONSUMER.NAMES.
    pub(crate) fn consumer_names(
        &mut self,
        stream: &str,
    ) -> Result<Outcome<ConsumerNamesResponse>, ApiError> {
        let request: ConsumersRequest = parse_optional(self.body, self.core.settings.strict)?;
        let stream = self.stream(stream)?;
        let names: Vec<&str> = visible(stream).map(|(_, name)| name).collect();
        let range = page(request.offset, names.len(), NAMES);
        let shown = names.get(range.clone()).unwrap_or(&[]);
        Ok(Outcome::Now(ConsumerNamesResponse {
            total: names.len() as u64,
            offset: range.start as u64,
            limit: NAMES as u64,
            consumers: shown.iter().map(|name| (*name).to_owned()).collect(),
        }))
    }

    /// CONSUMER.LIST.
    pub(crate) fn consumer_list(
        &mut self,
        stream: &str,
    ) -> Result<Outcome<ConsumerListResponse>, ApiError> {
        let request: ConsumersRequest = parse_optional(self.body, self.core.settings.strict)?;
        let id = self.stream_id(stream)?;
        let consumers: Vec<u32> = visible(self.stream(stream)?).map(|(id, _)| id).collect();
        let range = page(request.offset, consumers.len(), CONSUMERS);
        let mut shown = Vec::new();
        for consumer in consumers.get(range.clone()).unwrap_or(&[]) {
            shown.extend(self.info_of(id, *consumer));
        }
        Ok(Outcome::Now(ConsumerListResponse {
            total: consumers.len() as u64,
            offset: range.start as u64,
            limit: CONSUMERS as u64,
            consumers: shown,
            ..ConsumerListResponse::default()
        }))
    }

    /// CONSUMER.INFO.
    pub(crate) fn consumer_info(
        &mut self,
        stream: &str,
        name: &str,
    ) -> Result<Outcome<ConsumerInfoResponse>, ApiError> {
        expect_empty(self.body)?;
        let (id, consumer) = self.consumer_id(stream, name)?;
        let mut info = self
            .info_of(id, consumer)
            .ok_or_else(ApiError::consumer_not_found)?;
        show(&mut info);
        Ok(Outcome::Now(ConsumerInfoResponse { info: Some(info) }))
    }

    /// CONSUMER.DELETE.
    pub(crate) fn delete_consumer(
        &mut self,
        stream: &str,
        name: &str,
    ) -> Result<Outcome<ConsumerDeleteResponse>, ApiError> {
        expect_empty(self.body)?;
        let (id, consumer) = self.consumer_id(stream, name)?;
        self.check_room(id)?;
        self.core.delete_consumer(id, consumer, self.now, self.out);
        Ok(Outcome::Durable(ConsumerDeleteResponse { success: true }))
    }

    pub(crate) fn consumer_id(&self, stream: &str, name: &str) -> Result<(u32, u32), ApiError> {
        let id = self.stream_id(stream)?;
        let consumer = self.stream(stream)?.consumers.id(name);
        Ok((id, consumer.ok_or_else(ApiError::consumer_not_found)?))
    }

    pub(super) fn info_of(&mut self, stream: u32, consumer: u32) -> Option<ConsumerInfo> {
        let info = self
            .core
            .with_stream(stream, self.now, self.out, |stream, env| {
                stream.consumer_info(consumer, env)
            });
        let mut info = info.flatten()?;
        info.cluster = self.core.consumer_cluster(stream, &info, self.now);
        Some(info)
    }
}

/// Number and name of the consumers that lists show.
fn visible(stream: &Stream) -> impl Iterator<Item = (u32, &str)> {
    stream
        .consumers
        .by_name()
        .filter(|consumer| !consumer.config().direct)
        .map(|consumer| (consumer.id(), consumer.name()))
}

/// Adds what answers show and lists do not.
pub(super) fn show(info: &mut ConsumerInfo) {
    if let Some(config) = &mut info.config {
        *config = consumer_config::with_dynamic_metadata(config);
    }
}
