//! Client connections: both ends, and what travels between them.

use std::time::Duration;

use tandemmq_model::{Command, ConnId, Delivery, Epoch, MessageId, Outcome, Time};

use super::World;
use super::links::SILENT_DIAL;
use crate::client::consumer::Consumer;
use crate::client::producer::Producer;
use crate::client::{Action, Client, Meaning, Place, Program};
use crate::happening::Happening;
use crate::oracle::history::FirstDeliveries;
use crate::oracle::{Invariant, Violation};
use crate::payload::Attempt;
use crate::session::{Out, SubscriptionKind, Wrote};
use crate::trace::Step;

/// A client that waits longer than this for an answer leaves and dials again, as a program with a
/// receipt timeout does.
const PATIENCE: Duration = Duration::from_secs(8);

/// One client connection between its two ends.
#[derive(Debug)]
pub(crate) struct ClientConn {
    pub(crate) client: usize,
    pub(crate) node: usize,
    /// The client believes in it.
    pub(crate) client_open: bool,
    /// The broker believes in it.
    pub(crate) server_open: bool,
    /// Last planned arrival in each direction: the next one is not earlier.
    to_server: Time,
    to_client: Time,
}

impl World {
    pub(super) fn make_clients(&mut self) {
        let producers: Vec<Program> = self
            .plan
            .producers
            .iter()
            .cloned()
            .map(|plan| Program::Producer(Producer::new(plan)))
            .collect();
        let consumers = self
            .plan
            .consumers
            .iter()
            .cloned()
            .map(|p| Program::Consumer(Consumer::new(p)));
        for program in producers.into_iter().chain(consumers.collect::<Vec<_>>()) {
            self.add_client(program);
        }
    }

    /// One more client; it dials at once.
    pub(crate) fn add_client(&mut self, program: Program) -> usize {
        let index = self.clients.len();
        let rng = self.streams.clients.split();
        self.clients
            .push(Client::new(index as u32 + 1, program, rng));
        self.dial_soon(index);
        index
    }

    fn dial_soon(&mut self, client: usize) {
        self.clients[client].place = Place::Dialling;
        let nodes = self.nodes.len();
        let node = self.clients[client].choose_node(nodes);
        let wait = self.clients[client].rng().millis(1, 60);
        self.agenda
            .after(wait, Happening::ClientDial { client, node });
    }

    /// A slave's port refuses at once; a stopped process's kernel lets the client in and says
    /// nothing, which costs the client its patience.
    pub(super) fn client_dials(&mut self, client: usize, node: usize) {
        let back = self.client_latency();
        if !self.nodes[node].listens() {
            self.agenda
                .after(back, Happening::ClientLost { client, conn: None });
            return;
        }
        if self.nodes[node].is_paused() {
            self.agenda
                .after(SILENT_DIAL, Happening::ClientLost { client, conn: None });
            return;
        }
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let now = self.agenda.now();
        self.conns.insert(
            conn,
            ClientConn {
                client,
                node,
                client_open: true,
                server_open: true,
                to_server: now,
                to_client: now,
            },
        );
        self.nodes[node].add_session(conn);
        self.note(
            Step::Client,
            &[1, client as u64, node as u64, conn.0],
            || format!("client {client} is let in by {node} as connection {conn}"),
        );
        let at = now + back;
        self.client_conn(conn).to_client = at;
        self.agenda
            .at(at, Happening::ClientConnected { client, conn });
        self.wake(node);
    }

    pub(super) fn client_connected(&mut self, client: usize, conn: ConnId) {
        if !self.conns.get(&conn).is_some_and(|open| open.client_open) {
            return;
        }
        let wall = self.wall_ms();
        if let Program::Producer(producer) = &mut self.clients[client].program {
            producer.set_wall(wall);
        }
        let now = self.agenda.now();
        self.clients[client].connected(now, conn, &mut self.history);
        self.do_actions(client);
        self.plan_patience(client);
    }

    pub(super) fn client_lost(&mut self, client: usize, conn: Option<ConnId>) {
        if let Some(conn) = conn {
            let Some(open) = self.conns.get_mut(&conn) else {
                return;
            };
            if !std::mem::replace(&mut open.client_open, false) {
                return;
            }
            self.forget_if_closed(conn);
            self.note(Step::Client, &[2, client as u64, conn.0], || {
                format!("client {client} loses connection {conn}")
            });
        }
        self.clients[client].lost();
        self.dial_soon(client);
    }

    pub(super) fn client_wakes(&mut self, client: usize, conn: u32) {
        let Place::Connected(open) = self.clients[client].place else {
            return;
        };
        if self.clients[client].conn_number() != conn {
            return;
        }
        let wall = self.wall_ms();
        if let Program::Producer(producer) = &mut self.clients[client].program {
            producer.set_wall(wall);
        }
        self.clients[client].tick(&mut self.history);
        self.note(Step::Client, &[3, client as u64, open.0], || {
            format!("client {client} takes a step")
        });
        self.do_actions(client);
    }

    fn do_actions(&mut self, client: usize) {
        while let Some(action) = self.clients[client].next_action() {
            let Place::Connected(conn) = self.clients[client].place else {
                return;
            };
            match action {
                Action::Command(command) => self.send_command(conn, *command),
                Action::Wake(after) => {
                    let number = self.clients[client].conn_number();
                    self.agenda.after(
                        after,
                        Happening::ClientWake {
                            client,
                            conn: number,
                        },
                    );
                }
                Action::Close => self.client_closes(client, conn),
            }
        }
        if let Program::Consumer(consumer) = &mut self.clients[client].program
            && let Some(violation) = consumer.violation()
        {
            self.violate(violation);
        }
        self.judge_history();
    }

    fn send_command(&mut self, conn: ConnId, command: Command) {
        let latency = self.client_latency();
        let now = self.agenda.now();
        let open = self.client_conn(conn);
        open.to_server = open.to_server.max(now + latency);
        let at = open.to_server;
        self.agenda
            .at(at, Happening::CommandArrives { conn, command });
    }

    /// The client goes; the broker hears of it after what is on its way.
    fn client_closes(&mut self, client: usize, conn: ConnId) {
        let latency = self.client_latency();
        let now = self.agenda.now();
        let open = self.client_conn(conn);
        open.client_open = false;
        let at = open.to_server.max(now + latency);
        self.agenda.at(at, Happening::SessionEnds { conn });
        self.clients[client].lost();
        self.dial_soon(client);
    }

    /// The connection breaks: the client knows at once, the broker perhaps much later.
    pub(crate) fn break_client(&mut self, client: usize) {
        let Place::Connected(conn) = self.clients[client].place else {
            return;
        };
        let half_open = self.streams.faults.permille(300);
        let rng = &mut self.streams.faults;
        let told = if half_open {
            rng.millis(50, 3_000)
        } else {
            rng.millis(0, 5)
        };
        let at = self.agenda.now() + told;
        self.agenda.at(at, Happening::SessionEnds { conn });
        self.client_lost(client, Some(conn));
    }

    fn plan_patience(&mut self, client: usize) {
        let conn = self.clients[client].conn_number();
        self.agenda
            .after(PATIENCE, Happening::ClientPatience { client, conn });
    }

    pub(super) fn client_patience(&mut self, client: usize, conn: u32) {
        let this = &self.clients[client];
        if !matches!(this.place, Place::Connected(_)) || this.conn_number() != conn {
            return;
        }
        if this.has_waited_since(self.agenda.now(), PATIENCE) {
            self.break_client(client);
        } else {
            self.plan_patience(client);
        }
    }

    pub(super) fn command_arrives(&mut self, conn: ConnId, command: Command) {
        let Some(open) = self.conns.get(&conn).filter(|open| open.server_open) else {
            return;
        };
        let node = open.node;
        self.note(Step::Client, &[4, conn.0], || {
            format!("{node} gets on {conn}: {command:?}")
        });
        if let Some(session) = self.nodes[node].session(conn) {
            session.handle_input(command);
        }
        self.wake(node);
    }

    pub(super) fn session_ends(&mut self, conn: ConnId) {
        let Some(open) = self.conns.get_mut(&conn) else {
            return;
        };
        let was_open = std::mem::replace(&mut open.server_open, false);
        let node = open.node;
        self.forget_if_closed(conn);
        if !was_open {
            return;
        }
        if let Some(session) = self.nodes[node].session(conn) {
            session.ended = true;
        }
        self.wake(node);
    }

    /// Plans the next write of a session that has something to write and is not at it.
    pub(super) fn plan_write(&mut self, node: usize, conn: ConnId) {
        if self.nodes[node].is_paused() {
            return;
        }
        let Some(session) = self.nodes[node].session(conn) else {
            return;
        };
        if session.writing || !session.wants_write() {
            return;
        }
        session.writing = true;
        // Mostly at once; now and then the client does not read for a while.
        let deaf = self.plan.deaf_permille;
        let rng = &mut self.streams.clients;
        let wait = if rng.permille(deaf) {
            rng.millis(100, 2_500)
        } else {
            rng.micros(5, 80)
        };
        self.agenda.after(wait, Happening::SessionWrites { conn });
    }

    pub(super) fn session_writes(&mut self, conn: ConnId) {
        let Some(node) = self.conns.get(&conn).map(|open| open.node) else {
            return;
        };
        let now = self.nodes[node].clock(self.agenda.now()).boot;
        let paused = self.nodes[node].is_paused();
        let Some(session) = self.nodes[node].session(conn) else {
            return;
        };
        session.writing = false;
        if paused {
            return; // Planned again when the process goes on.
        }
        match session.write_next(now) {
            Wrote::Message(delivery, mode, kind) => {
                self.counts.deliveries += 1;
                self.wrote_message(node, &delivery, mode, kind);
                self.travel_to_client(conn, Out::Delivery(delivery, Time::NEVER));
            }
            Wrote::Other(out) => self.travel_to_client(conn, out),
            Wrote::HandedBack => self.counts.handed_back += 1,
            Wrote::Nothing => return,
        }
        self.wake(node);
        self.plan_write(node, conn);
    }

    fn wrote_message(
        &mut self,
        node: usize,
        delivery: &Delivery,
        mode: tandemmq_model::AckMode,
        kind: SubscriptionKind,
    ) {
        let Delivery::Message {
            message_id,
            message,
            ..
        } = delivery
        else {
            return;
        };
        let _ = node;
        if kind == SubscriptionKind::Consumer
            && let Some(attempt) = Attempt::find(&message.body)
        {
            self.history.written(mode, *message_id, attempt);
        }
    }

    fn travel_to_client(&mut self, conn: ConnId, out: Out) {
        let latency = self.client_latency();
        let now = self.agenda.now();
        let Some(open) = self.conns.get_mut(&conn) else {
            return;
        };
        open.to_client = open.to_client.max(now + latency);
        let at = open.to_client;
        let arrives = match out {
            Out::Delivery(delivery, _) => Happening::DeliveryArrives { conn, delivery },
            Out::Reply {
                request,
                outcome,
                epoch,
            } => Happening::ReplyArrives {
                conn,
                request,
                outcome,
                epoch,
            },
        };
        self.agenda.at(at, arrives);
    }

    pub(super) fn delivery_arrives(&mut self, conn: ConnId, delivery: &Delivery) {
        let Some(client) = self.listening_client(conn) else {
            return;
        };
        self.note(
            Step::Client,
            &[5, conn.0, delivery_number(delivery)],
            || {
                format!(
                    "client {client} gets on {conn}: {}",
                    brief_delivery(delivery)
                )
            },
        );
        let order = self.order_on(conn);
        self.clients[client].delivered(delivery, order, &mut self.history);
        self.do_actions(client);
    }

    pub(super) fn reply_arrives(
        &mut self,
        conn: ConnId,
        request: u64,
        outcome: &Outcome,
        epoch: Epoch,
    ) {
        let Some(client) = self.listening_client(conn) else {
            return;
        };
        self.note(Step::Client, &[6, conn.0, request], || {
            format!("client {client} hears on {conn}: request {request} {outcome:?}")
        });
        let now = self.agenda.now();
        self.clients[client].answered(now, request, outcome, epoch, &mut self.history);
        self.do_actions(client);
    }

    /// The machine answers a request: the oracle compares it with the committed log (I9).
    pub(super) fn check_reply(
        &mut self,
        conn: ConnId,
        request: u64,
        outcome: &Outcome,
        epoch: Epoch,
    ) {
        match outcome {
            Outcome::Done => self.counts.receipts += 1,
            Outcome::Refused(_) => self.counts.refusals += 1,
        }
        let Some(client) = self.listening_client(conn) else {
            return;
        };
        self.clients[client].answered_by_master(request, outcome, epoch, &mut self.history);
        if *outcome != Outcome::Done {
            return;
        }
        let missing = match self.clients[client].meaning(request) {
            Some(Meaning::Send(attempt)) => self.missing_of(client, &[*attempt]),
            Some(Meaning::Commit(tx)) => {
                let attempts = self.history.attempts_of(*tx);
                self.missing_of(client, &attempts)
            }
            _ => None,
        };
        if let Some(attempt) = missing {
            let text = format!("a receipt for {attempt:?}, which is not in the committed log");
            self.violate(Violation::new(Invariant::I9AckImpliesCommit, text));
        }
    }

    fn missing_of(&self, client: usize, attempts: &[Attempt]) -> Option<Attempt> {
        let Program::Producer(producer) = &self.clients[client].program else {
            return None;
        };
        if !producer.is_durable() {
            return None;
        }
        attempts
            .iter()
            .find(|attempt| !self.group.has_committed(attempt))
            .copied()
    }

    /// A connection of this process is over because the process, or its reign, is.
    pub(super) fn drop_sessions(&mut self, node: usize, sessions: Vec<ConnId>, told: Duration) {
        for conn in sessions {
            let Some(open) = self.conns.get_mut(&conn) else {
                continue;
            };
            open.server_open = false;
            let client = open.client;
            let at = (self.agenda.now() + told).max(open.to_client);
            self.agenda.at(
                at,
                Happening::ClientLost {
                    client,
                    conn: Some(conn),
                },
            );
            self.forget_if_closed(conn);
        }
        let _ = node;
    }

    fn listening_client(&self, conn: ConnId) -> Option<usize> {
        self.conns
            .get(&conn)
            .filter(|open| open.client_open)
            .map(|open| open.client)
    }

    /// Whether first deliveries on this connection have an order to keep; a connection that the
    /// broker has ended already may have had competitors meanwhile.
    fn order_on(&mut self, conn: ConnId) -> FirstDeliveries {
        let node = self.conns.get(&conn).map(|open| open.node);
        let session = node.and_then(|node| self.nodes[node].session(conn));
        match session {
            Some(session) if !session.competes => FirstDeliveries::Ordered,
            _ => FirstDeliveries::Competing,
        }
    }

    fn forget_if_closed(&mut self, conn: ConnId) {
        if self
            .conns
            .get(&conn)
            .is_some_and(|open| !open.client_open && !open.server_open)
        {
            self.conns.remove(&conn);
        }
    }

    pub(super) fn client_latency(&mut self) -> Duration {
        self.streams.clients.micros(50, 1_500)
    }

    fn client_conn(&mut self, conn: ConnId) -> &mut ClientConn {
        self.conns
            .get_mut(&conn)
            .expect("a client speaks only on a connection it has")
    }
}

fn delivery_number(delivery: &Delivery) -> u64 {
    match delivery {
        Delivery::Message {
            message_id: MessageId::Persistent(_, offset),
            ..
        } => offset.0,
        Delivery::Message {
            message_id: MessageId::Transient(_, count),
            ..
        } => !count,
        Delivery::End { .. } => 0,
    }
}

fn brief_delivery(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Message {
            subscription,
            id,
            message_id,
            destination,
            redelivered,
            ..
        } => format!(
            "subscription {subscription} delivery {id} message {message_id} of {destination}{}",
            if *redelivered { " redelivered" } else { "" }
        ),
        Delivery::End { subscription } => format!("end of browser {subscription}"),
    }
}
