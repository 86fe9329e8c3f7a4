//! Leaving points out of TSM files: those that were deleted, those outside a time range, those of
//! series that are not meant, and those of a type that their field has no more. A file that keeps
//! all its points is left as it is, byte for byte.

mod file;
mod key_filter;
mod left_out;
mod lost_block;
mod new_types;
mod rewrite;

pub(crate) use file::{Filtered, FilteredFile, PointFilter};
pub(super) use key_filter::{BlockFate, KeyFilter};
pub(crate) use left_out::LeftOut;
pub(crate) use lost_block::LostBlock;
pub(super) use new_types::has_other_type;
pub(crate) use new_types::{NewTypes, add_living_fields, living_fields};
pub use rewrite::{FilterError, FilterTally, rewrite};
