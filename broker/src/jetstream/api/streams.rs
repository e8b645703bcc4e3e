//! STREAM.CREATE, UPDATE, DELETE and PURGE.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::advisory::{Action, StreamAction};
use jetwake_protocol::jetstream::json::to_json;
use jetwake_protocol::jetstream::requests::{
    StreamConfigRequest, StreamPurgeRequest, expect_empty, parse, parse_optional,
};
use jetwake_protocol::jetstream::responses::{
    StreamCreateResponse, StreamDeleteResponse, StreamPurgeResponse, StreamRestoreResponse,
    StreamSnapshotResponse, StreamUpdateResponse,
};
use jetwake_protocol::jetstream::stream::{StorageType, StreamConfig};
use jetwake_protocol::jetstream::stream_config;

use crate::jetstream::advisory::advise;
use crate::jetstream::api::{Call, Outcome, unsupported};
use crate::jetstream::commit::What;
use crate::jetstream::entry::Entry;

/// Furthest place that a purge or a configuration may move a stream to: enough sequences are left behind it for any
/// life of a stream.
pub(crate) const SEQ_MAX: u64 = i64::MAX as u64;

impl Call<'_> {
    /// STREAM.CREATE.
    pub(crate) fn create_stream(
        &mut self,
        name: &str,
    ) -> Result<Outcome<StreamCreateResponse>, ApiError> {
        let request = self.config_request(name)?;
        stream_config::check_create(&request.config)?;
        self.check_reservation(&request.config)?;
        let config = self.normalized(request)?;
        if config.num_replicas > 1 && !self.core.in_cluster() {
            return Err(ApiError::stream_replicas_not_supported());
        }
        if let Ok(existing) = self.stream(name) {
            if !stream_config::same(&existing.config, &config) {
                return Err(ApiError::stream_name_exists());
            }
            return Ok(Outcome::Durable(self.created(name)?));
        }
        self.check_buildable(&config)?;
        self.core
            .create_stream(self.account, config, self.now, self.out)?;
        let event = StreamAction {
            stream: name,
            action: Action::Create,
        };
        advise(
            &event,
            self.account,
            self.now,
            &self.core.settings,
            self.out,
        );
        Ok(Outcome::Durable(self.created(name)?))
    }

    /// STREAM.UPDATE.
    pub(crate) fn update_stream(
        &mut self,
        name: &str,
    ) -> Result<Outcome<StreamUpdateResponse>, ApiError> {
        let request: StreamConfigRequest = parse(self.body, self.core.settings.strict)?;
        let config = self.normalized(request)?;
        if config.name != name {
            return Err(ApiError::stream_mismatch());
        }
        let id = self.stream_id(name)?;
        if config.num_replicas > 1 && !self.core.in_cluster() {
            return Err(ApiError::stream_replicas_not_supported());
        }
        let stream = self.stream(name)?;
        let config = stream_config::check_update(&stream.config, config)?;
        let consumers = stream
            .consumers
            .iter()
            .map(|one| (one.name(), one.config()));
        stream_config::check_consumers(&config, consumers)?;
        let created = stream.created;
        self.check_reservation(&config)?;
        if self.core.in_cluster() {
            return self.pass_update_on(&config);
        }
        self.check_buildable(&config)?;
        let mut json = Vec::new();
        to_json(&config, &mut json);
        let entry = Entry::Config {
            account: self.account,
            created,
            config: &json,
        };
        let waiting = self.request.take();
        self.core
            .with_stream(id, self.now, self.out, |stream, env| {
                stream.submit(&entry, waiting, env);
            });
        // In memory it counts already.
        self.core.streams.index(id);
        Ok(Outcome::Queued)
    }

    /// STREAM.DELETE.
    pub(crate) fn delete_stream(
        &mut self,
        name: &str,
    ) -> Result<Outcome<StreamDeleteResponse>, ApiError> {
        expect_empty(self.body)?;
        let id = self.stream_id(name)?;
        self.check_room(id)?;
        let Some(request) = self.request.take() else {
            return Ok(Outcome::Queued);
        };
        match self.core.retire_stream(id, self.now, self.out) {
            Some(lsn) => self.core.log.commits.push(lsn, id, What::Drop { request }),
            None => self
                .core
                .drop_stream(id, Some(&request), self.now, self.out),
        }
        Ok(Outcome::Queued)
    }

    /// STREAM.PURGE.
    pub(crate) fn purge_stream(
        &mut self,
        name: &str,
    ) -> Result<Outcome<StreamPurgeResponse>, ApiError> {
        let request: StreamPurgeRequest = parse_optional(self.body, self.core.settings.strict)?;
        if request.sequence > 0 && request.keep > 0 {
            return Err(ApiError::bad_request());
        }
        let id = self.stream_id(name)?;
        let stream = self.stream(name)?;
        if stream.config.sealed {
            return Err(ApiError::stream_sealed());
        }
        if stream.config.deny_purge {
            return Err(ApiError::stream_purge_failed("stream purge not permitted"));
        }
        self.check_room(id)?;
        let waiting = self.request.take();
        let filter = request.subject.as_bytes();
        let sequence = request.sequence.min(SEQ_MAX);
        let entry = Entry::Purge {
            filter,
            seq: sequence,
            keep: request.keep,
        };
        self.core
            .with_stream(id, self.now, self.out, |stream, env| {
                if filter.is_empty() || filter == b">" {
                    // What is published from now on comes behind a sequence that the purge moves up.
                    let last = sequence.saturating_sub(1);
                    stream.staged.last_seq = stream.staged.last_seq.max(last);
                }
                stream.submit(&entry, waiting, env);
            });
        Ok(Outcome::Queued)
    }

    /// STREAM.SNAPSHOT.
    pub(crate) fn snapshot_stream(
        &mut self,
        name: &str,
    ) -> Result<Outcome<StreamSnapshotResponse>, ApiError> {
        self.stream_id(name)?;
        Err(ApiError::stream_snapshot(unsupported("snapshot")))
    }

    /// STREAM.RESTORE.
    pub(crate) fn restore_stream(
        &mut self,
        _name: &str,
    ) -> Result<Outcome<StreamRestoreResponse>, ApiError> {
        Err(ApiError::stream_restore(unsupported("restore")))
    }

    pub(crate) fn config_request(&self, name: &str) -> Result<StreamConfigRequest, ApiError> {
        let request: StreamConfigRequest = parse(self.body, self.core.settings.strict)?;
        if request.config.name != name {
            return Err(ApiError::stream_mismatch());
        }
        if name.contains(['/', '\\']) {
            return Err(ApiError::stream_name_contains_path_separators());
        }
        Ok(request)
    }

    pub(crate) fn created(&self, name: &str) -> Result<StreamCreateResponse, ApiError> {
        let stream = self.stream(name)?;
        let mut info = stream.info(self.now);
        info.config = stream_config::with_dynamic_metadata(&info.config);
        info.cluster = stream
            .group
            .and_then(|group| self.core.cluster_info(group, self.now));
        Ok(StreamCreateResponse {
            info: Some(info),
            did_create: true,
        })
    }

    /// Whether the bytes that a stream reserves are there.
    fn check_reservation(&mut self, config: &StreamConfig) -> Result<(), ApiError> {
        let Ok(wanted) = u64::try_from(config.max_bytes) else {
            return Ok(());
        };
        let same = self.stream(&config.name).ok();
        let own = same.map_or(0, |same| u64::try_from(same.config.max_bytes).unwrap_or(0));
        let account = *self.core.account(self.account);
        let settings = &self.core.settings;
        if config.storage == StorageType::Memory {
            let others = account.reserved_memory.saturating_sub(own);
            if others.saturating_add(wanted) > settings.max_memory {
                return Err(ApiError::memory_resources_exceeded());
            }
        } else {
            let others = account.reserved_storage.saturating_sub(own);
            if others.saturating_add(wanted) > settings.max_file {
                return Err(ApiError::storage_resources_exceeded());
            }
        }
        Ok(())
    }
}
