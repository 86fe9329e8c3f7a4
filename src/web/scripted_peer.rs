//! A server for tests that answers each request with what a script says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

/// A server, and what it was asked.
pub(crate) struct Script {
    /// Its URL.
    pub endpoint: String,
    /// The heads of the requests so far.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// Their bodies.
    pub bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Answers connections with these responses, one each.
pub(crate) fn script(responses: &[&str]) -> Script {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let (log, body_log) = (asked.clone(), bodies.clone());
    let responses: Vec<String> = responses.iter().map(ToString::to_string).collect();
    thread::spawn(move || {
        for response in responses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).unwrap() > 2 {}
            let length = head.to_lowercase();
            let length = length
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            log.lock().unwrap().push(head);
            body_log.lock().unwrap().push(body);
            // Who had enough closes before the end.
            let _ = stream.write_all(response.as_bytes());
        }
    });
    Script {
        endpoint,
        asked,
        bodies,
    }
}

/// A response with a body, and nothing to be asked after it.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}
