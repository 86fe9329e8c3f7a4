//! A name as InfluxQL gives one: exactly, or with a regular expression between slashes.
//!
//! influxd reads expressions as Go does, of which the crate `regex` differs in what would pass
//! unseen: classes such as `\w` have ASCII characters alone in Go, and a class has no operators.

use std::borrow::Cow;

use regex::bytes::Regex;
use thiserror::Error;

/// What a name is compared with.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    Exactly(Box<[u8]>),
    /// Somewhere in the name, unless the expression says where.
    Matching(Regex),
}

/// Why a text is no regular expression.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// There is a slash in it that has no backslash before it.
    #[error("/{0}/ has a slash inside; write it as \\/")]
    Slash(String),
    /// A class has two hyphens side by side, which `regex` takes for an operator.
    #[error("/{0}/ has -- in a class; write the hyphen once, before the ]")]
    Hyphens(String),
    /// It cannot be understood.
    #[error("/{pattern}/ is no regular expression: {fault}")]
    Syntax {
        /// What stands between the slashes.
        pattern: String,
        /// What is wrong with it.
        fault: String,
    },
}

impl Pattern {
    pub(super) fn exactly(name: &str) -> Self {
        Self::Exactly(name.as_bytes().into())
    }

    /// That of `/expression/`; none where the text does not begin and end with a slash.
    pub(super) fn between_slashes(text: &str) -> Option<Result<Self, PatternError>> {
        let inside = text.strip_prefix('/')?.strip_suffix('/')?;
        Some(expression(inside).map(Self::Matching))
    }

    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Exactly(exactly) => **exactly == *name,
            Self::Matching(expression) => expression.is_match(name),
        }
    }
}

fn expression(text: &str) -> Result<Regex, PatternError> {
    let translated = translated(text)?;
    Regex::new(&translated).map_err(|error| {
        // The last line says what is wrong; those before it draw where, in what was translated.
        let told = error.to_string();
        let fault = told.lines().last().unwrap_or_default();
        PatternError::Syntax {
            pattern: text.to_owned(),
            fault: fault.trim_start_matches("error: ").to_owned(),
        }
    })
}

/// The expression as `regex` has to be given it.
fn translated(text: &str) -> Result<String, PatternError> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut class = None;
    while let Some(character) = characters.next() {
        match (character, &mut class) {
            ('\\', _) => out.push_str(&match characters.next() {
                Some(escaped) => translated_escape(escaped, class.is_some()),
                None => Cow::Borrowed("\\"),
            }),
            ('/', _) => return Err(PatternError::Slash(text.to_owned())),
            ('[', None) => {
                class = Some(0);
                out.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                continue;
            }
            ('[', Some(_)) if characters.peek() == Some(&':') => {
                // [:alpha:], which ends at its own bracket.
                out.push('[');
                for inside in characters.by_ref() {
                    out.push(inside);
                    if inside == ']' {
                        break;
                    }
                }
            }
            (']', Some(0)) => out.push_str("\\]"),
            (']', Some(_)) => {
                class = None;
                out.push(']');
            }
            ('-', Some(_)) if characters.peek() == Some(&'-') => {
                return Err(PatternError::Hyphens(text.to_owned()));
            }
            ('[' | '&' | '~', Some(_)) => {
                out.push('\\');
                out.push(character);
            }
            (other, _) => out.push(other),
        }
        if let Some(passed) = &mut class {
            *passed += 1;
        }
    }
    Ok(out)
}

/// A character with a backslash before it.
fn translated_escape(escaped: char, in_class: bool) -> Cow<'static, str> {
    Cow::Borrowed(match escaped {
        '/' => "/",
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        'b' if !in_class => r"(?-u:\b)",
        'B' if !in_class => r"(?-u:\B)",
        other => return Cow::Owned(format!("\\{other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let pattern = Pattern::between_slashes(pattern).unwrap().unwrap();
        pattern.matches(name.as_bytes())
    }

    fn error(pattern: &str) -> String {
        let pattern = Pattern::between_slashes(pattern).unwrap();
        pattern.unwrap_err().to_string()
    }

    #[test]
    fn an_expression_matches_somewhere_unless_it_says_where() {
        assert!(matches("/web/", "my web 1") && !matches("/^web/", "my web 1"));
        assert!(matches("/^web$/", "web") && !matches("/^web$/", "webs"));
        assert!(matches("//", "") && matches("//", "x"));
        assert!(matches("/(?i)WEB/", "web") && matches("/(?i)Ä/", "ä"));
        assert!(matches(r"/a\/b/", "a/b"));
        assert!(matches("/^.$/", "é") && matches("/^[äö]$/", "ö"));
        assert!(Pattern::between_slashes("web").is_none());
        assert!(
            Pattern::between_slashes("/").is_none() && Pattern::between_slashes("/a").is_none()
        );
    }

    #[test]
    fn classes_are_those_of_go() {
        assert!(!matches(r"/^\d\D\w\W\s\S$/", "1aé- 2"));
        assert!(matches(r"/^\d\D\w\W\s\S$/", "1xa- 2"));
        // ASCII alone, with or without a class around it.
        assert!(!matches(r"/\w/", "é") && matches(r"/^[\W]$/", "é"));
        assert!(!matches(r"/\d/", "٣") && matches(r"/^[\dx]+$/", "1x2"));
        assert!(matches(r"/\bweb\b/", "a web") && !matches(r"/\bweb\B/", "a web"));
        // No operators, and no classes in classes.
        assert!(matches("/^[a&&b]+$/", "a&b") && matches("/^[a~~]+$/", "~a"));
        assert!(matches("/^[[a]+$/", "[a") && matches("/^[^[]$/", "a"));
        assert!(matches("/^[]a]+$/", "]a") && !matches("/^[^]a]$/", "]"));
        assert!(matches("/^[[:digit:]x-]+$/", "1-x"));
        assert!(matches(r"/^[\]a]+$/", "]a") && matches("/^a]$/", "a]"));
    }

    #[test]
    fn names_that_are_no_text_are_matched_too() {
        let pattern = Pattern::between_slashes("/^m/").unwrap().unwrap();
        assert!(pattern.matches(b"m\xff") && !pattern.matches(b"\xffm"));
    }

    #[test]
    fn what_is_no_expression_is_said() {
        assert_eq!(error("/a/b/"), "/a/b/ has a slash inside; write it as \\/");
        assert_eq!(
            error("/[+--]/"),
            "/[+--]/ has -- in a class; write the hyphen once, before the ]"
        );
        assert_eq!(
            error("/a(/"),
            "/a(/ is no regular expression: unclosed group"
        );
        assert!(error("/[a/").contains("unclosed character class"));
        assert!(error(r"/a\/").contains("incomplete escape"));
    }
}
