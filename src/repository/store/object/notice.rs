//! Who is told that object storage is being waited for: after a second, and then once a minute.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::repository::store::OnWait;

/// How long the storage must have failed: a request that is refused now and then is no news.
const AFTER: Duration = Duration::from_secs(1);
/// How long nothing more is said after that.
const EVERY: Duration = Duration::from_secs(60);

/// Tells somebody, if there is anybody to tell.
#[derive(Default)]
pub(super) struct Notice {
    tell: Option<OnWait>,
    last: Mutex<Option<Instant>>,
}

impl Notice {
    pub(super) fn new(tell: Option<OnWait>) -> Self {
        Self {
            tell,
            last: Mutex::default(),
        }
    }

    /// Tells what is wrong with a storage that has failed for so long, if it is time to.
    pub(super) fn tell(&self, failing: Duration, now: Instant, what: impl FnOnce() -> String) {
        let Some(tell) = &self.tell else {
            return;
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = last.is_some_and(|last| now.duration_since(last) < EVERY);
        if failing < AFTER || is_recent {
            return;
        }
        *last = Some(now);
        drop(last);
        tell(&what());
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_is_told_after_a_second_and_once_a_minute() {
        let told: Arc<Mutex<Vec<u64>>> = Arc::default();
        let log = told.clone();
        let notice = Notice::new(Some(Arc::new(move |text: &str| {
            log.lock().unwrap().push(text.parse().unwrap());
        })));
        let start = Instant::now();
        for second in [0, 1, 2, 30, 60, 62, 63, 200] {
            let failing = Duration::from_secs(second);
            notice.tell(failing, start + failing, || second.to_string());
        }
        // It has answered meanwhile, and fails again.
        notice.tell(Duration::ZERO, start + Duration::from_secs(900), || {
            "900".to_owned()
        });
        assert_eq!(*told.lock().unwrap(), [1, 62, 200]);
        Notice::default().tell(AFTER, start, || unreachable!("nobody listens"));
    }
}
