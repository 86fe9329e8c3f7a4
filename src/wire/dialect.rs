//! The two dialects of the protocol.

use std::fmt;
use std::str::FromStr;

/// Which of the two request formats a server understands. Named after the first version that spoke
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Servers 1.0 to 1.4: the JSON document follows the mux byte, and its `Type` field selects the
    /// request.
    V1_0,
    /// Servers 1.5 and later: a type byte stands before the JSON document. Adds export, import and
    /// upload.
    V1_5,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_0 => "1.0",
            Self::V1_5 => "1.5",
        })
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1.0" => Ok(Self::V1_0),
            "1.5" => Ok(Self::V1_5),
            _ => Err(format!(
                "'{text}' is not a dialect; there are 1.0 (servers 1.0 to 1.4) and 1.5 (1.5 and \
                 later)"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_is_read_as_it_is_printed_and_nothing_else_is_one() {
        for (text, dialect) in [("1.0", Dialect::V1_0), ("1.5", Dialect::V1_5)] {
            assert_eq!(text.parse(), Ok(dialect));
            assert_eq!(dialect.to_string(), text);
        }
        for other in ["", "1", "1.4", "V1_0"] {
            let error = other.parse::<Dialect>().unwrap_err();
            assert!(
                error.starts_with(&format!("'{other}' is not a dialect; there are 1.0")),
                "{error}"
            );
        }
    }
}
