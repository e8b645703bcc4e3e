//! One consumer of a stream: a deterministic state machine that decides what is delivered to whom and when.
//!
//! How the stream drives it (`ctx` is a [`ctx::Ctx`]; every method may publish, log and release):
//!
//! ```text
//! struct NewConsumer<'a> { id: u32, name: &'a str, config: ConsumerConfig, created: Timestamp }
//!   id: the number in `Tag::consumer`, never reused within one run
//! Consumer::new(ctx, NewConsumer) -> Consumer            fresh; picks the start. Log `snapshot()` with the config
//! Consumer::restore(ctx, NewConsumer, snapshot: &[u8]) -> Result<Consumer, Corrupt>
//! consumer.apply(op: &[u8]) -> Result<(), Corrupt>       replay after restore, before `open`
//! consumer.open(ctx)                                     listens (Next, Ack, FlowControl), watches Deliver; once
//!                                                        after `new`, and once after restore + replay
//! consumer.snapshot(&self, into: &mut Vec<u8>)
//! consumer.update(ctx, ConsumerConfig)                   a validated new config
//! consumer.on_next(ctx, &Inbound)                        TagKind::Next
//! consumer.on_ack(ctx, &Inbound)                         TagKind::Ack
//! consumer.on_flow_control(ctx, &Inbound)                TagKind::FlowControl
//! consumer.on_interest(ctx, present: bool)               Event::Interest
//! consumer.on_stored(ctx, seq, KeyId)                    each newly committed message, in order, once
//! consumer.on_removed(ctx, seq, KeyId, Removal)          after a message left the store
//!   enum Removal { Deleted, Limit, Released }            Released: removed because its consumers were done
//! consumer.on_purged(ctx, subject: Option<&[u8]>, upto)  after a purge of everything (or of `subject`) <= upto;
//!                                                        no on_removed for these
//! consumer.pump(ctx, budget: &mut usize) -> bool         delivers; true: more could go, call again next batch.
//!                                                        Also writes gathered ops and answers acks: call it at
//!                                                        every batch end for each consumer that is `dirty()`
//! consumer.dirty() -> bool
//! consumer.on_tick(ctx)                                  when deadline() has passed
//! consumer.deadline() -> Option<Timestamp>
//! consumer.info(ctx) -> ConsumerInfo                     sweeps the waiting queue first
//! consumer.close(ctx, Close)                             enum Close { Deleted, Shutdown }
//! consumer.needs(seq, key, &dyn MessageStore) -> bool    interest and workqueue retention
//! consumer.matches(key, &dyn MessageStore) -> bool       whether its filters match
//! consumer.wants_deletion(now) -> bool                   inactive for too long: the stream deletes it
//! consumer.config(), name(), id(), created()
//! ```

pub mod ctx;
