//! Sends that wait for memory, and what stands behind them.
//!
//! At the memory limit a non-persistent send waits up to three seconds, then it is refused
//! (ActiveMQ: `sendFailIfNoSpaceAfterTimeout`). Later commands of that connection wait behind it,
//! so that its order holds. Acknowledgements outside a transaction and reports of the socket pass:
//! they are what frees memory. What waits is bounded; above the bound a command is refused at once.

use std::time::Duration;

use tandemmq_model::{Command, ConnId, Message, Time};

use super::{Context, Live};
use crate::refusals;

/// How long a send waits for memory. Long enough for consumers to catch up, short enough that a
/// client sees the refusal before it gives up.
pub(crate) const PARKED_TIME_MAX: Duration = Duration::from_secs(3);

/// Bytes of commands that wait for one connection.
const PARKED_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of commands that wait for all connections: what the memory limit may be passed by.
const PARKED_BYTES_TOTAL_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Parked {
    command: Command,
    deadline: Time,
    bytes: usize,
}

impl Live {
    /// True for a command that has to wait.
    pub(super) fn must_park(&self, conn: ConnId, command: &Command) -> bool {
        match command {
            Command::Written(..) | Command::NotDelivered(..) | Command::Ack { tx: None, .. } => {
                false
            }
            _ if !self.connections[&conn].parked.is_empty() => true,
            Command::Send { message, .. } => self.waits_for_memory(message),
            _ => false,
        }
    }

    /// Puts a command at the end of its connection's line, or refuses it.
    pub(super) fn park(&mut self, cx: &Context<'_>, conn: ConnId, command: Command) {
        let bytes = size_of::<Parked>()
            + match &command {
                Command::Send { message, .. } => message.memory_size(),
                _ => 0,
            };
        let found = self
            .connections
            .get_mut(&conn)
            .expect("commands come from connections");
        if found.parked_bytes + bytes > PARKED_BYTES_MAX
            || self.parked_bytes + bytes > PARKED_BYTES_TOTAL_MAX
        {
            if let Some(request) = request_of(&command) {
                self.refuse(conn, request, refusals::too_much_waits());
            }
            return;
        }
        let deadline = cx.now.boot + PARKED_TIME_MAX;
        found.parked.push_back(Parked {
            command,
            deadline,
            bytes,
        });
        found.parked_bytes += bytes;
        self.parked_bytes += bytes;
        self.parked.insert(conn);
    }

    /// Lets go on whatever can: memory was freed, or time has passed.
    pub(super) fn run_parked(&mut self, cx: &Context<'_>) {
        self.memory.has_freed = false;
        let waiting: Vec<ConnId> = self.parked.iter().copied().collect();
        for conn in waiting {
            while let Some(command) = self.next_parked(cx, conn) {
                self.execute(cx, conn, command);
            }
        }
    }

    /// The next command of that connection that waits no longer. A send whose time is over is
    /// handed out too: without memory it is refused then.
    fn next_parked(&mut self, cx: &Context<'_>, conn: ConnId) -> Option<Command> {
        let first = self.connections.get(&conn)?.parked.front()?;
        if let Command::Send { message, .. } = &first.command
            && first.deadline > cx.now.boot
            && self.waits_for_memory(message)
        {
            return None;
        }
        let found = self.connections.get_mut(&conn)?;
        let parked = found.parked.pop_front()?;
        found.parked_bytes -= parked.bytes;
        self.parked_bytes -= parked.bytes;
        if found.parked.is_empty() {
            self.parked.remove(&conn);
        }
        Some(parked.command)
    }

    /// When the first of them has waited long enough.
    pub(super) fn parked_deadline(&self) -> Option<Time> {
        let firsts = self
            .parked
            .iter()
            .filter_map(|conn| self.connections.get(conn)?.parked.front());
        firsts.map(|parked| parked.deadline).min()
    }

    /// The connection is gone, and what waited with it.
    pub(super) fn forget_parked(&mut self, conn: ConnId) {
        if let Some(found) = self.connections.get_mut(&conn) {
            self.parked_bytes -= std::mem::take(&mut found.parked_bytes);
            found.parked.clear();
            self.parked.remove(&conn);
        }
    }

    /// True for a send that needs memory which is not there, but could be one day.
    fn waits_for_memory(&self, message: &Message) -> bool {
        self.needs_memory(message) && {
            let size = message.memory_size() as u64;
            size <= self.memory.max() && !self.memory.fits(size)
        }
    }
}

const fn request_of(command: &Command) -> Option<u64> {
    Some(match command {
        Command::Send { request, .. }
        | Command::Subscribe(_, request)
        | Command::Unsubscribe(_, request)
        | Command::Ack { request, .. }
        | Command::Begin(_, request)
        | Command::Commit(_, request)
        | Command::Abort(_, request)
        | Command::Disconnect(request) => request.id,
        Command::Written(..) | Command::NotDelivered(..) => return None,
    })
}
