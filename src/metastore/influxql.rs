//! InfluxQL as far as names go: quoting them, renaming them in a continuous query, and making a
//! retention policy.

use super::RetentionPolicyInfo;

/// Units of time that InfluxQL knows, in nanoseconds, the longest first.
const UNITS: [(&str, i64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("u", 1000),
    ("ns", 1),
];

/// A name as a quoted identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", escaped(name, '"'))
}

/// A text as a string.
pub(super) fn string(text: &str) -> String {
    format!("'{}'", escaped(text, '\''))
}

/// The statement that makes a policy like `policy` under a name in a database.
pub(crate) fn create_policy(database: &str, name: &str, policy: &RetentionPolicyInfo) -> String {
    let (name, database) = (identifier(name), identifier(database));
    let rule = policy_rule(policy);
    format!("CREATE RETENTION POLICY {name} ON {database} {rule}")
}

/// The durations of a policy, and how often it is stored, as statements have them.
pub(crate) fn policy_rule(policy: &RetentionPolicyInfo) -> String {
    let groups = match policy.shard_group_duration {
        0 => String::new(),
        nanos => format!(" SHARD DURATION {}", duration(nanos)),
    };
    let replicas = policy.replica_n.max(1);
    format!(
        "DURATION {} REPLICATION {replicas}{groups}",
        duration(policy.duration)
    )
}

/// In the longest unit that it is a whole number of; 0 is for ever.
fn duration(nanos: i64) -> String {
    if nanos == 0 {
        return "INF".to_owned();
    }
    let (unit, length) = UNITS
        .into_iter()
        .find(|(_, length)| nanos % length == 0)
        .unwrap_or(("ns", 1));
    format!("{}{unit}", nanos / length)
}

fn escaped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\\' => out.push_str("\\\\"),
            _ if character == quote => out.extend(['\\', quote]),
            _ => out.push(character),
        }
    }
    out
}

/// A continuous query with new names in place of old ones, of its database and of a policy of that.
/// A server writes names out when it takes a query in: `ON` the database, and each source and
/// target as database, policy and measurement. Only these change.
pub(super) fn renamed_query(
    query: &str,
    database: (&str, &str),
    policy: Option<(&str, &str)>,
) -> String {
    let mut out = String::with_capacity(query.len());
    let mut place = Place::default();
    let mut rest = query;
    while !rest.is_empty() {
        let token = Token::first(rest, place.regex_may_begin());
        let (text, after) = rest.split_at(token.length);
        let names = match place.next {
            Next::Database => Some(database),
            Next::Source if after.starts_with('.') => Some(database),
            Next::Policy => policy,
            _ => None,
        };
        let new = names
            .filter(|(old, _)| token.name.as_deref() == Some(*old))
            .map(|(_, new)| new);
        match new {
            Some(new) => out.push_str(&identifier(new)),
            None => out.push_str(text),
        }
        place.pass(text, &token, new.is_some());
        rest = after;
    }
    out
}

/// The database that a continuous query writes into, as a server writes queries out.
pub(super) fn target_database(query: &str) -> Option<String> {
    let mut place = Place::default();
    let mut rest = query;
    while !rest.is_empty() {
        let token = Token::first(rest, place.regex_may_begin());
        let (text, after) = rest.split_at(token.length);
        let is_target = place.next == Next::Source && place.last.eq_ignore_ascii_case("into");
        if is_target && token.name.is_some() {
            return token.name.filter(|_| after.starts_with('.'));
        }
        place.pass(text, &token, false);
        rest = after;
    }
    None
}

/// Words behind which a value may begin; other words are values.
const BEFORE_VALUES: [&str; 8] = [
    "select", "distinct", "from", "into", "where", "and", "or", "by",
];

/// What a name would be that came next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    /// None that can change.
    #[default]
    Other,
    /// The database of the query.
    Database,
    /// The first of a source or target.
    Source,
    /// The policy of the renamed database: behind its name and a dot.
    Policy,
}

/// Where in a query.
#[derive(Debug, Default)]
struct Place {
    next: Next,
    /// Whether the last token was the renamed database of a source.
    renamed: bool,
    /// Whether sources or targets are listed, for each parenthesis that is open, and outside them.
    lists: Vec<bool>,
    /// The last token, but for blanks.
    last: String,
    /// Whether that was a value, or the end of one.
    is_behind_value: bool,
}

impl Place {
    /// Behind a value a slash divides; anywhere else it begins an expression.
    fn regex_may_begin(&self) -> bool {
        !self.is_behind_value
    }

    /// Goes past a token.
    fn pass(&mut self, text: &str, token: &Token, renamed: bool) {
        if text.trim().is_empty() {
            return;
        }
        let was_source = self.next == Next::Source;
        let in_list = self.lists.last().copied().unwrap_or(false);
        let is_word = token.name.is_some() && !text.starts_with('"');
        let word = if is_word && self.last != "." {
            text
        } else {
            ""
        };
        self.next = Next::Other;
        match text {
            "(" => self.lists.push(false),
            ")" => {
                self.lists.pop();
            }
            "," if in_list => self.next = Next::Source,
            "." if self.renamed => self.next = Next::Policy,
            _ if word.eq_ignore_ascii_case("on") => self.next = Next::Database,
            _ if word.eq_ignore_ascii_case("from") || word.eq_ignore_ascii_case("into") => {
                self.next = Next::Source;
                self.set_list(true);
            }
            // WHERE, GROUP and the like end a list.
            _ if !word.is_empty() && !was_source => self.set_list(false),
            _ => {}
        }
        self.renamed = renamed && was_source;
        let is_keyword = BEFORE_VALUES
            .iter()
            .any(|keyword| word.eq_ignore_ascii_case(keyword));
        let ends_value =
            text.ends_with([')', '*', '\'']) || text.starts_with(|c: char| c.is_ascii_digit());
        self.is_behind_value = ends_value || token.name.is_some() && !is_keyword;
        self.last = text.to_owned();
    }

    fn set_list(&mut self, in_list: bool) {
        self.lists.pop();
        self.lists.push(in_list);
    }
}

/// A part of a query.
struct Token {
    /// Its bytes.
    length: usize,
    /// The name, where it is an identifier or a keyword.
    name: Option<String>,
}

impl Token {
    /// The first token of a text that is not empty.
    fn first(text: &str, regex_may_begin: bool) -> Self {
        let is_in_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let Some(first) = text.chars().next() else {
            return Self::other(0);
        };
        match first {
            '"' => Self::quoted_name(text),
            '\'' => Self::other(quoted_length(text, '\'')),
            '/' if regex_may_begin => Self::other(quoted_length(text, '/')),
            _ if first.is_ascii_digit() => Self::other(while_true(text, is_in_word)),
            _ if is_in_word(first) => {
                let length = while_true(text, is_in_word);
                Self {
                    length,
                    name: Some(text[..length].to_owned()),
                }
            }
            _ => Self::other(first.len_utf8()),
        }
    }

    fn other(length: usize) -> Self {
        Self { length, name: None }
    }

    fn quoted_name(text: &str) -> Self {
        let length = quoted_length(text, '"');
        let mut name = String::new();
        let mut inside = text[1..length]
            .strip_suffix('"')
            .unwrap_or(&text[1..length])
            .chars();
        while let Some(character) = inside.next() {
            match character {
                '\\' => match inside.next() {
                    Some('n') => name.push('\n'),
                    Some(escaped) => name.push(escaped),
                    None => {}
                },
                _ => name.push(character),
            }
        }
        Self {
            length,
            name: Some(name),
        }
    }
}

/// The bytes up to and with the closing quote; all where there is none.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn while_true(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|character| !is_part(character))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The query under new names of its database and policy.
    fn renamed(query: &str) -> String {
        let database = ("db", "a \"copy\"");
        renamed_query(query, database, Some(("one year", "long")))
    }

    #[test]
    fn names_in_a_query_change_where_they_name_the_database_or_its_policy() {
        // Written out by 1.6.7.
        for (query, expected) in [
            (
                r#"CREATE CONTINUOUS QUERY c3 ON db BEGIN SELECT mean(*) INTO db."a.b".:MEASUREMENT FROM db."one year"./.*/ GROUP BY time(1h) END"#,
                r#"CREATE CONTINUOUS QUERY c3 ON "a \"copy\"" BEGIN SELECT mean(*) INTO "a \"copy\""."a.b".:MEASUREMENT FROM "a \"copy\""."long"./.*/ GROUP BY time(1h) END"#,
            ),
            (
                r#"CREATE CONTINUOUS QUERY db ON db RESAMPLE EVERY 30m FOR 2h BEGIN SELECT mean(v) AS db, max("db.x") INTO db.autogen.db FROM (SELECT db FROM db.autogen.m), db.autogen./a\/ db.x/, other."one year".db WHERE db =~ /FROM db.a.b/ AND "on" = 'FROM db.a.b' GROUP BY time(1h), db fill(0) END"#,
                r#"CREATE CONTINUOUS QUERY db ON "a \"copy\"" RESAMPLE EVERY 30m FOR 2h BEGIN SELECT mean(v) AS db, max("db.x") INTO "a \"copy\"".autogen.db FROM (SELECT db FROM "a \"copy\"".autogen.m), "a \"copy\"".autogen./a\/ db.x/, other."one year".db WHERE db =~ /FROM db.a.b/ AND "on" = 'FROM db.a.b' GROUP BY time(1h), db fill(0) END"#,
            ),
            (
                r#"CREATE CONTINUOUS QUERY "c\n1" ON "d\"b" BEGIN SELECT a / b INTO "d\"b".autogen.x FROM "d\"b".autogen.m END"#,
                r#"CREATE CONTINUOUS QUERY "c\n1" ON "d\"b" BEGIN SELECT a / b INTO "d\"b".autogen.x FROM "d\"b".autogen.m END"#,
            ),
            // A slash begins an expression wherever no value stands before it.
            (
                r#"CREATE CONTINUOUS QUERY c ON db BEGIN SELECT mean(/it's/), /a"b/, v / 2 / w, 1 / "v" INTO db.autogen.z FROM (SELECT last(/FROM db.autogen.m/) FROM db.autogen.m WHERE a = 'x' AND b / 2 > 1) GROUP BY /INTO db.x.y/, time(1h) END"#,
                r#"CREATE CONTINUOUS QUERY c ON "a \"copy\"" BEGIN SELECT mean(/it's/), /a"b/, v / 2 / w, 1 / "v" INTO "a \"copy\"".autogen.z FROM (SELECT last(/FROM db.autogen.m/) FROM "a \"copy\"".autogen.m WHERE a = 'x' AND b / 2 > 1) GROUP BY /INTO db.x.y/, time(1h) END"#,
            ),
        ] {
            assert_eq!(renamed(query), expected);
        }
    }

    #[test]
    fn a_quoted_name_is_compared_without_its_escapes() {
        assert_eq!(
            renamed_query(
                r#"… ON "d\"b\n" BEGIN … INTO "d\"b\n"..m"#,
                ("d\"b\n", "new"),
                None
            ),
            r#"… ON "new" BEGIN … INTO "new"..m"#
        );
    }

    proptest! {
        #[test]
        fn a_query_that_names_something_else_stays_as_it_is(
            query in "(ON|INTO|FROM| |,|\\.|\"|'|/|\\(|\\)|\\\\|x|é|WHERE|=~){0,30}"
        ) {
            prop_assert_eq!(renamed(&query), query);
        }
    }
}
