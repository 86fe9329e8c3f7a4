//! What of a damaged backup was not restored.

use super::Message;
use crate::ops::{Lost, LostKind};
use crate::text::plural;

impl Message for Lost {
    const TYPE: &'static str = "lost";
    const TITLE: &'static str = "Something that is not restored, because the backup is damaged";
}

/// The line of text for one.
pub(crate) fn lost_line(lost: &Lost) -> String {
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
