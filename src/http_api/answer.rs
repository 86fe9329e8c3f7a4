//! What `/query` and `/write` answer: JSON documents, one or several.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::Series;

/// The longest text of a server that is repeated, in characters.
const LONGEST: usize = 300;

/// What is wrong with the answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum AnswerFault {
    /// The server refuses the statement, for this reason.
    #[error("{0}")]
    Statement(String),
    #[error("the answer breaks off")]
    CutOff,
    /// It is none of influxd's.
    #[error("{0}")]
    Nonsense(&'static str),
}

/// A document of an answer. There are several where it is long.
#[derive(Debug, Deserialize)]
struct Document {
    results: Option<Vec<StatementResult>>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StatementResult {
    #[serde(default)]
    series: Vec<Rows>,
    error: Option<String>,
    /// Whether there are more series in the next document.
    #[serde(default)]
    partial: bool,
}

#[derive(Debug, Deserialize)]
struct Rows {
    #[serde(default)]
    name: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    columns: Vec<String>,
    #[serde(default)]
    values: Vec<Vec<Value>>,
    /// Whether there are more rows of it in the next document.
    #[serde(default)]
    partial: bool,
}

/// The series in the answer to one statement.
pub(super) fn series_in(body: &[u8]) -> Result<Vec<Series>, AnswerFault> {
    let (mut all, mut is_open, mut continues) = (Vec::<Series>::new(), None, false);
    for document in serde_json::Deserializer::from_slice(body).into_iter::<Document>() {
        let document = document.map_err(|error| match error.is_eof() {
            true => AnswerFault::CutOff,
            false => AnswerFault::Nonsense("the answer is not what influxd says to a query"),
        })?;
        if let Some(error) = document.error {
            return Err(AnswerFault::Statement(in_short(&error)));
        }
        let results = document
            .results
            .ok_or(AnswerFault::Nonsense("the answer has no results"))?;
        for result in results {
            if let Some(error) = result.error {
                return Err(AnswerFault::Statement(in_short(&error)));
            }
            for rows in result.series {
                if rows
                    .values
                    .iter()
                    .any(|row| row.len() != rows.columns.len())
                {
                    return Err(AnswerFault::Nonsense(
                        "the answer has rows with more or less values than columns",
                    ));
                }
                let goes_on = std::mem::replace(&mut continues, rows.partial);
                match all.last_mut() {
                    Some(last) if goes_on && last.columns == rows.columns => {
                        last.rows.extend(rows.values);
                    }
                    _ => all.push(Series {
                        name: rows.name,
                        tags: rows.tags,
                        columns: rows.columns,
                        rows: rows.values,
                    }),
                }
            }
            is_open = Some(result.partial);
        }
    }
    match is_open {
        None => Err(AnswerFault::Nonsense("the answer is empty")),
        Some(is_open) if is_open || continues => Err(AnswerFault::CutOff),
        Some(_) => Ok(all),
    }
}

/// The error that a server says in a body, or else the body itself.
pub(super) fn said_in(body: &[u8]) -> String {
    let document: Option<Document> = serde_json::from_slice(body).ok();
    let error = document.and_then(|document| document.error);
    in_short(&error.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()))
}

/// Whether a body is one of influxd's that says an error.
pub(super) fn is_of_influxd(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|document: Document| document.error.is_some())
}

/// How many points a server dropped, by the words in which it says so.
pub(super) fn dropped_in(error: &str) -> Option<u64> {
    let (_, count) = error.rsplit_once("dropped=")?;
    let end = count.find(|c: char| !c.is_ascii_digit());
    count[..end.unwrap_or(count.len())].parse().ok()
}

/// A text of a server as it is repeated: a line, not long, without control characters.
fn in_short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown = String::new();
    for character in line.chars().take(LONGEST) {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    if line.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_come_in_several_documents_are_one_series() {
        let body = br#"{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","v"],"values":[[1,2]],"partial":true}],"partial":true}]}
{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","v"],"values":[[2,"x"]]}]}]}
"#;
        let series = series_in(body).unwrap();
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].rows.len(), 2);
        assert_eq!(series[0].text(&series[0].rows[1], "v"), Some("x"));
        assert_eq!(series[0].text(&series[0].rows[0], "v"), None);
        // At each place where it can be cut off, that is seen.
        for end in 1..body.len() - 2 {
            let found = series_in(&body[..end]);
            assert!(found.is_err(), "{end}: {found:?}");
        }
        assert_eq!(
            series_in(br#"{"results":[{"statement_id":0}]}"#),
            Ok(vec![])
        );
    }

    #[test]
    fn what_no_influxd_says_is_told_from_what_it_refuses() {
        let refused = series_in(br#"{"results":[{"statement_id":0,"error":"no\u001b[1m way"}]}"#);
        assert_eq!(
            refused,
            Err(AnswerFault::Statement("no\\u{1b}[1m way".into()))
        );
        assert!(matches!(
            series_in(br#"{"error":"bad"}"#),
            Err(AnswerFault::Statement(_))
        ));
        for body in [
            &b""[..],
            b"<html>",
            b"{}",
            b"[]",
            br#"{"results":[{"series":[{"columns":["a"],"values":[[1,2]]}]}]}"#,
        ] {
            let found = series_in(body);
            assert!(matches!(found, Err(AnswerFault::Nonsense(_))), "{found:?}");
        }
        assert_eq!(said_in(&b"x ".repeat(999)).chars().count(), LONGEST + 1);
        assert_eq!(dropped_in("partial write: of type dropped=17"), Some(17));
        assert_eq!(dropped_in("partial write: dropped=x"), None);
    }
}
