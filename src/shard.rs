//! Which shard of a server.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a database or a retention policy. The shards that have it share one text: there are
/// thousands of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Makes it share the text of another where both have the same.
    pub(crate) fn share(&mut self, other: &Self) {
        if self == other {
            self.clone_from(other);
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl PartialEq<String> for Name {
    fn eq(&self, other: &String) -> bool {
        **self == **other
    }
}

impl PartialEq<Name> for String {
    fn eq(&self, other: &Name) -> bool {
        **self == **other
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::from)
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// Where a shard lives: `<database>/<retention policy>/<id>` below a data directory, and in a tar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardPath {
    /// The database's name.
    pub database: Name,
    /// The retention policy's name.
    pub retention_policy: Name,
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
            database: database.into(),
            retention_policy: retention_policy.into(),
            id: id.parse().ok()?,
        })
    }
}

impl fmt::Display for ShardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.database, self.retention_policy, self.id)
    }
}
