//! Checks of the subjects of a stream: its own, its transform's, its republish rule's.

use super::{Checked, refuse};
use crate::jetstream::error::ApiError;
use crate::jetstream::json::go_quote;
use crate::jetstream::stream::StreamConfig;
use crate::subject::transform::Strictness;
use crate::subject::{Transform, is_subset_of, is_valid, overlap};

const EVERYTHING: &str = ">";

/// Subjects of the server itself, which a stream may only capture without answering.
const API_SUBJECTS: [&str; 3] = ["$JS.>", "$JSC.>", "$NRG.>"];

fn collide(left: &str, right: &str) -> bool {
    overlap(left.as_bytes(), right.as_bytes())
}

fn within(subject: &str, filter: &str) -> bool {
    is_subset_of(subject.as_bytes(), filter.as_bytes())
}

pub(super) fn check_subjects(config: &mut StreamConfig) -> Checked {
    if config.subjects.is_empty() {
        if config.mirror.is_none() && config.sources.is_empty() {
            config.subjects.push(config.name.clone());
        }
        return Ok(());
    }
    for (index, subject) in config.subjects.iter().enumerate() {
        if !is_valid(subject.as_bytes()) {
            return refuse("invalid subject");
        }
        check_reserved(config, subject)?;
        let mut rest = config.subjects[index + 1..].iter();
        if let Some(other) = rest.find(|other| collide(subject, other)) {
            let (first, second) = (go_quote(subject), go_quote(other));
            return refuse(&format!("subject {first} overlaps with {second}"));
        }
    }
    Ok(())
}

fn check_reserved(config: &StreamConfig, subject: &str) -> Checked {
    if subject == EVERYTHING {
        if !config.no_ack {
            return refuse("capturing all subjects requires no-ack to be true");
        }
        if config.num_replicas > 1 {
            return refuse("capturing all subjects requires replicas of 1");
        }
    }
    if config.no_ack {
        return Ok(());
    }
    let api = API_SUBJECTS
        .iter()
        .any(|reserved| collide(subject, reserved));
    if api && !within(subject, "$JS.EVENT.>") {
        return refuse("subjects that overlap with jetstream api require no-ack to be true");
    }
    if collide(subject, "$SYS.>") && !within(subject, "$SYS.ACCOUNT.>") {
        return refuse("subjects that overlap with system api require no-ack to be true");
    }
    Ok(())
}

/// Whether any subject of a stream overlaps with `filter`, as NAMES and LIST select.
pub fn overlaps_any(config: &StreamConfig, filter: &str) -> bool {
    config
        .subjects
        .iter()
        .any(|subject| collide(subject, filter))
}

/// Refuses subjects that another stream of the account owns, as `owned_by_other` says.
pub fn check_ownership(config: &StreamConfig, owned_by_other: impl Fn(&str) -> bool) -> Checked {
    if config
        .subjects
        .iter()
        .any(|subject| owned_by_other(subject))
    {
        return Err(ApiError::stream_subject_overlap());
    }
    Ok(())
}

pub(super) fn check_transform(config: &StreamConfig) -> Checked {
    let Some(rule) = &config.subject_transform else {
        return Ok(());
    };
    if !rule.src.is_empty() && !is_valid(rule.src.as_bytes()) {
        let text = format!("invalid subject {}", rule.src);
        return Err(ApiError::stream_transform_invalid_source(text));
    }
    if rule.dest.is_empty() {
        return Ok(());
    }
    Transform::new(&rule.src, &rule.dest, Strictness::Lenient)
        .map(drop)
        .map_err(ApiError::stream_transform_invalid_destination)
}

pub(super) fn check_republish(config: &mut StreamConfig, pedantic: bool) -> Checked {
    let Some(rule) = &mut config.republish else {
        return Ok(());
    };
    if rule.src.is_empty() {
        if pedantic {
            return Err(ApiError::pedantic("republish source can not be empty"));
        }
        EVERYTHING.clone_into(&mut rule.src);
    }
    if rule.src == EVERYTHING
        && rule.dest == EVERYTHING
        && let Some(transform) = &config.subject_transform
        && config.subjects == [transform.src.as_str()]
    {
        if pedantic {
            return Err(ApiError::pedantic(
                "implicit republish based on subject transform",
            ));
        }
        rule.src.clone_from(&transform.dest);
        rule.dest.clone_from(&transform.dest);
    }
    if config
        .subjects
        .iter()
        .any(|subject| collide(&rule.dest, subject))
    {
        return refuse("stream configuration for republish destination forms a cycle");
    }
    let (src, dest) = (&rule.src, &rule.dest);
    if !dest.is_empty() && Transform::new(src, dest, Strictness::Lenient).is_err() {
        return refuse(&format!(
            "stream configuration for republish with transform from '{src}' to '{dest}' not valid"
        ));
    }
    Ok(())
}
