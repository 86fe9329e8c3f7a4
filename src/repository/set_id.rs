//! The id of a set.

use std::borrow::Borrow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a set is called: the stamp of its start, `20261120T080000Z`. A legacy set of influxd's
/// has no stamp, and is called as its metastore: `meta.03`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(inline)]
pub struct SetId(String);

impl SetId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<String> for SetId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl From<&str> for SetId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl AsRef<str> for SetId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SetId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for SetId {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for SetId {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<String> for SetId {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_is_equal_to_its_text_and_to_no_other() {
        let id = SetId::from("meta.03");
        assert_eq!(id.as_ref(), "meta.03");
        let [text, other] = ["meta.03", "meta.04"].map(str::to_owned);
        assert!(id == *"meta.03" && id == "meta.03" && id == text);
        assert!(id != *"meta.04" && id != "meta.04" && id != other);
        let ids = HashSet::from([id]);
        assert!(ids.contains("meta.03") && !ids.contains("meta.04"));
    }
}
