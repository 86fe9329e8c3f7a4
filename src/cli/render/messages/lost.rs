//! What of a damaged backup was not restored.

use anyhow::Result;

use super::Message;
use crate::cli::render::json;
use crate::cli::render::output::Output;
use crate::ops::{Lost, LostKind, LostList};
use crate::text::plural;

/// How many are shown in text.
const SHOWN: u64 = 20;

impl Message for Lost {
    const TYPE: &'static str = "lost";
    const TITLE: &'static str = "Something that is not restored, because the backup is damaged";
}

/// Prints all of the list in JSON, and its beginning in text, -quiet or not: it is an error.
///
/// # Errors
///
/// When standard output cannot be written, or the list not be read.
pub(crate) fn print_lost(list: &LostList, output: &Output) -> Result<()> {
    if output.is_json() {
        return list.each(json::print);
    }
    let mut nth = 0;
    list.each(|lost| {
        nth += 1;
        match nth <= SHOWN {
            true => output.line(&lost_line(lost)),
            false => Ok(()),
        }
    })?;
    let more = list.count().saturating_sub(SHOWN);
    match more {
        0 => Ok(()),
        _ => output.line(&format!("lost: {more} more: -json names all")),
    }
}

fn lost_line(lost: &Lost) -> String {
    let Lost {
        database,
        retention_policy,
        shard,
        first_time,
        last_time,
        message,
        ..
    } = lost;
    let what = match lost.lost {
        LostKind::Values => {
            let series = lost.series_key.as_deref().unwrap_or_default();
            let field = lost.field.as_deref().unwrap_or_default();
            let blocks = plural(lost.block_count.unwrap_or(1), "block");
            format!("{blocks} of {series} {field}")
        }
        LostKind::File => lost.member.clone().unwrap_or_default(),
        LostKind::Rest => match &lost.member {
            Some(member) => format!("{member}, and what comes behind it in {}", lost.file),
            None => format!("what comes behind the damage in {}", lost.file),
        },
        LostKind::Deletes => format!(
            "the deletes in {}",
            lost.member.as_deref().unwrap_or_default()
        ),
        LostKind::Unknown => format!("perhaps something of {}", lost.file),
    };
    format!(
        "lost: shard {database}/{retention_policy}/{shard}: {what}, {first_time} to {last_time}: {message}"
    )
}
