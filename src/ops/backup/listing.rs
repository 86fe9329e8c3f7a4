//! The members of a shard's tar, listed and looked at while they pass.

use std::fmt;
use std::io;

use jiff::Timestamp;

use crate::repository::MemberRecord;
use crate::shard_tar::Member;
use crate::tsm::envelope::Envelope;

/// Lists the members of a tar and looks at the TSM files among them.
#[derive(Default)]
pub(crate) struct Listing {
    /// All members, in the order of the tar.
    pub members: Vec<MemberRecord>,
    envelope: Option<Envelope>,
}

impl Listing {
    /// The members that hold points or deletes, and not an index.
    pub(super) fn contents(&self) -> impl Iterator<Item = &MemberRecord> {
        self.members.iter().filter(|member| !member.is_index())
    }

    /// A name that stands in it twice.
    pub(crate) fn duplicate(&self) -> Option<&str> {
        let mut names: Vec<&str> = self
            .members
            .iter()
            .map(|member| member.name.as_str())
            .collect();
        names.sort_unstable();
        names
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
    }

    pub(super) fn begin(&mut self, member: &Member) -> io::Result<()> {
        self.envelope = member.is_tsm().then(Envelope::default);
        self.members.push(member_record(member)?);
        Ok(())
    }

    /// The next bytes of its content.
    pub(super) fn data(&mut self, chunk: &[u8]) {
        if let Some(envelope) = &mut self.envelope {
            envelope.feed(chunk);
        }
    }

    /// It was whole.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let Some(envelope) = self.envelope.take() else {
            return Ok(());
        };
        let name = self.members.last().map_or("", |member| &member.name);
        envelope
            .finish()
            .map_err(|error| invalid(format!("{name} is {error}")))
    }
}

/// What is recorded of a member.
pub(crate) fn member_record(member: &Member) -> io::Result<MemberRecord> {
    let modified = i64::try_from(member.modified)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    let modified = modified.ok_or_else(|| {
        invalid(format!(
            "{} was modified at {} s",
            member.name, member.modified
        ))
    })?;
    Ok(MemberRecord {
        name: member.name.clone(),
        size: member.size,
        modified,
    })
}

/// What is wrong with a member.
pub(crate) fn invalid(message: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_string())
}
