//! A proxy in front of a server of object storage: it writes down every request, and does to some
//! of them what networks and servers do on a bad day.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::http::{self, Response};
use super::listener::{End, finish, lock, wait_for_client};

/// How long the proxy waits for the next request, or the next bytes of one.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// The path behind the bucket, percent-encoded; empty where the bucket is asked.
    pub key: String,
    /// What stands behind the question mark.
    pub query: String,
    /// The headers in their order, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The path and the query.
    target: String,
    /// What follows the head.
    pub body: Vec<u8>,
    /// The status of the answer; 0 as long as there is none.
    pub status: u16,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(key, _)| key == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// The path, percent-encoded.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What S3 calls it, or nearly so.
    pub fn operation(&self) -> &'static str {
        let has = |name: &str| {
            let mut pairs = self.query.split('&').map(|pair| pair.split('=').next());
            pairs.any(|found| found == Some(name))
        };
        match self.method.as_str() {
            "GET" if self.key.is_empty() && has("uploads") => "list uploads",
            "GET" if self.key.is_empty() => "list",
            "GET" => "get",
            "HEAD" => "head",
            "PUT" if self.header("x-amz-copy-source").is_some() => "copy",
            "PUT" if has("partNumber") => "part",
            "PUT" => "put",
            "POST" if has("uploads") => "begin",
            "POST" if has("uploadId") => "complete",
            "POST" if has("delete") => "delete several",
            "DELETE" if has("uploadId") => "abort",
            "DELETE" => "delete",
            _ => "other",
        }
    }
}

/// What is done to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is not passed on, but answered with this status and this error code of S3.
    Answer(u16, &'static str),
    /// So many bytes of its body are passed on; then both connections are reset.
    CutRequest(usize),
    /// It is passed on, and so many bytes of the body of the response come back.
    CutResponse(usize),
    /// It is passed on and done, but the connection is reset in place of a response.
    LoseResponse,
    /// It is passed on only after so long.
    Delay(Duration),
    /// Of a listing, objects with this in their names are left out.
    Hide(&'static str),
    /// Its body becomes that of one before it that matched, if there is one as long.
    EarlierBody,
    /// The body of the response becomes that of one before it that matched, if there is one as
    /// long.
    EarlierResponse,
    /// A bit in the middle of its body is flipped.
    FlipRequest,
    /// A bit in the middle of the response's body is flipped.
    FlipResponse,
    /// It waits until the client goes away, and is not passed on; see [`Proxy::holds_within`].
    HoldBefore,
    /// It is passed on and done, but the client waits for the response until it goes away.
    HoldAfter,
}

/// To which requests a fault is done.
struct Rule {
    matches: Box<dyn Fn(&Request) -> bool + Send>,
    is_hit: Box<dyn Fn(usize) -> bool + Send>,
    fault: Fault,
    /// How many requests matched.
    matched: usize,
    /// The last body of each length that matched, where the next one gets it.
    earlier: Arc<Bodies>,
}

/// Bodies by their length.
type Bodies = Mutex<BTreeMap<usize, Vec<u8>>>;

/// What became of a request.
enum Outcome {
    Response(Response),
    /// A response of which so many bytes of the body are sent.
    Cut(Response, usize),
    Reset,
    Held,
}

/// What the threads of a proxy share.
struct Inner {
    upstream: SocketAddr,
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Request>>,
    held: Mutex<Sender<()>>,
    done: AtomicUsize,
    is_stopping: AtomicBool,
    is_down: AtomicBool,
}

/// A running proxy.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    inner: Arc<Inner>,
    holding: Mutex<Receiver<()>>,
}

impl Proxy {
    /// One that passes everything on.
    pub fn start(upstream: SocketAddr) -> Self {
        let (held, holding) = channel();
        let inner = Arc::new(Inner {
            upstream,
            rules: Mutex::default(),
            requests: Mutex::default(),
            held: Mutex::new(held),
            done: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::clone(&inner);
        thread::spawn(move || accept(listener, address, &shared));
        Self {
            address,
            inner,
            holding: Mutex::new(holding),
        }
    }

    /// Does this to the requests of an operation, counted from 0, that `nth` holds.
    pub fn on(
        &self,
        operation: &'static str,
        nth: impl RangeBounds<usize> + Send + 'static,
        fault: Fault,
    ) {
        self.on_those(move |request| request.operation() == operation, nth, fault);
    }

    /// Does this to the requests that match, counted from 0, that `nth` holds. Of several rules for
    /// one request, the first is followed.
    pub fn on_those(
        &self,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        nth: impl RangeBounds<usize> + Send + 'static,
        fault: Fault,
    ) {
        lock(&self.inner.rules).push(Rule {
            matches: Box::new(matches),
            is_hit: Box::new(move |n| nth.contains(&n)),
            fault,
            matched: 0,
            earlier: Arc::default(),
        });
    }

    /// Forgets all rules.
    pub fn behave(&self) {
        lock(&self.inner.rules).clear();
    }

    /// Refuses connections for so long, and resets those there are at their next request.
    pub fn go_down_for(&self, time: Duration) {
        self.inner.is_down.store(true, Ordering::SeqCst);
        self.inner.done.fetch_add(1, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let inner = Arc::clone(&self.inner);
        thread::spawn(move || {
            thread::sleep(time);
            inner.is_down.store(false, Ordering::SeqCst);
        });
    }

    /// To how many requests harm was done.
    pub fn done(&self) -> usize {
        self.inner.done.load(Ordering::SeqCst)
    }

    /// Whether a request is being held, or comes to be within this time.
    pub fn holds_within(&self, time: Duration) -> bool {
        lock(&self.holding).recv_timeout(time).is_ok()
    }

    /// The requests that came since this was asked last.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.inner.requests))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.is_stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Inner {
    /// What is to be done to a request, and where the body before it is.
    fn fault(&self, request: &Request) -> Option<(Fault, Arc<Bodies>)> {
        let mut hit = None;
        for rule in lock(&self.rules).iter_mut() {
            if (rule.matches)(request) {
                if hit.is_none() && (rule.is_hit)(rule.matched) {
                    hit = Some((rule.fault.clone(), Arc::clone(&rule.earlier)));
                }
                rule.matched += 1;
            }
        }
        hit
    }

    /// Passes a request on, and does to it what the rules say.
    fn answer(&self, request: &mut Request) -> io::Result<Outcome> {
        let Some((fault, earlier)) = self.fault(request) else {
            return Ok(Outcome::Response(self.pass_on(request)?));
        };
        if !matches!(fault, Fault::EarlierBody | Fault::EarlierResponse) {
            self.done.fetch_add(1, Ordering::SeqCst);
        }
        let pass_on = |request: &Request| self.pass_on(request);
        Ok(Outcome::Response(match fault {
            Fault::Answer(status, code) => error(status, code),
            Fault::CutRequest(count) => {
                let count = count.min(request.body.len());
                let mut stream = TcpStream::connect(self.upstream)?;
                stream.write_all(head(request).as_bytes())?;
                stream.write_all(&request.body[..count])?;
                finish(stream, End::Rst)?;
                return Ok(Outcome::Reset);
            }
            Fault::CutResponse(count) => return Ok(Outcome::Cut(pass_on(request)?, count)),
            Fault::LoseResponse => {
                pass_on(request)?;
                return Ok(Outcome::Reset);
            }
            Fault::Delay(time) => {
                thread::sleep(time);
                pass_on(request)?
            }
            Fault::Hide(name) => {
                let mut response = pass_on(request)?;
                response.body = without(&response, name);
                response
            }
            Fault::EarlierBody => {
                let is_done = exchange(&earlier, &mut request.body);
                self.done.fetch_add(usize::from(is_done), Ordering::SeqCst);
                pass_on(request)?
            }
            Fault::EarlierResponse => {
                let mut response = pass_on(request)?;
                let is_done = exchange(&earlier, &mut response.body);
                self.done.fetch_add(usize::from(is_done), Ordering::SeqCst);
                response
            }
            Fault::FlipRequest => {
                flip(&mut request.body);
                pass_on(request)?
            }
            Fault::FlipResponse => {
                let mut response = pass_on(request)?;
                flip(&mut response.body);
                response
            }
            Fault::HoldBefore => return Ok(Outcome::Held),
            Fault::HoldAfter => {
                pass_on(request)?;
                return Ok(Outcome::Held);
            }
        }))
    }

    /// What the server answers to a request.
    fn pass_on(&self, request: &Request) -> io::Result<Response> {
        http::exchange(self.upstream, &head(request), &request.body)
    }

    /// Serves a connection, one request after the other.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = BufReader::new(stream);
        while let Some(mut request) = read_request(&mut client)? {
            if self.is_down.load(Ordering::SeqCst) {
                return finish(client.into_inner(), End::Rst);
            }
            let noted = self.note(&request);
            let (response, limit) = match self.answer(&mut request)? {
                Outcome::Response(response) => (response, None),
                Outcome::Cut(response, limit) => (response, Some(limit)),
                Outcome::Reset => return finish(client.into_inner(), End::Rst),
                Outcome::Held => {
                    let _ = lock(&self.held).send(());
                    return wait_for_client(client.into_inner(), &self.is_stopping);
                }
            };
            self.note_status(noted, &request, response.status);
            let stream = client.get_mut();
            stream.write_all(response_head(&response, &request).as_bytes())?;
            let limit = limit.unwrap_or(usize::MAX);
            stream.write_all(&response.body[..limit.min(response.body.len())])?;
            if limit < response.body.len() {
                return finish(client.into_inner(), End::Rst);
            }
            if request.header("connection") == Some("close") {
                break;
            }
        }
        Ok(())
    }

    /// Writes a request down; where.
    fn note(&self, request: &Request) -> usize {
        let mut requests = lock(&self.requests);
        requests.push(request.clone());
        requests.len() - 1
    }

    /// Writes the status of an answer down, unless the requests were taken meanwhile.
    fn note_status(&self, place: usize, request: &Request, status: u16) {
        let mut requests = lock(&self.requests);
        let noted = requests.get_mut(place);
        if let Some(noted) = noted.filter(|noted| noted.target == request.target) {
            noted.status = status;
        }
    }
}

/// Takes connections, a thread for each; while the proxy is down, nothing listens.
fn accept(mut listener: TcpListener, address: SocketAddr, inner: &Arc<Inner>) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        if inner.is_stopping.load(Ordering::SeqCst) {
            return;
        }
        if inner.is_down.load(Ordering::SeqCst) {
            drop((stream, listener));
            while inner.is_down.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
            listener = TcpListener::bind(address).expect("the port is still free");
            continue;
        }
        let inner = Arc::clone(inner);
        thread::spawn(move || {
            // Either side may go away at any time; that is no failure of a test.
            let _ = inner.serve(stream);
        });
    }
}

/// Reads a request; `None` where the client has no more of them.
pub fn read_request(client: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if client.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next(), words.next());
    let (Some(method), Some(target)) = (method, target) else {
        return Err(io::Error::other("no request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (_, key) = path[1..].split_once('/').unwrap_or((path, ""));
    let mut request = Request {
        method,
        key: key.to_owned(),
        query: query.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        status: 0,
        target: target.clone(),
    };
    loop {
        let mut line = String::new();
        client.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let header = (name.to_ascii_lowercase(), value.trim().to_owned());
        request.headers.push(header);
    }
    if request.header("expect").is_some() {
        client
            .get_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let length = request.header("content-length").map(str::parse);
    let length = length.unwrap_or(Ok(0)).map_err(io::Error::other)?;
    request.body = vec![0; length];
    client.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// The head of a request as the server gets it: on a connection of its own.
fn head(request: &Request) -> String {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        if !matches!(name.as_str(), "connection" | "expect") {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head + "connection: close\r\n\r\n"
}

/// The head of a response as the client gets it, on a connection that goes on.
fn response_head(response: &Response, request: &Request) -> String {
    let mut head = format!("HTTP/1.1 {} -\r\n", response.status);
    let is_of_head = request.method == "HEAD";
    for (name, value) in &response.headers {
        let is_of_the_body = name == "content-length" && !is_of_head;
        if !is_of_the_body && !matches!(name.as_str(), "connection" | "transfer-encoding") {
            head += &format!("{name}: {value}\r\n");
        }
    }
    if !is_of_head && response.status != 204 {
        head += &format!("content-length: {}\r\n", response.body.len());
    }
    head + "\r\n"
}

/// An error of S3's.
fn error(status: u16, code: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Error><Code>{code}</Code><Message>said by the proxy</Message></Error>"
    );
    Response {
        status,
        headers: vec![("content-type".to_owned(), "application/xml".to_owned())],
        body: body.into_bytes(),
    }
}

/// A listing without the objects that have this in their names.
fn without(listing: &Response, name: &str) -> Vec<u8> {
    let mut entries = listing.text().split("<Contents>");
    let mut kept = entries.next().unwrap_or_default().to_owned();
    for entry in entries {
        let (object, rest) = entry.split_once("</Contents>").expect("a whole entry");
        if !object.contains(name) {
            kept += &format!("<Contents>{object}</Contents>");
        }
        kept += rest;
    }
    kept.into_bytes()
}

/// Flips a bit in the middle.
fn flip(body: &mut [u8]) {
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
}

/// Puts a body in the place of the next one that is as long; whether there was one before it.
fn exchange(earlier: &Bodies, body: &mut Vec<u8>) -> bool {
    let before = lock(earlier).insert(body.len(), body.clone());
    let is_other = before.as_ref().is_some_and(|before| before != body);
    if let Some(before) = before {
        *body = before;
    }
    is_other
}
