//! STREAM.INFO, STREAM.NAMES and STREAM.LIST.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::requests::{
    StreamInfoRequest, StreamListRequest, StreamNamesRequest, parse_optional,
};
use jetwake_protocol::jetstream::responses::{
    StreamInfoResponse, StreamListResponse, StreamNamesResponse,
};
use jetwake_protocol::jetstream::stream::StreamState;
use jetwake_protocol::jetstream::stream_config;

use crate::jetstream::api::subject_page::Found;
use crate::jetstream::api::{Call, Outcome, page};
use crate::jetstream::filter::SubjectFilter;
use crate::jetstream::stream::Stream;

/// Names in one response.
const NAMES: usize = 1024;
/// Streams in one response.
const STREAMS: usize = 256;
/// Subjects in one response.
const SUBJECTS: usize = 100_000;

impl Call<'_> {
    /// STREAM.INFO.
    pub(crate) fn stream_info(
        &mut self,
        name: &str,
    ) -> Result<Outcome<StreamInfoResponse>, ApiError> {
        let request: StreamInfoRequest = parse_optional(self.body, self.core.settings.strict)?;
        let settings = &self.core.settings;
        let stream = self.stream(name)?;
        let mut info = stream.info(self.now);
        if request.deleted_details {
            info.state = stream.state_with_deleted();
        }
        info.config = stream_config::with_dynamic_metadata(&info.config);
        info.domain = settings.domain.clone().unwrap_or_default();
        let cluster = stream
            .group
            .and_then(|group| self.core.cluster_info(group, self.now));
        info.cluster = cluster.or_else(|| Some(Stream::leader(settings)));
        let mut response = StreamInfoResponse::default();
        if !request.subjects_filter.is_empty() {
            let (total, offset) = subjects(stream, &request, &mut info.state);
            if total > 0 {
                (response.total, response.offset, response.limit) =
                    (total, offset, SUBJECTS as u64);
            }
        }
        response.info = Some(info);
        Ok(Outcome::Now(response))
    }

    /// STREAM.NAMES.
    pub(crate) fn stream_names(&mut self) -> Result<Outcome<StreamNamesResponse>, ApiError> {
        let request: StreamNamesRequest = parse_optional(self.body, self.core.settings.strict)?;
        let names: Vec<&str> = self
            .matching(&request.subject)
            .map(|stream| stream.config.name.as_str())
            .collect();
        let range = page(request.offset, names.len(), NAMES);
        let shown = names.get(range.clone()).unwrap_or(&[]);
        let shown: Vec<String> = shown.iter().map(|name| (*name).to_owned()).collect();
        Ok(Outcome::Now(StreamNamesResponse {
            total: names.len() as u64,
            offset: range.start as u64,
            limit: NAMES as u64,
            streams: (!shown.is_empty()).then_some(shown),
        }))
    }

    /// STREAM.LIST.
    pub(crate) fn stream_list(&mut self) -> Result<Outcome<StreamListResponse>, ApiError> {
        let request: StreamListRequest = parse_optional(self.body, self.core.settings.strict)?;
        let streams: Vec<&Stream> = self.matching(&request.subject).collect();
        let range = page(request.offset, streams.len(), STREAMS);
        let shown = streams
            .get(range.clone())
            .unwrap_or(&[])
            .iter()
            .map(|stream| {
                let mut info = stream.info(self.now);
                info.domain = self.core.settings.domain.clone().unwrap_or_default();
                info
            });
        Ok(Outcome::Now(StreamListResponse {
            total: streams.len() as u64,
            offset: range.start as u64,
            limit: STREAMS as u64,
            streams: shown.collect(),
            ..StreamListResponse::default()
        }))
    }

    fn matching(&self, wanted: &str) -> impl Iterator<Item = &Stream> {
        self.core.streams.of(self.account).filter(move |stream| {
            wanted.is_empty() || stream_config::overlaps_any(&stream.config, wanted)
        })
    }
}

/// Fills in the subjects asked for. Returns how many match and how many were skipped.
fn subjects(stream: &Stream, request: &StreamInfoRequest, state: &mut StreamState) -> (u64, i64) {
    let filter = SubjectFilter::new(request.subjects_filter.as_bytes());
    let mut found = Found::default();
    let messages = &stream.messages;
    messages.keys_matching(&filter, &mut |subject, count| found.add(subject, count));
    let offset = usize::try_from(request.offset).unwrap_or(0);
    state.subjects = found.page(offset, SUBJECTS).collect();
    (found.len() as u64, request.offset.max(0))
}
