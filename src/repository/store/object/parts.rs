//! The memory for parts of uploads: for so many at a time, of all uploads together, and the same
//! again and again. What was freed and asked for anew would stay with the process all the same, in
//! pieces that are too small for the next part.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many parts may be in memory at a time. A larger part counts as many. Whoever fills one waits
/// for no other, so they all come to be sent.
const AT_A_TIME: usize = 12;

/// The memory of all parts.
#[derive(Debug)]
pub(super) struct PartMemory {
    room: Arc<Semaphore>,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Default for PartMemory {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(AT_A_TIME)),
            spare: Mutex::default(),
        }
    }
}

impl PartMemory {
    /// Memory for a part of `size` bytes, where most have `usual`; once there is room for it.
    pub(super) async fn part(self: Arc<Self>, size: usize, usual: usize) -> Part {
        let count = (size / usual).clamp(1, AT_A_TIME);
        let room = self.room.clone().acquire_many_owned(count as u32).await;
        let spare = match size == usual {
            true => self.spare().pop(),
            false => None,
        };
        Part {
            // What is not written to takes no memory yet.
            bytes: spare.unwrap_or_else(|| Vec::with_capacity(size)),
            size,
            usual,
            memory: self,
            // It is never closed.
            _room: room.ok(),
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part that is being filled or sent. Its memory is free for another when nobody has it any more.
#[derive(Debug)]
pub(super) struct Part {
    bytes: Vec<u8>,
    size: usize,
    usual: usize,
    memory: Arc<PartMemory>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Part {
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() == self.size
    }

    /// Takes some of these bytes, as many as there is room for.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.size - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..count]);
        count
    }

    /// What is in it, to be sent.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.size == self.usual {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            self.memory.spare().push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::web::runtime;

    #[test]
    fn so_many_parts_are_there_at_a_time_and_their_memory_is_used_again() {
        let memory: Arc<PartMemory> = Arc::default();
        let part = |size| runtime::wait(&Cancel::default(), memory.clone().part(size, 8)).unwrap();
        let mut first = part(8);
        assert_eq!((first.fill(b"12345"), first.fill(b"67890")), (5, 3));
        assert!(first.is_full());
        let address = first.as_ref().as_ptr();
        let sent = first.into_bytes();
        let others: Vec<Part> = (1..AT_A_TIME).map(|_| part(8)).collect();
        assert_eq!(memory.room.available_permits(), 0);
        assert_eq!(sent.clone(), "12345678");
        drop(sent);
        let again = part(8);
        assert_eq!(
            (again.as_ref().as_ptr(), again.as_ref().len()),
            (address, 0)
        );
        drop((again, others));
        // A larger one counts as many, and its memory is given back.
        let large = part(64);
        assert_eq!(memory.room.available_permits(), AT_A_TIME - 8);
        drop(large);
        assert_eq!(memory.spare().len(), AT_A_TIME);
    }
}
