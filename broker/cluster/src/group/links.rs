//! Links to the peers: who is at the other end, which of two links is the newer one.
//!
//! A link is one-way. The first frame is a Hello; of one run of a process the link with the greater
//! count wins, of two runs the one that came later. Frames of a link that lost are dropped.

use bytestring::ByteString;
use tandemmq_journal::{LogState, OLDEST_FORMAT, Witness};
use tandemmq_model::{BootNonce, GroupId, Incarnation, MemberId, Now, Offset, Time};

use super::Group;
use crate::config::PeerConfig;
use crate::mutants::{self, Mutant};
use crate::peer::{self, Envelope, Message, PEER_VERSION};
use crate::{Effect, InboundId};

/// One place of the group, as far as it is known.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) ordinal: u8,
    pub(super) name: ByteString,
    /// Our own connection to it is up.
    pub(super) outbound: bool,
    /// Connections dialled so far, told in Hello.
    dialled: u64,
    /// Its connection to us, with the run and count it came with.
    inbound: Option<(InboundId, BootNonce, u64)>,
    /// The volume and the run of the process heard last.
    process: Option<(MemberId, BootNonce)>,
    /// The volume heard last on that connection.
    pub(super) member: Option<MemberId>,
    /// The group that it last spoke for.
    group: Option<GroupId>,
    /// Its word counts no more since then.
    pub(super) unsound_since: Option<Time>,
    /// How ill its disk is.
    pub(super) illness: u8,
    /// Least and greatest format of the journal that its process understands.
    formats: (u16, u16),
    /// What it said of itself last.
    pub(super) log_state: LogState,
    pub(super) terminating: bool,
    pub(super) synced: Offset,
    pub(super) applied: Offset,
    /// Nobody who promised remembers better: set by row 4 when it is accused.
    pub(super) accused: Option<String>,
}

impl Peer {
    pub(super) fn new(config: &PeerConfig) -> Self {
        Self {
            ordinal: config.ordinal,
            name: config.name.clone(),
            outbound: false,
            dialled: 0,
            inbound: None,
            process: None,
            member: None,
            group: None,
            unsound_since: None,
            illness: 0,
            formats: (0, 0),
            log_state: LogState::Clean,
            terminating: false,
            synced: Offset::ZERO,
            applied: Offset::ZERO,
            accused: None,
        }
    }

    /// Its process is there: it holds a connection to us.
    pub(super) const fn is_heard(&self) -> bool {
        self.inbound.is_some()
    }

    /// The greatest format that it understands.
    pub(super) const fn format_max(&self) -> u16 {
        self.formats.1
    }

    /// It can read batches of that format.
    pub(super) const fn understands(&self, format: u16) -> bool {
        self.formats.0 <= format && format <= self.formats.1
    }

    /// It has no group.
    pub(super) const fn is_blank(&self) -> bool {
        self.member.is_some() && self.group.is_none()
    }

    /// It is of that group.
    pub(super) fn is_ours(&self, group: Option<GroupId>) -> bool {
        self.group.is_some() && self.group == group
    }

    /// Notes since when it does not count.
    pub(super) fn note_soundness(&mut self, now: Now) {
        if self.is_sound() {
            self.unsound_since = None;
        } else {
            self.unsound_since.get_or_insert(now.boot);
        }
    }

    /// True of a member whose acks and votes count.
    pub(super) fn is_sound(&self) -> bool {
        self.log_state == LogState::Clean && self.accused.is_none()
    }
}

impl Group {
    pub(super) fn group_id(&self) -> Option<GroupId> {
        self.journal.identity().group.as_ref().map(|group| group.id)
    }

    /// The volume in that place is none of the group.
    pub(super) fn is_stranger(&self, peer: &Peer) -> bool {
        let voters = self.voters.as_ref();
        peer.member
            .is_some_and(|m| voters.is_some_and(|v| !v.contains(m.incarnation)))
    }

    pub(super) fn peer(&self, ordinal: u8) -> Option<&Peer> {
        self.peers.get(usize::from(ordinal))
    }

    pub(super) fn peer_mut(&mut self, ordinal: u8) -> Option<&mut Peer> {
        self.peers.get_mut(usize::from(ordinal))
    }

    /// All other places.
    pub(super) fn others(&self) -> Vec<u8> {
        let me = self.me.ordinal;
        self.peers
            .iter()
            .map(|peer| peer.ordinal)
            .filter(|ordinal| *ordinal != me)
            .collect()
    }

    /// Sends to that place if a link is up. Meant for the voter of the place; before there are
    /// voters, for whoever is heard there; a learner of the group is meant as well.
    pub(super) fn send(&mut self, ordinal: u8, message: &Message) {
        let voter = self
            .voters
            .as_ref()
            .and_then(|voters| voters.incarnation_at(ordinal));
        let Some(peer) = self.peer(ordinal).filter(|peer| peer.outbound) else {
            return;
        };
        let heard = peer.member.map(|member| member.incarnation);
        // Who is there and of the group is meant, a learner too; else the voter of the place.
        let is_meant = peer.is_ours(self.group_id()) || matches!(message, Message::Join { .. });
        let voter = voter.filter(|_| !(is_meant && heard.is_some()));
        let anybody = matches!(message, Message::Hello { .. } | Message::AskBlank { .. });
        let to = match voter.or(heard) {
            _ if anybody => Incarnation(0),
            Some(incarnation) => incarnation,
            None => return,
        };
        let envelope = Envelope {
            group: self.group_id(),
            from: self.me,
            to,
        };
        let frame = peer::encode(&envelope, message);
        self.effects.push_back(Effect::Send { ordinal, frame });
    }

    pub(super) fn send_to_others(&mut self, message: &Message) {
        for ordinal in self.others() {
            self.send(ordinal, message);
        }
    }

    pub(crate) fn handle_outbound_up(&mut self, now: Now, ordinal: u8) {
        if self.kept_out.is_some() {
            return;
        }
        let Some(peer) = self.peer_mut(ordinal) else {
            return;
        };
        peer.outbound = true;
        peer.dialled += 1;
        self.send_hello(ordinal);
        self.send_memory_of(ordinal);
        self.ask_again(ordinal);
        self.restart_stream(now, ordinal);
        self.acknowledge_again(ordinal);
    }

    /// Says who this is, on the present link: again when it has adopted a group.
    pub(super) fn send_hello(&mut self, ordinal: u8) {
        let (boot, name) = (self.boot, self.name.clone());
        let Some(link) = self.peer(ordinal).map(|peer| peer.dialled) else {
            return;
        };
        self.send(
            ordinal,
            &Message::Hello {
                version: PEER_VERSION,
                formats: (OLDEST_FORMAT, self.journal.format_max()),
                link,
                boot,
                name,
            },
        );
    }

    pub(crate) fn handle_outbound_down(&mut self, ordinal: u8) {
        if let Some(peer) = self.peer_mut(ordinal) {
            peer.outbound = false;
        }
    }

    pub(crate) fn handle_inbound_down(&mut self, now: Now, inbound: InboundId) {
        let ended = |peer: &&mut Peer| peer.inbound.is_some_and(|(id, _, _)| id == inbound);
        let Some(peer) = self.peers.iter_mut().find(ended) else {
            return;
        };
        peer.inbound = None;
        let ordinal = peer.ordinal;
        self.no_longer_hears(now, ordinal, "its connection ended");
        self.check_leaving(now);
    }

    pub(super) fn close_inbound(&mut self, inbound: InboundId, reason: &str) {
        let reason = reason.to_owned();
        self.effects
            .push_back(Effect::CloseInbound { inbound, reason });
    }

    /// Decides whether a message is for us and from a member of our group on its newest link; the
    /// sender's ordinal if so.
    pub(super) fn admit(
        &mut self,
        now: Now,
        inbound: InboundId,
        envelope: &Envelope,
        message: &Message,
    ) -> Option<u8> {
        let ordinal = envelope.from.ordinal;
        if ordinal == self.me.ordinal || self.peer(ordinal).is_none() {
            self.close_inbound(
                inbound,
                &format!("ordinal {ordinal} is no peer of this broker"),
            );
            return None;
        }
        if let Message::Hello {
            version,
            formats,
            link,
            boot,
            ..
        } = message
        {
            if *version != PEER_VERSION {
                let text = format!("peer speaks version {version}, this broker {PEER_VERSION}");
                self.close_inbound(inbound, &text);
                return None;
            }
            let admitted = self.handle_hello(now, inbound, envelope.from, *formats, *boot, *link);
            if let Some(ordinal) = admitted {
                self.learn_group(now, ordinal, envelope.group);
            }
            return admitted;
        }
        let peer = self.peer(ordinal)?;
        if peer.inbound.is_none_or(|(id, _, _)| id != inbound) {
            return None; // A link that another one has replaced.
        }
        let founding = matches!(
            message,
            Message::AskBlank { .. } | Message::Blank { .. } | Message::GroupConfirmed
        );
        let joins = matches!(message, Message::Join { .. }) && self.group_id().is_none();
        let fits = envelope.group == self.group_id() || founding || joins;
        let for_me = envelope.to == self.me.incarnation
            || envelope.to == Incarnation(0) && matches!(message, Message::AskBlank { .. });
        if !fits || !for_me {
            return None;
        }
        self.learn_group(now, ordinal, envelope.group);
        Some(ordinal)
    }

    /// What an Ack says of its sender's log.
    pub(super) fn learn_log_state(&mut self, ordinal: u8, log_state: LogState) {
        let Some(peer) = self.peer_mut(ordinal) else {
            return;
        };
        if !mutants::on(Mutant::AckWithoutState) {
            peer.log_state = log_state;
        }
    }

    /// Who has joined is sent the log from now on: what was sent before went to nobody.
    fn learn_group(&mut self, now: Now, ordinal: u8, group: Option<GroupId>) {
        let ours = self.group_id();
        let Some(peer) = self.peer_mut(ordinal) else {
            return;
        };
        let before = std::mem::replace(&mut peer.group, group);
        if before != group && group == ours && ours.is_some() {
            self.forget_progress(now, ordinal);
        }
    }

    fn handle_hello(
        &mut self,
        now: Now,
        inbound: InboundId,
        from: MemberId,
        formats: (u16, u16),
        boot: BootNonce,
        link: u64,
    ) -> Option<u8> {
        let peer = self.peer_mut(from.ordinal)?;
        let older = |(_, known, count): (InboundId, BootNonce, u64)| known == boot && count > link;
        if peer.inbound.is_some_and(older) {
            return None;
        }
        let replaced = peer.inbound.replace((inbound, boot, link));
        // Before anything is sent to it on the strength of this Hello.
        peer.formats = formats;
        let other = replaced.filter(|(id, _, _)| *id != inbound);
        let changed = peer.member.replace(from) != Some(from);
        if changed {
            peer.accused = None;
            peer.log_state = LogState::Clean;
            peer.unsound_since = None;
        }
        peer.terminating = false;
        if replaced.is_some_and(|(_, known, _)| known != boot) {
            self.no_longer_hears(now, from.ordinal, "its process was replaced");
        }
        if let Some((id, _, _)) = other {
            // Of two processes nobody can tell which is the later one. If it is the one that loses
            // its place here, the end of its connection makes it come again.
            self.close_inbound(id, "another connection of this peer took its place");
        }
        self.notice_new_process(now, from, boot);
        if changed {
            self.send_memory_of(from.ordinal);
            self.ask_again(from.ordinal);
        }
        Some(from.ordinal)
    }

    fn notice_new_process(&mut self, now: Now, from: MemberId, boot: BootNonce) {
        let Some(peer) = self.peer_mut(from.ordinal) else {
            return;
        };
        if peer.process.replace((from, boot)) != Some((from, boot)) {
            self.forget_progress(now, from.ordinal);
        }
    }

    /// Tells a member what this one remembers of it: it judges itself (row 18).
    pub(super) fn send_memory_of(&mut self, ordinal: u8) {
        let Some(member) = self.peer(ordinal).and_then(|peer| peer.member) else {
            return;
        };
        if let Some(memory) = self.witness.of(member.incarnation) {
            self.send(ordinal, &Message::Remember(memory));
        }
    }

    /// Row 18: a peer remembers more of this member than the member itself does. Its own present
    /// state is never below what it ever said, so an old memory cannot accuse a healthy member.
    pub(super) fn handle_remember(&mut self, now: Now, memory: &Witness) {
        if memory.incarnation != self.me.incarnation
            || self.log_state == LogState::DataLoss
            || mutants::on(Mutant::NoWitnessCheck)
        {
            return;
        }
        let tail = super::witness::tail_to_judge(self.log_state, self.journal.synced());
        let verdict = super::witness::judge(memory, self.promise, tail, self.cut_mark);
        if let Err(accusation) = verdict {
            self.log_state = LogState::DataLoss;
            self.store_control();
            self.step_down(now, "peers remember more than this volume holds");
            self.notice(format!(
                "this volume is older than what its peers remember: {accusation}; \
                 it has no vote any more"
            ));
        }
    }
}
