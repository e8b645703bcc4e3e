//! A request that another node may have to answer, as bytes.

use crate::jetstream::api::answer::Request;
use crate::jetstream::entry::{Malformed, Reader, put_bytes, put_u64};
use crate::jetstream::io::{NodeId, Outbox};

/// Who asked for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The node whose client it is.
    pub(crate) origin: NodeId,
    /// The account it came from.
    pub(crate) account: u32,
    /// Its subject.
    pub(crate) subject: Vec<u8>,
    /// Where the answer goes.
    pub(crate) reply: Vec<u8>,
    /// Its header block.
    pub(crate) headers: Vec<u8>,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// The client as advisories show it.
    pub(crate) client: String,
}

impl Asked {
    /// A request of this node's client, or one that came from another node.
    pub(crate) fn of(request: &Request, headers: &[u8], me: NodeId, out: &mut dyn Outbox) -> Self {
        let (origin, client) = match &request.from {
            Some((node, client)) => (*node, client.clone()),
            None => (me, out.client_info(request.client).unwrap_or_default()),
        };
        Self {
            origin,
            account: request.account,
            subject: request.subject.clone(),
            reply: request.reply.clone(),
            headers: headers.to_vec(),
            body: request.body.clone(),
            client,
        }
    }

    /// The request, to be answered here.
    pub(crate) fn request(&self) -> Request {
        Request {
            account: self.account,
            subject: self.subject.clone(),
            reply: self.reply.clone(),
            body: self.body.clone(),
            client: 0,
            from: Some((self.origin, self.client.clone())),
            audited: true,
            headers: Vec::new(),
        }
    }

    /// Appends the bytes.
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        put_u64(into, self.origin);
        put_u64(into, self.account.into());
        for part in [&self.subject, &self.reply, &self.headers, &self.body] {
            put_bytes(into, part);
        }
        put_bytes(into, self.client.as_bytes());
    }

    /// Reads them.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            origin: from.u64()?,
            account: u32::try_from(from.u64()?).map_err(|_| Malformed)?,
            subject: from.bytes()?.to_vec(),
            reply: from.bytes()?.to_vec(),
            headers: from.bytes()?.to_vec(),
            body: from.bytes()?.to_vec(),
            client: String::from_utf8_lossy(from.bytes()?).into_owned(),
        })
    }
}
