//! The subjects that a consumer listens to, and the one that it watches.
//!
//! Ack subjects are taken with exactly the number of tokens of their two versions: an ack to anything else finds
//! nobody, as it does after the consumer is gone.

use super::ctx::Ctx;
use super::{Consumer, Mode};
use crate::jetstream::io::{Tag, TagKind};

impl Consumer {
    fn tag(&self, ctx: &Ctx<'_>, kind: TagKind) -> Tag {
        Tag {
            kind,
            stream: ctx.stream_id,
            consumer: self.id,
        }
    }

    fn subjects(&self, ctx: &Ctx<'_>) -> Vec<(TagKind, String)> {
        let (stream, consumer) = (ctx.stream_name, &self.name);
        let mut subjects = vec![(
            TagKind::Next,
            format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
        )];
        if self.takes_acks() {
            subjects.push((
                TagKind::Ack,
                format!("$JS.ACK.{stream}.{consumer}.*.*.*.*.*"),
            ));
            subjects.push((
                TagKind::Ack,
                format!("$JS.ACK.*.*.{stream}.{consumer}.*.*.*.*.>"),
            ));
        }
        if self.config.flow_control {
            subjects.push((
                TagKind::FlowControl,
                format!("$JS.FC.{stream}.{consumer}.*"),
            ));
            subjects.push((
                TagKind::FlowControl,
                format!("$JS.FC.*.*.{stream}.{consumer}.*"),
            ));
        }
        subjects
    }

    /// Starts to listen: once, after the state is complete.
    pub fn open(&mut self, ctx: &mut Ctx<'_>) {
        for (kind, subject) in self.subjects(ctx) {
            ctx.out
                .listen(ctx.account, subject.as_bytes(), self.tag(ctx, kind));
        }
        self.watch(ctx);
        self.dirty = true;
    }

    /// Watches the deliver subject.
    pub(super) fn watch(&mut self, ctx: &mut Ctx<'_>) {
        if let Mode::Push(push) = &self.mode {
            let tag = self.tag(ctx, TagKind::Deliver);
            let (subject, group) = (&push.subject, push.group.as_deref());
            if ctx.out.watch(ctx.account, subject, group, tag) {
                self.on_interest(ctx, true);
            }
        }
    }

    /// Ends the watch.
    pub(super) fn unwatch(&mut self, ctx: &mut Ctx<'_>) {
        if !self.is_pull() {
            ctx.out
                .unwatch(ctx.account, self.tag(ctx, TagKind::Deliver));
        }
    }

    /// Stops to listen.
    pub(super) fn shut(&mut self, ctx: &mut Ctx<'_>) {
        for (kind, subject) in self.subjects(ctx) {
            ctx.out
                .unlisten(ctx.account, subject.as_bytes(), self.tag(ctx, kind));
        }
        self.unwatch(ctx);
    }
}
