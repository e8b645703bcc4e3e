//! The NATS client protocol and the JetStream API: bytes to meaning and back.
