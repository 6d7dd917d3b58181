//! A server in a process of its own: its address, memory and CPU time.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{client, peers::Peer, servers::Threads};

/// A running server; killed when it goes out of scope.
#[derive(Debug)]
pub struct Server {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What a server's sources have reported.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Bytes that writers have accepted.
    pub accepted_bytes: u64,
    /// When a source learned that its client has disconnected; `None`: it has not.
    pub noticed_at_us: Option<u64>,
}

impl Server {
    /// Starts the server of a peer.
    ///
    /// # Errors
    /// That of the operating system, or of an address that is none.
    pub fn start(program: &Path, peer: &Peer, threads: Threads) -> io::Result<Self> {
        let mut process = Command::new(program)
            .args(["serve", peer.name])
            .args((threads == Threads::One).then_some("one-thread"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // the panics of the sources
            .spawn()?;
        let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { process, address })
    }

    /// Asks for the counters of its sources.
    ///
    /// # Errors
    /// That of the connection.
    pub fn report(&self) -> io::Result<Report> {
        let text = client::get_text(self.address, "/report")?;
        let mut words = text.split_whitespace().map(str::parse);
        let mut next = || words.next().and_then(Result::ok);
        let (Some(accepted_bytes), Some(noticed_at_us)) = (next(), next()) else {
            return Err(io::Error::other(format!("not a report: {text}")));
        };
        Ok(Report {
            accepted_bytes,
            noticed_at_us: Some(noticed_at_us).filter(|at| *at > 0),
        })
    }

    /// Returns its resident memory, in bytes.
    ///
    /// # Errors
    /// That of the file system.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        self.memory("VmRSS:")
    }

    /// Returns the most resident memory that it has had, in bytes.
    ///
    /// # Errors
    /// That of the file system.
    pub fn peak_bytes(&self) -> io::Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, key: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
        let kilobytes: u64 = kilobytes
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| io::Error::other("no memory in /proc/PID/status"))?;
        Ok(kilobytes * 1024)
    }

    /// Returns the CPU time of the process so far, user and system, in seconds.
    ///
    /// # Errors
    /// That of the file system.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // Fields 14 and 15 (proc_pid_stat(5)); the second one, in parentheses, may have spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|word| word.parse::<f64>().ok())
            .sum();
        Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
