//! Checks of the streams that a stream is copied from.

use super::{Checked, StreamFacts, is_valid_name, refuse};
use crate::jetstream::error::ApiError;
use crate::jetstream::json::go_quote;
use crate::jetstream::stream::{StreamConfig, StreamSource, SubjectTransform};
use crate::subject::transform::{Strictness, TransformError};
use crate::subject::{Transform, is_subset_of, is_valid, is_valid_publish, overlap};

const API_PREFIX: &str = "$JS.API";

/// What may be wrong with the filters of an origin that rename.
enum FilterError {
    Source(String),
    Destination(TransformError),
    Overlap,
}

fn check_transforms(transforms: &[SubjectTransform]) -> Result<(), FilterError> {
    let within = |left: &str, right: &str| is_subset_of(left.as_bytes(), right.as_bytes());
    for (index, rule) in transforms.iter().enumerate() {
        let src = &rule.src;
        if !src.is_empty() && !is_valid(src.as_bytes()) {
            return Err(FilterError::Source(format!("invalid subject {src}")));
        }
        if !rule.dest.is_empty() {
            Transform::new(src, &rule.dest, Strictness::Lenient)
                .map_err(FilterError::Destination)?;
        }
        let overlaps =
            |other: &SubjectTransform| within(src, &other.src) || within(&other.src, src);
        if transforms[..index].iter().any(overlaps) {
            return Err(FilterError::Overlap);
        }
    }
    Ok(())
}

/// Whether the consumer that an origin names can be used, if it names one.
fn consumer_is_usable(origin: &StreamSource) -> bool {
    let Some(consumer) = &origin.consumer else {
        return true;
    };
    is_valid_name(&consumer.name)
        && is_valid_publish(consumer.deliver_subject.as_bytes())
        && origin.opt_start_seq == 0
        && origin.opt_start_time.is_none()
        && origin.filter_subject.is_empty()
}

pub(super) fn check_mirror(
    config: &mut StreamConfig,
    pedantic: bool,
    facts: &StreamFacts<'_>,
) -> Checked {
    let Some(mirror) = &config.mirror else {
        return Ok(());
    };
    check_mirror_features(config, mirror)?;
    if config.subject_delete_marker_ttl > 0 {
        return refuse("subject delete markers forbidden on mirrors");
    }
    check_transforms(&mirror.subject_transforms).map_err(|error| match error {
        FilterError::Source(text) => ApiError::mirror_invalid_subject_filter(text),
        FilterError::Destination(text) => ApiError::mirror_invalid_transform_destination(text),
        FilterError::Overlap => ApiError::mirror_overlapping_subject_filters(),
    })?;
    if mirror.external.is_some() {
        return Ok(());
    }
    if !is_valid_name(&mirror.name) {
        return Err(ApiError::mirror_invalid_stream_name());
    }
    let Some(origin) = (facts.stream)(&mirror.name) else {
        return Ok(());
    };
    if config.max_msg_size > 0 && config.max_msg_size < origin.max_msg_size {
        return Err(ApiError::mirror_max_message_size_too_small());
    }
    if pedantic && origin.allow_direct && !config.mirror_direct {
        let text = "origin stream has direct get set, mirror has it disabled";
        return Err(ApiError::pedantic(text));
    }
    config.mirror_direct = origin.allow_direct;
    Ok(())
}

fn check_mirror_features(config: &StreamConfig, mirror: &StreamSource) -> Checked {
    let two_filters = !mirror.filter_subject.is_empty() && !mirror.subject_transforms.is_empty();
    let checks: [(bool, fn() -> ApiError); 9] = [
        (config.first_seq > 0, ApiError::mirror_with_first_seq),
        (!config.subjects.is_empty(), ApiError::mirror_with_subjects),
        (!config.sources.is_empty(), ApiError::mirror_with_sources),
        (config.allow_msg_counter, ApiError::mirror_with_counters),
        (config.allow_atomic, ApiError::mirror_with_atomic_publish),
        (config.allow_batched, ApiError::mirror_with_batch_publish),
        (
            config.allow_msg_schedules,
            ApiError::mirror_with_msg_schedules,
        ),
        (
            !consumer_is_usable(mirror),
            ApiError::mirror_consumer_config_invalid,
        ),
        (two_filters, ApiError::mirror_multiple_filters_not_allowed),
    ];
    match checks.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, error)) => Err(error()),
        None => Ok(()),
    }
}

pub(super) fn check_sources(config: &StreamConfig, facts: &StreamFacts<'_>) -> Checked {
    for (index, source) in config.sources.iter().enumerate() {
        if config.allow_msg_schedules {
            return Err(ApiError::source_with_msg_schedules());
        }
        if source.external.is_none() && !is_valid_name(&source.name) {
            return Err(ApiError::source_invalid_stream_name());
        }
        let earlier = &config.sources[..index];
        if earlier.iter().any(|other| is_same_origin(source, other)) {
            return Err(ApiError::source_duplicate_detected());
        }
        check_source_filters(source)?;
        if !consumer_is_usable(source) {
            return Err(ApiError::source_consumer_config_invalid());
        }
        if source.consumer.is_some() && earlier.iter().any(|other| uses_same(source, other)) {
            return Err(ApiError::source_consumer_duplicate_detected());
        }
        if source.external.is_none()
            && let Some(origin) = (facts.stream)(&source.name)
            && config.max_msg_size > 0
            && config.max_msg_size < origin.max_msg_size
        {
            return Err(ApiError::source_max_message_size_too_small());
        }
    }
    Ok(())
}

fn consumer_name(source: &StreamSource) -> Option<&str> {
    source
        .consumer
        .as_ref()
        .map(|consumer| consumer.name.as_str())
}

/// Whether two sources use the same consumer.
fn uses_same(left: &StreamSource, right: &StreamSource) -> bool {
    left.name == right.name
        && left.external == right.external
        && consumer_name(left) == consumer_name(right)
}

/// Whether two sources copy the same messages the same way.
fn is_same_origin(left: &StreamSource, right: &StreamSource) -> bool {
    uses_same(left, right)
        && left.filter_subject == right.filter_subject
        && left.subject_transforms == right.subject_transforms
}

fn check_source_filters(source: &StreamSource) -> Checked {
    if !source.filter_subject.is_empty() && !source.subject_transforms.is_empty() {
        return Err(ApiError::source_multiple_filters_not_allowed());
    }
    check_transforms(&source.subject_transforms).map_err(|error| match error {
        FilterError::Source(text) => ApiError::source_invalid_subject_filter(text),
        FilterError::Destination(text) => ApiError::source_invalid_transform_destination(text),
        FilterError::Overlap => ApiError::source_overlapping_subject_filters(),
    })
}

/// The prefixes under which origins in other accounts or domains are reached.
pub(super) fn check_externals(config: &StreamConfig) -> Checked {
    for origin in config.mirror.iter().chain(&config.sources) {
        let Some(external) = &origin.external else {
            continue;
        };
        check_deliver_prefix(config, &external.deliver)?;
        let api = &external.api;
        if api.is_empty() {
            continue;
        }
        if !is_valid_publish(api.as_bytes()) {
            let api = go_quote(api);
            return refuse(&format!(
                "stream external api prefix {api} must be a valid subject without wildcards"
            ));
        }
        if api == API_PREFIX {
            return Err(ApiError::stream_external_api_overlap(api, API_PREFIX));
        }
    }
    Ok(())
}

fn check_deliver_prefix(config: &StreamConfig, prefix: &str) -> Checked {
    if prefix.is_empty() {
        return Ok(());
    }
    if !is_valid_publish(prefix.as_bytes()) {
        return Err(ApiError::stream_external_delivery_wildcards(prefix));
    }
    for subject in &config.subjects {
        let delivered = format!("{prefix}.{subject}");
        if overlap(subject.as_bytes(), delivered.as_bytes()) {
            return Err(ApiError::stream_external_delivery_overlap(prefix, subject));
        }
    }
    Ok(())
}

/// Refuses a stream that would, over local streams, copy from itself.
pub(super) fn check_cycles(config: &StreamConfig, facts: &StreamFacts<'_>) -> Checked {
    let mut seen: Vec<&str> = Vec::new();
    let mut open: Vec<&str> = local_origins(config).collect();
    while let Some(name) = open.pop() {
        if name == config.name {
            return refuse("detected cycle");
        }
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        if let Some(origin) = (facts.stream)(name) {
            open.extend(local_origins(origin));
        }
    }
    Ok(())
}

fn local_origins(config: &StreamConfig) -> impl Iterator<Item = &str> {
    let origins = config.mirror.iter().chain(&config.sources);
    origins
        .filter(|origin| origin.external.is_none())
        .map(|origin| origin.name.as_str())
}

/// Checks the filters of mirror and sources. Runs when a new stream is built, after everything
/// else.
pub fn check_filters(config: &StreamConfig) -> Checked {
    let is_wrong = |filter: &str| !filter.is_empty() && !is_valid(filter.as_bytes());
    if let Some(StreamSource {
        filter_subject: filter,
        ..
    }) = &config.mirror
        && is_wrong(filter)
    {
        let text = format!("subject filter '{filter}' for the mirror invalid subject");
        return Err(ApiError::stream_create(text));
    }
    for StreamSource {
        filter_subject: filter,
        ..
    } in &config.sources
    {
        if is_wrong(filter) {
            let text = format!("subject filter '{filter}' for the source: invalid subject");
            return Err(ApiError::stream_create(text));
        }
    }
    Ok(())
}
