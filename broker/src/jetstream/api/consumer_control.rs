//! CONSUMER.PAUSE, UNPIN and RESET.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::consumer_config::check_group_name;
use jetwake_protocol::jetstream::requests::{
    ConsumerPauseRequest, ConsumerResetRequest, ConsumerUnpinRequest, parse_optional,
};
use jetwake_protocol::jetstream::responses::{
    ConsumerPauseResponse, ConsumerResetResponse, ConsumerUnpinResponse,
};

use crate::jetstream::api::{Call, Outcome};

impl Call<'_> {
    /// CONSUMER.PAUSE.
    pub(super) fn pause_consumer(
        &mut self,
        stream: &str,
        name: &str,
    ) -> Result<Outcome<ConsumerPauseResponse>, ApiError> {
        let request: ConsumerPauseRequest = parse_optional(self.body, self.core.settings.strict)?;
        let (id, consumer) = self.consumer_id(stream, name)?;
        let until = (!request.pause_until.is_zero()).then(|| request.pause_until.to_nanos());
        let paused = self
            .core
            .with_stream(id, self.now, self.out, |stream, env| {
                stream.pause_consumer(consumer, until, env)
            })
            .flatten()
            .ok_or_else(ApiError::insufficient_resources)?;
        Ok(Outcome::Durable(ConsumerPauseResponse {
            paused: paused.is_some(),
            pause_until: request.pause_until,
            pause_remaining: paused.map_or(0, |until| until.saturating_sub(self.now)),
        }))
    }

    /// CONSUMER.UNPIN.
    pub(super) fn unpin_consumer(
        &mut self,
        stream: &str,
        name: &str,
    ) -> Result<Outcome<ConsumerUnpinResponse>, ApiError> {
        let request = ConsumerUnpinRequest::parse(self.body)?;
        check_group_name(&request.group)?;
        let (id, consumer) = self.consumer_id(stream, name)?;
        let found = self
            .core
            .with_stream(id, self.now, self.out, |stream, env| {
                stream.with_consumer(consumer, env, |consumer, ctx| {
                    consumer.unpin(ctx, &request.group)
                })
            })
            .flatten()
            .ok_or_else(ApiError::consumer_not_found)?;
        if !found {
            return Err(ApiError::consumer_invalid_priority_group());
        }
        Ok(Outcome::Now(ConsumerUnpinResponse::default()))
    }

    /// CONSUMER.RESET.
    pub(super) fn reset_consumer(
        &mut self,
        stream: &str,
        name: &str,
    ) -> Result<Outcome<ConsumerResetResponse>, ApiError> {
        let request = ConsumerResetRequest::parse(self.body)?;
        let (id, consumer) = self.consumer_id(stream, name)?;
        self.check_room(id)?;
        let reset_seq = self
            .core
            .with_stream(id, self.now, self.out, |stream, env| {
                stream.reset_consumer(consumer, request.seq, env)
            })
            .flatten()
            .ok_or_else(ApiError::consumer_not_found)?
            .map_err(ApiError::consumer_invalid_reset)?;
        let mut info = self
            .info_of(id, consumer)
            .ok_or_else(ApiError::consumer_not_found)?;
        super::consumers::show(&mut info);
        Ok(Outcome::Durable(ConsumerResetResponse {
            info: Some(info),
            reset_seq,
        }))
    }
}
