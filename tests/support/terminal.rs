//! A terminal: what `snap` draws on it, as somebody sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::{Winsize, tcsetwinsize};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// In how many milliseconds rows are surely drawn anew.
const FRAME: Duration = Duration::from_millis(400);

/// The lines of a terminal.
const LINES: u16 = 24;

/// A pseudo-terminal, and a model of its screen.
pub struct Terminal {
    master: File,
    slave: File,
    model: Arc<Mutex<Screen>>,
}

struct Screen {
    parser: vt100::Parser,
    /// Whether a row at the cursor or below it was ever longer than its line.
    has_wrapped: bool,
    /// All that was written.
    written: Vec<u8>,
}

impl Terminal {
    /// A terminal with so many columns.
    pub fn open(columns: u16) -> Self {
        let (master, slave) = open_pair();
        tcsetwinsize(&master, window(columns)).expect("setting the size");
        let model = Arc::new(Mutex::new(Screen {
            parser: vt100::Parser::new(size(LINES), size(columns), 0),
            has_wrapped: false,
            written: Vec::new(),
        }));
        let (mut output, seen) = (master.try_clone().expect("a handle"), Arc::clone(&model));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error when nobody has the other side any more.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                locked(&seen).take(&bytes[..count]);
            }
        });
        Self {
            master,
            slave,
            model,
        }
    }

    /// Starts `snap` on it, as a shell does.
    pub fn start(&self, args: &[&str], variables: &[(&str, &str)]) -> Child {
        let end = || Stdio::from(self.slave.try_clone().expect("a handle"));
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", env!("CARGO_BIN_EXE_snap")])
            .args(args)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .env("SNAP_CONFIG", "")
            .env("TERM", "xterm-256color");
        for other in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            command.env_remove(other);
        }
        command.envs(variables.iter().copied());
        command.spawn().expect("snap starts")
    }

    /// Runs `snap` on it; the rows of the screen afterwards.
    pub fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> (ExitStatus, Vec<String>) {
        let ended = wait(self.start(args, variables));
        thread::sleep(FRAME);
        (ended, self.rows())
    }

    /// Waits until the rows are so; the rows.
    pub fn wait_for(&self, is: impl Fn(&[String]) -> bool) -> Vec<String> {
        let started = Instant::now();
        loop {
            let rows = self.rows();
            if is(&rows) {
                return rows;
            }
            assert!(started.elapsed() < PATIENCE, "{rows:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The rows of the screen, without those below the last that is not blank.
    pub fn rows(&self) -> Vec<String> {
        let screen = self.screen();
        let contents = screen.parser.screen().contents();
        contents.lines().map(str::to_owned).collect()
    }

    /// Types these keys.
    pub fn press(&self, keys: &[u8]) {
        (&self.master).write_all(keys).expect("typing");
    }

    /// Makes it wider or narrower.
    pub fn resize(&self, columns: u16) {
        let follow = || {
            let mut screen = self.screen();
            screen.parser.set_size(size(LINES), size(columns));
        };
        let is_wider = size(columns) > self.screen().parser.screen().size().1;
        // The model does not break lines anew, as terminals do: it is the wider of the two while
        // there are rows of the other width.
        if is_wider {
            follow();
        }
        tcsetwinsize(&self.master, window(columns)).expect("setting the size");
        thread::sleep(FRAME);
        follow();
    }

    /// Whether a row of progress was ever longer than its line.
    pub fn has_wrapped(&self) -> bool {
        self.screen().has_wrapped
    }

    /// Whether the cursor is seen, and at the beginning of a line.
    pub fn has_its_cursor(&self) -> bool {
        let screen = self.screen();
        let screen = screen.parser.screen();
        !screen.hide_cursor() && screen.cursor_position().1 == 0
    }

    /// All that was written to it.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.screen().written).into_owned()
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        locked(&self.model)
    }
}

impl Screen {
    fn take(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
        self.parser.process(bytes);
        let screen = self.parser.screen();
        let below = screen.cursor_position().0..LINES;
        self.has_wrapped |= below.into_iter().any(|row| screen.row_wrapped(row));
    }
}

/// Waits for the end of a process; kills it and panics after a minute.
pub fn wait(mut child: Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("waiting") {
            return status;
        }
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("snap still ran after {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A terminal of which the other side is closed, as after a connection has dropped: writing to it
/// fails with EIO.
pub fn terminal_that_has_gone() -> OwnedFd {
    let (_, slave) = open_pair();
    slave.into()
}

/// Both sides of a pseudo-terminal.
// openpty is a call into libc that gives two descriptors of their own.
#[allow(unsafe_code)]
fn open_pair() -> (File, File) {
    let (mut master, mut slave) = (-1, -1);
    let name = std::ptr::null_mut();
    let (attributes, size) = (std::ptr::null(), std::ptr::null());
    let opened = unsafe { libc::openpty(&raw mut master, &raw mut slave, name, attributes, size) };
    assert_eq!(opened, 0, "openpty: {}", std::io::Error::last_os_error());
    let own = |descriptor| File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    let ends = (own(master), own(slave));
    // What is started by another test must not hold them open.
    for end in [&ends.0, &ends.1] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC).expect("a descriptor");
    }
    ends
}

fn window(columns: u16) -> Winsize {
    Winsize {
        ws_row: LINES,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn size(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("more than none")
}

fn locked(model: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}
