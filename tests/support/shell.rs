//! A shell at a terminal, as somebody types into it.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::utf8;

/// How long an answer may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(10);

/// Ctrl-U: takes a line back. Ctrl-C would also take what is typed right behind it.
const KILL_LINE: &str = "\u{15}";

/// A shell with `snap` in its `PATH`: on TAB the real one, and else one that writes down what it
/// was called with. It is ended when dropped.
pub struct Shell {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<String>>,
    calls: PathBuf,
}

impl Shell {
    /// Starts a shell with its home in `home`, where `command` is run in the folder `dir`.
    pub fn start(command: &str, home: &Path, dir: &Path, variables: &[(&str, &str)]) -> Self {
        let (bin, calls) = (home.join("bin"), home.join("calls"));
        fs::create_dir_all(&bin).expect("a folder for programs");
        fs::write(&calls, "").expect("a file for calls");
        write_program(&bin.join("snap"), &calls);
        let path = std::env::var("PATH").unwrap_or_default();
        let mut script = Command::new("script");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("SNAP_") || name.starts_with("XDG_") {
                script.env_remove(&*name);
            }
        }
        // It gives what it runs a terminal of its own.
        let mut child = script
            .args(["-q", "-f", "-c"])
            .arg(format!("stty rows 60 cols 120; exec {command}"))
            .arg("/dev/null")
            .current_dir(dir)
            .env("HOME", home)
            .env("PATH", format!("{}:{path}", utf8(&bin)))
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .env("SNAP_CONFIG", "")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script of util-linux starts");
        let keys = child.stdin.take().expect("piped standard input");
        let screen = Arc::new(Mutex::new(String::new()));
        let (shown, mut output) = (
            Arc::clone(&screen),
            child.stdout.take().expect("piped output"),
        );
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..read]);
                shown.lock().expect("a screen").push_str(&text);
            }
        });
        Self {
            child,
            keys,
            screen,
            calls,
        }
    }

    /// Types keys, TAB among them.
    pub fn press(&mut self, keys: &str) {
        let pressed = self.keys.write_all(keys.as_bytes());
        let pressed = pressed.and_then(|()| self.keys.flush());
        pressed.unwrap_or_else(|error| panic!("typing {keys:?}: {error}\n{}", self.screen()));
    }

    /// Types a line and Enter: what `snap` was called with, each word in angle brackets.
    pub fn called_with(&mut self, line: &str) -> String {
        let before = self.calls().len();
        self.press(&format!("{line}\r"));
        self.wait_until(line, |shell| shell.calls().len() > before);
        self.calls().swap_remove(before)
    }

    /// Types a line and waits until all these are on the screen, then takes the line back; what was
    /// shown meanwhile.
    pub fn shows(&mut self, line: &str, expected: &[&str]) -> String {
        let before = self.screen().len();
        self.press(line);
        let shown = |shell: &Self| shell.screen().split_off(before);
        self.wait_until(line, |shell| {
            let shown = shown(shell);
            expected.iter().all(|text| shown.contains(text))
        });
        let shown = shown(self);
        self.press(KILL_LINE);
        self.called_with("snap next");
        shown
    }

    fn wait_until(&self, line: &str, is_so: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !is_so(self) {
            let is_late = started.elapsed() > PATIENCE;
            assert!(
                !is_late,
                "after {line:?}, the screen shows\n{}",
                self.screen()
            );
            thread::sleep(POLL);
        }
    }

    fn screen(&self) -> String {
        without_escapes(&self.screen.lock().expect("a screen"))
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(&self.calls).expect("the calls");
        let whole = calls.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Its terminal goes with it, and the shell with that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A text without what sets colours and moves the cursor.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            plain.push(c);
            continue;
        }
        let is_end: fn(&char) -> bool = match rest.next() {
            Some('[') => |c| ('@'..='~').contains(c),
            Some(']') => |c| *c == '\u{7}',
            // One of two characters, or of three.
            Some('(') => |_| true,
            _ => continue,
        };
        rest.by_ref().find(is_end);
    }
    plain
}

fn write_program(path: &Path, calls: &Path) {
    let (real, calls) = (env!("CARGO_BIN_EXE_snap"), utf8(calls));
    let text = format!(
        "#!/bin/sh\n\
         if [ \"$1\" = __complete ]; then exec '{real}' \"$@\"; fi\n\
         line=$(for word; do printf '<%s>' \"$word\"; done)\n\
         printf '%s\\n' \"$line\" >> '{calls}'\n"
    );
    // Written by a process that is gone when it is run: a file that some test's child still has
    // open for writing cannot be.
    let mut sh = Command::new("sh")
        .args(["-c", "cat > \"$0\"; chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh starts");
    let mut stdin = sh.stdin.take().expect("piped standard input");
    stdin.write_all(text.as_bytes()).expect("writing a program");
    drop(stdin);
    assert!(sh.wait().expect("sh ends").success());
}
