//! The files of a side that are compared with those of the other at a time.

use anyhow::Result;

use super::side::OpenSide;
use super::slices::{GroupSpan, Slice};
use crate::io::read_at::ReadAt;
use crate::ops::prepared::{OpenFile, Told};
use crate::time::Bounds;
use crate::tsm::filter::NewTypes;
use crate::tsm::index::IndexWalk;
use crate::tsm::points::{PointsFinding, PointsSelection, ShardPoints};

/// The files of a side that are read together: those of one shard as a rule.
pub(super) struct SideFiles<'a> {
    files: Vec<(String, OpenFile<'a>)>,
    new_types: NewTypes,
}

impl<'a> SideFiles<'a> {
    /// Opens the files of the shards that are ready. What is damaged of them is told.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub(super) fn open(side: &'a OpenSide<'_>, slice: &Slice, told: &mut Told) -> Result<Self> {
        let is_one = slice.shards[side.side as usize].len() == 1;
        let mut opened = Self {
            files: Vec::new(),
            new_types: NewTypes::new(),
        };
        for (shard, prepared) in side.ready() {
            prepared.told.iter().for_each(|text| told.add(text.clone()));
            opened.new_types.extend(prepared.new_types.clone());
            for file in prepared.open(told)? {
                if slice.is_cut && has_times_outside(&file, shard.span) {
                    told.add(format!(
                        "{} has points outside the times of its shard group, which are not compared",
                        file.name
                    ));
                }
                let name = match is_one {
                    true => file.name.to_owned(),
                    false => format!("{:020}/{}", shard.path.id, file.name),
                };
                opened.files.push((name, file));
            }
        }
        Ok(opened)
    }

    /// Reads their points at some times; what keeps points from being given is told to `tell`.
    ///
    /// # Errors
    ///
    /// When the system fails.
    pub(super) fn points<'s>(
        &'s self,
        time_range: Bounds,
        tell: &'s mut dyn FnMut(PointsFinding<'_>),
    ) -> Result<ShardPoints<'s>> {
        let files = self.files.iter().map(|(name, file)| file.named(name));
        let selection = PointsSelection {
            new_types: &self.new_types,
            time_range,
        };
        Ok(ShardPoints::open(files.collect(), selection, tell)?)
    }

    /// How many files there are.
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// How many bytes they have.
    ///
    /// # Errors
    ///
    /// When the system fails.
    pub(super) fn bytes(&self) -> Result<u64> {
        let sizes = self.files.iter().map(|(_, file)| file.content.size());
        Ok(sizes.sum::<std::io::Result<u64>>()?)
    }
}

/// Whether a file has points at times that its shard's group does not have. Damage is told by who
/// reads the points.
fn has_times_outside(file: &OpenFile<'_>, span: GroupSpan) -> bool {
    let times = IndexWalk::open(&file.content).and_then(IndexWalk::times);
    times.is_ok_and(|(first, last)| first < span.start || last >= span.end)
}
