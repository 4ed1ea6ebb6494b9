//! What each frame of a client does.
//!
//! A frame is judged whole before anything changes: a refused one had no effect.

use bytestring::ByteString;
use tandemmq_model::{AckKind, AckRef, Command, DeliveryId, Now, Request, SubscriptionId, TxName};

use super::super::connect::{self, ConnectError};
use super::super::encoder::{self, shorten};
use super::super::send;
use super::super::subscriptions::Wish;
use super::super::{Frame, FrameLimits, Version};
use super::{Fault, Item, Marks, Phase, StompSession, Waiting};

type Done = Result<(), Fault>;

impl Fault {
    fn refused(why: impl ToString) -> Self {
        Self::Refused(why.to_string())
    }
}

impl StompSession {
    pub(super) fn act(&mut self, now: Now, frame: Frame) -> Done {
        match (self.phase, &*frame.command) {
            (Phase::Connecting, "CONNECT" | "STOMP") => {
                self.connect(now, &frame);
                Ok(())
            }
            (Phase::Connecting, _) => Err(Fault::Fatal(
                "not connected: the first frame must be CONNECT or STOMP".into(),
            )),
            (_, "SEND") => self.send(now, frame),
            (_, "ACK") => self.ack(&frame, AckKind::Consumed),
            (_, "NACK") => self.ack(&frame, AckKind::Poison),
            (_, "SUBSCRIBE") => self.subscribe(&frame),
            (_, "UNSUBSCRIBE") => self.unsubscribe(frame),
            (_, "BEGIN") => self.transact(&frame, Command::Begin),
            (_, "COMMIT") => self.transact(&frame, Command::Commit),
            (_, "ABORT") => self.transact(&frame, Command::Abort),
            (_, "DISCONNECT") => self.disconnect(frame),
            (_, "CONNECT" | "STOMP") => Err(Fault::Refused("already connected".into())),
            (_, other) => Err(Fault::Fatal(format!(
                "unknown command {:?}: SEND, SUBSCRIBE, UNSUBSCRIBE, ACK, NACK, BEGIN, COMMIT, \
                 ABORT and DISCONNECT are allowed",
                shorten(other, 64)
            ))),
        }
    }

    fn connect(&mut self, now: Now, frame: &Frame) {
        let limits = &self.config.limits;
        match connect::judge(frame, &*self.authenticator, limits) {
            Ok(agreed) => {
                self.decoder.set_limits(FrameLimits {
                    frame_bytes_max: limits.frame_bytes_max,
                    headers_max: limits.headers_max,
                    header_bytes_max: limits.header_bytes_max,
                });
                self.decoder.set_version(agreed.version);
                let session = format!(
                    "{}-{:016x}-{}",
                    self.config.group, self.config.instance, self.conn
                );
                let connected = connect::connected(&self.config, agreed, session);
                self.outbound.push(Item::Frame(connected));
                self.agreed = Some(agreed);
                self.phase = Phase::Open;
            }
            Err(error) => self.refuse_connect(now, error),
        }
    }

    fn refuse_connect(&mut self, now: Now, error: ConnectError) {
        let mut answer = encoder::error(&error.to_string(), None);
        if error == ConnectError::NoVersion {
            answer = answer.header("version", "1.0,1.1,1.2");
        }
        self.outbound.push(Item::Frame(answer));
        let delay = match error {
            ConnectError::Auth(_) => Some(now.boot + self.config.limits.login_failed_delay),
            ConnectError::NoVersion | ConnectError::HeartBeat(_) => None,
        };
        self.close(now, delay);
    }

    /// A request of this frame, which keeps so many bytes until it is answered.
    fn request(&mut self, receipt: Option<ByteString>, body_bytes: usize) -> Request {
        self.requests
            .open(receipt.map(Waiting::Receipt), body_bytes)
    }

    fn send(&mut self, now: Now, frame: Frame) -> Done {
        let receipt = frame.kept("receipt");
        let (message, tx) = send::to_message(frame, &self.names, now).map_err(Fault::refused)?;
        self.check_tx(tx.as_ref())?;
        let request = self.request(receipt, message.memory_size());
        self.commands.push_back(Command::Send {
            message,
            tx,
            request,
        });
        Ok(())
    }

    fn check_tx(&self, tx: Option<&TxName>) -> Done {
        let max = self.config.limits.name_bytes_max;
        match tx {
            Some(tx) if tx.len() > max => Err(Fault::Refused(format!(
                "transaction too long: at most {max} bytes are allowed"
            ))),
            _ => Ok(()),
        }
    }

    fn transact(&mut self, frame: &Frame, command: fn(TxName, Request) -> Command) -> Done {
        let Some(tx) = frame.kept("transaction") else {
            return Err(Fault::Refused(format!(
                "{} needs the header transaction",
                frame.command
            )));
        };
        self.check_tx(Some(&tx))?;
        let request = self.request(frame.kept("receipt"), 0);
        self.commands.push_back(command(tx, request));
        Ok(())
    }

    fn subscribe(&mut self, frame: &Frame) -> Done {
        let limits = &self.config.limits;
        let wish =
            Wish::parse(frame, self.version(), &self.names, limits).map_err(Fault::refused)?;
        self.subscriptions
            .check_room(&wish, limits)
            .map_err(Fault::refused)?;
        let request = self.request(frame.kept("receipt"), 0);
        let subscribe = self.subscriptions.add(wish, request.id);
        self.commands
            .push_back(Command::Subscribe(subscribe, request));
        Ok(())
    }

    fn unsubscribe(&mut self, frame: Frame) -> Done {
        let version = self.version();
        let number = self
            .subscriptions
            .find(&frame, version, &self.names)
            .map_err(Fault::refused)?;
        let marks = Marks::Of(number);
        if self.outbound.has(marks) {
            self.held = Some((frame, marks));
            return Ok(());
        }
        self.subscriptions.remove(number);
        self.returns.forget(number);
        let request = self.request(frame.kept("receipt"), 0);
        self.commands
            .push_back(Command::Unsubscribe(number, request));
        Ok(())
    }

    fn disconnect(&mut self, frame: Frame) -> Done {
        if self.outbound.has(Marks::All) {
            self.held = Some((frame, Marks::All));
            return Ok(());
        }
        // The engine gives back what was not written.
        self.outbound.drop_deliveries();
        let receipt = frame.kept("receipt");
        let request = self.requests.open(Some(Waiting::Disconnect(receipt)), 0);
        self.commands.push_back(Command::Disconnect(request));
        self.phase = Phase::Leaving;
        Ok(())
    }

    fn ack(&mut self, frame: &Frame, kind: AckKind) -> Done {
        let which = match self.version() {
            Version::V1_0 if kind == AckKind::Poison => {
                return Err(Fault::Refused("NACK needs STOMP 1.1 or later".into()));
            }
            Version::V1_2 => self.ack_by_id(frame)?,
            version => self.ack_by_message(frame, version)?,
        };
        let tx = frame.kept("transaction");
        self.check_tx(tx.as_ref())?;
        let request = self.request(frame.kept("receipt"), 0);
        self.commands.push_back(Command::Ack {
            which,
            kind,
            tx,
            request,
        });
        Ok(())
    }

    /// 1.2: `id` is what `ack` of the MESSAGE was.
    fn ack_by_id(&self, frame: &Frame) -> Result<AckRef, Fault> {
        let id = frame.get("id").ok_or_else(|| needs(frame, "id"))?;
        parse_ack_id(id)
            .filter(|(subscription, _)| self.subscriptions.get(*subscription).is_some())
            .map(|(subscription, delivery)| AckRef::Delivery(subscription, delivery))
            .ok_or_else(|| unknown("id", id))
    }

    /// 1.0 and 1.1: `message-id`, and from 1.1 on `subscription`.
    fn ack_by_message(&self, frame: &Frame, version: Version) -> Result<AckRef, Fault> {
        let text = frame
            .get("message-id")
            .ok_or_else(|| needs(frame, "message-id"))?;
        let subscription = match frame.get("subscription") {
            None if version == Version::V1_0 => None,
            None => return Err(needs(frame, "subscription")),
            Some(id) => {
                let number = self.subscriptions.number(id);
                Some(number.ok_or_else(|| unknown("subscription", id))?)
            }
        };
        let id = self
            .names
            .parse_message_id(text)
            .ok_or_else(|| unknown("message-id", text))?;
        Ok(AckRef::Message(subscription, id))
    }
}

fn needs(frame: &Frame, header: &str) -> Fault {
    Fault::Refused(format!("{} needs the header {header}", frame.command))
}

fn unknown(header: &str, value: &str) -> Fault {
    let value = shorten(value, 128);
    Fault::Refused(format!("nothing waits for an ack under {header} {value:?}"))
}

/// `<subscription>-<delivery>`, as MESSAGE carries it.
fn parse_ack_id(text: &str) -> Option<(SubscriptionId, DeliveryId)> {
    let (subscription, delivery) = text.trim().split_once('-')?;
    Some((
        SubscriptionId(subscription.parse().ok()?),
        DeliveryId(delivery.parse().ok()?),
    ))
}
