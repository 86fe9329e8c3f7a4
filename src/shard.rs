//! Which shard of a server.

use std::fmt;

/// Where a shard lives: `<database>/<retention policy>/<id>` below a data directory, and in a tar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardPath {
    /// The database's name.
    pub database: String,
    /// The retention policy's name.
    pub retention_policy: String,
    /// The shard's id, unique in a server.
    pub id: u64,
}

impl ShardPath {
    /// Reads `db/rp/id`, or `db\rp\id` as servers on Windows write it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let separator = if text.contains('/') { '/' } else { '\\' };
        let mut parts = text.split(separator);
        let (database, retention_policy, id) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || database.is_empty() || retention_policy.is_empty() {
            return None;
        }
        Some(Self {
            database: database.to_owned(),
            retention_policy: retention_policy.to_owned(),
            id: id.parse().ok()?,
        })
    }
}

impl fmt::Display for ShardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.database, self.retention_policy, self.id)
    }
}
