//! STREAM.MSG.GET and STREAM.MSG.DELETE.

use jetwake_protocol::jetstream::requests::{MsgDeleteRequest, MsgGetRequest, parse_required};
use jetwake_protocol::jetstream::responses::{
    Base64, MsgDeleteResponse, MsgGetResponse, StoredMessage,
};
use jetwake_protocol::jetstream::{ApiError, Time};

use crate::jetstream::api::{Call, Outcome};
use crate::jetstream::entry::Entry;
use crate::jetstream::stream::Stream;

impl Call<'_> {
    /// STREAM.MSG.GET.
    pub(crate) fn get_message(&mut self, name: &str) -> Result<Outcome<MsgGetResponse>, ApiError> {
        let request: MsgGetRequest = parse_required(self.body, self.core.settings.strict)?;
        let seq = request.seq > 0;
        let time = request.start_time.is_some();
        let (last, next) = (!request.last_for.is_empty(), !request.next_for.is_empty());
        let conflict = (seq && (last || time)) || (time && last) || (last && next);
        let nothing = !(seq || time || last || next);
        if request.batch > 0 || request.max_bytes > 0 || nothing || conflict {
            return Err(ApiError::bad_request());
        }
        let stream = self.stream(name)?;
        let seq = stream
            .find(&request)
            .ok_or_else(ApiError::no_message_found)?;
        let stored = match stream.messages.get(seq) {
            Ok(stored) => stored.ok_or_else(ApiError::no_message_found)?,
            Err(error) => {
                let id = self.stream_id(name)?;
                self.core.agenda.unreadable.push((seq, error));
                self.core
                    .with_stream(id, self.now, self.out, Stream::note_unreadable);
                return Err(ApiError::no_message_found());
            }
        };
        let headers: &[u8] = if request.no_headers {
            &[]
        } else {
            &stored.headers
        };
        let message = StoredMessage {
            subject: String::from_utf8_lossy(&stored.key).into_owned(),
            seq,
            headers: Base64(headers.to_vec()),
            data: Base64(stored.payload.to_vec()),
            time: Time::from_nanos(stored.timestamp),
        };
        Ok(Outcome::Now(MsgGetResponse {
            message: Some(message),
        }))
    }

    /// STREAM.MSG.DELETE.
    pub(crate) fn delete_message(
        &mut self,
        name: &str,
    ) -> Result<Outcome<MsgDeleteResponse>, ApiError> {
        let request: MsgDeleteRequest = parse_required(self.body, self.core.settings.strict)?;
        let id = self.stream_id(name)?;
        let stream = self.stream(name)?;
        if stream.config.sealed {
            return Err(ApiError::stream_sealed());
        }
        if stream.config.deny_delete {
            return Err(ApiError::stream_msg_delete_failed(
                "message delete not permitted",
            ));
        }
        let seq = request.seq;
        let state = stream.messages.state();
        // A file looks for the block of the sequence first; memory only for the message.
        if !stream.in_memory() && seq > state.last_seq {
            return Err(ApiError::stream_msg_delete_failed("stream store EOF"));
        }
        if !stream.in_memory() && seq < state.first_seq.max(1) {
            return Err(ApiError::stream_msg_delete_failed("no message found"));
        }
        if stream.messages.meta(seq).is_none() {
            return Err(ApiError::sequence_not_found(seq));
        }
        let entry = Entry::Delete {
            seq,
            erase: !request.no_erase,
        };
        let waiting = self.request.take();
        self.core
            .with_stream(id, self.now, self.out, |stream, env| {
                stream.submit(&entry, waiting, env);
            });
        Ok(Outcome::Queued)
    }
}
