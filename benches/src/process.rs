//! A server in a process of its own: started, found by the address that it prints, observed through
//! `/proc`, killed when dropped. Independent of what the server serves.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Room for 10,000 connections and both ends of each in one place.
const DESCRIPTORS: &str = "65536";

/// As many descriptors as wanted, or as many as are allowed.
const RAISE_AND_EXEC: &str =
    "ulimit -n \"$BENCH_DESCRIPTORS\" 2>/dev/null || ulimit -n \"$(ulimit -Hn)\"; exec \"$@\"";

/// Set in the environment of a process whose limit was raised already.
const RAISED: &str = "BENCH_DESCRIPTORS_RAISED";

/// The original imports astropy, which takes seconds on a slow disk.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A server that is asked to end ends at once; after this it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// `USER_HZ`, the unit of the times in `/proc/PID/stat`.
static TICKS_PER_SECOND: LazyLock<f64> = LazyLock::new(|| {
    let found = Command::new("getconf").arg("CLK_TCK").output().ok();
    let text = found.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.and_then(|text| text.trim().parse().ok())
        .unwrap_or(100.0)
});

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

/// Starts `command` (program and arguments) and waits for the address on its stdout.
///
/// # Errors
/// When it cannot be started, ends, or prints no address in time.
pub(crate) fn start(command: &[OsString]) -> io::Result<Server> {
    let mut child = Command::new("sh")
        .args(["-c", RAISE_AND_EXEC, "sh"])
        .args(command)
        .env("BENCH_DESCRIPTORS", DESCRIPTORS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line) {
                    let _ = sender.send(address); // Only the first is received.
                }
            }
        });
    }
    match receiver.recv_timeout(START_TIMEOUT) {
        Ok(address) => Ok(Server { child, address }),
        Err(_) => {
            let _ = child.kill(); // It may have ended by itself.
            let status = child.wait()?;
            Err(io::Error::other(format!(
                "{command:?} printed no address ({status})"
            )))
        }
    }
}

/// Waits until a server accepts connections that has not said so.
pub(crate) fn wait_for_port(address: SocketAddr) -> io::Result<()> {
    let started = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if started.elapsed() > START_TIMEOUT => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The first `http://IP:PORT` in a line.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once("http://")?;
    let end = after.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
    after[..end.unwrap_or(after.len())]
        .trim_end_matches(['.', ':'])
        .parse()
        .ok()
}

impl Server {
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time of all its threads so far, ended ones included, and of the processes that it has
    /// started, in seconds.
    ///
    /// The kernel scales user and system time to the exact run time and cuts to
    /// ticks of 10 ms, so a difference is right to 10 ms or so.
    pub(crate) fn cpu_seconds(&self) -> io::Result<f64> {
        let mut seconds = cpu_seconds(&self.child.id().to_string())?;
        for child in self.children()? {
            // One that ends meanwhile counts to its parent.
            seconds += cpu_seconds(&child).unwrap_or(0.0);
        }
        Ok(seconds)
    }

    /// Asks it to end, and waits: a server with processes of its own ends them then.
    pub(crate) fn terminate(&mut self) -> io::Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let started = Instant::now();
        while self.child.try_wait()?.is_none() && started.elapsed() < END_TIMEOUT {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The identities of the processes that it has started and that run.
    fn children(&self) -> io::Result<Vec<String>> {
        let mut children = Vec::new();
        for task in std::fs::read_dir(self.proc_path("task"))? {
            // A thread that ends meanwhile has no children.
            let text = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            children.extend(text.split_whitespace().map(str::to_owned));
        }
        Ok(children)
    }

    /// Resident memory now, in bytes.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        Ok(1024 * self.status("VmRSS")?)
    }

    /// The most resident memory since the start or the last reset, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> io::Result<u64> {
        Ok(1024 * self.status("VmHWM")?)
    }

    /// Forgets the peak of resident memory.
    pub(crate) fn reset_peak(&self) -> io::Result<()> {
        std::fs::write(self.proc_path("clear_refs"), "5")
    }

    pub(crate) fn threads(&self) -> io::Result<u64> {
        self.status("Threads")
    }

    pub(crate) fn descriptors(&self) -> io::Result<u64> {
        Ok(std::fs::read_dir(self.proc_path("fd"))?.count() as u64)
    }

    fn proc_path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }

    fn status(&self, key: &str) -> io::Result<u64> {
        let status = std::fs::read_to_string(self.proc_path("status"))?;
        let mut fields = status.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(name, _)| *name == key)
            .and_then(|(_, value)| value.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no {key} in /proc/PID/status")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either it runs and is killed, or it has ended: both are fine here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of this process, in seconds.
pub(crate) fn own_cpu_seconds() -> io::Result<f64> {
    cpu_seconds("self")
}

/// CPU time of the whole machine that was not idle, in seconds.
pub(crate) fn machine_cpu_seconds() -> io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = first
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // user, nice, system, (idle, iowait), irq, softirq, steal; guests are in user.
    let busy = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|&at| ticks.get(at))
        .sum::<f64>();
    Ok(busy / *TICKS_PER_SECOND)
}

fn cpu_seconds(pid: &str) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command's name may hold anything, so count from its closing bracket:
    // utime and stime are fields 14 and 15 of proc_pid_stat(5), the state is 3; those of children that
    // have ended follow.
    let after_name = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after_name.split_whitespace().skip(11).take(4);
    let ticks: f64 = ticks.filter_map(|word| word.parse::<f64>().ok()).sum();
    Ok(ticks / *TICKS_PER_SECOND)
}

/// Starts this program again with a higher limit of open descriptors, unless it
/// has been: raising one's own limit needs a system call that `std` does not offer.
///
/// # Errors
/// When the program cannot be started again; otherwise it does not come back.
pub(crate) fn raise_own_descriptor_limit() -> io::Result<()> {
    if std::env::var_os(RAISED).is_some() {
        return Ok(());
    }
    let error = Command::new("sh")
        .args(["-c", RAISE_AND_EXEC, "sh"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env("BENCH_DESCRIPTORS", DESCRIPTORS)
        .env(RAISED, "1")
        .exec();
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_servers_print() {
        let expected = Some(SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert_eq!(address_in("listening on http://127.0.0.1:8080"), expected);
        assert_eq!(
            address_in("  noise http://127.0.0.1:8080/noise.bin?n=1"),
            expected
        );
        assert_eq!(address_in("ready, http://127.0.0.1:8080."), expected);
        assert_eq!(address_in("no address"), None);
    }

    #[test]
    fn own_cpu_time_is_part_of_the_machine_s() {
        assert!(own_cpu_seconds().unwrap() <= machine_cpu_seconds().unwrap());
    }
}
