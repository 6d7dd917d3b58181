//! A program and all that it starts, as one process group.
//!
//! Called by whatever runs programs; tells the guardian which groups there are.

use std::{
    io,
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::guardian;

/// How often a group that is to end is checked: soon enough after its end, for few wake-ups.
const END_CHECK_EVERY: Duration = Duration::from_millis(20);

/// A process group that may be signalled as long as its leader has not been waited for: after
/// that its number may be somebody else's.
///
/// A process that calls `setsid` or `setpgid` leaves the group, and is not ended with it.
#[derive(Debug)]
pub struct Group(Mutex<Option<Pid>>);

/// What has become of the program itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    /// It runs, or is stopped.
    Runs,
    /// It exited with code 0.
    EndedWell,
    /// It exited with another code, or was killed.
    Failed,
}

impl Group {
    /// Starts a program as the leader of a new group. If this process is killed, the guardian kills
    /// the group.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<(Child, Arc<Self>)> {
        let child = guardian::spawn(command)?;
        let leader = Pid::from_child(&child);
        Ok((child, Arc::new(Self(Mutex::new(Some(leader))))))
    }

    /// Asks the group to end, and kills what is left of it after `grace`. Blocks until the group is
    /// [forgotten](Self::forget), and for the grace at most.
    pub fn end(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.signal(Signal::TERM);
        while Instant::now() < deadline {
            thread::sleep(END_CHECK_EVERY);
            if self.is_forgotten() {
                return;
            }
        }
        self.signal(Signal::KILL);
    }

    /// Sends a signal to all processes of the group; to none if it is forgotten.
    pub fn signal(&self, signal: Signal) {
        // The lock is held over the signal: `forget` cannot come between.
        let group = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *group {
            // A group that is gone needs no signal.
            let _gone = kill_process_group(pid, signal);
        }
    }

    /// Checks the leader without reaping it, so its process number is not given to another. That of
    /// a forgotten group has ended well.
    ///
    /// # Errors
    /// The system does not tell, for example as another part of this process has reaped it.
    pub fn leader(&self) -> io::Result<Leader> {
        let Some(pid) = self.pid() else {
            return Ok(Leader::EndedWell);
        };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        Ok(match waitid(WaitId::Pid(pid), look)? {
            None => Leader::Runs,
            Some(status) if status.exit_status() == Some(0) => Leader::EndedWell,
            Some(_) => Leader::Failed,
        })
    }

    /// Returns whether the group has been [forgotten](Self::forget).
    pub fn is_forgotten(&self) -> bool {
        self.pid().is_none()
    }

    /// Gives the group up: nobody signals it from now on. To be called before the leader is waited
    /// for, which gives its number back to the system.
    pub fn forget(&self) {
        let mut group = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = group.take() {
            guardian::forget(pid);
        }
    }

    fn pid(&self) -> Option<Pid> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> (Child, Arc<Group>) {
        Group::spawn(Command::new("sleep").arg("1000")).unwrap()
    }

    #[test]
    fn a_forgotten_group_gets_no_signal() {
        let (mut child, group) = sleeper();
        group.forget();
        group.signal(Signal::KILL);
        thread::sleep(Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn an_ended_leader_is_seen_and_keeps_its_number() {
        let (mut child, group) = sleeper();
        assert_eq!(group.leader().unwrap(), Leader::Runs);
        group.signal(Signal::KILL);
        while group.leader().unwrap() == Leader::Runs {
            thread::sleep(END_CHECK_EVERY);
        }
        assert_eq!(group.leader().unwrap(), Leader::Failed);
        group.forget();
        assert!(!child.wait().unwrap().success());
    }
}
