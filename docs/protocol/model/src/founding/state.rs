//! Volumes, pods, the Lease, the status, and what a fault may bring back.

/// Ordinals and groups that a search may use.
pub const ORDINALS_MAX: usize = 3;
pub const GROUPS_MAX: usize = 3;

/// Incarnations, by ordinal.
pub type List = [u8; ORDINALS_MAX];

/// What was seen to go wrong, as bits of `State::bad`.
pub const THOUGH_KNOWN: u8 = 1;
pub const LACKS_RECEIPT: u8 = 2;
pub const BESIDE_VOLUME: u8 = 4;
pub const OLD_GROUP: u8 = 8;

/// Incarnation 0: raw, not formatted. Group 0: blank. The claim is stamped when it is formatted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Volume {
    pub incarnation: u8,
    pub claim: u8,
    pub group: u8,
    pub epoch: u8,
    pub last_epoch: u8,
    pub length: u8,
    /// Receipted records it holds, as bits.
    pub log: u8,
    pub config: List,
}

impl Volume {
    /// What two logs are compared by.
    pub fn tail(&self) -> (u8, u8) {
        (self.last_epoch, self.length)
    }
}

/// A pod's place: its volume, the real claim, what the pod was told of it (0: nothing yet), and the
/// epoch in which it reigns (0: in none).
#[derive(Clone, Copy, Default)]
pub struct Slot {
    pub volume: Volume,
    pub claim: u8,
    pub told: u8,
    pub reign: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    pub there: bool,
    pub version: u8,
    pub proposal: u8,
    pub group: u8,
}

/// A founder's question: the version of the Lease at its beginning, and the answers so far.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ask {
    pub on: bool,
    pub version: u8,
    pub got: List,
}

/// Lease, status and version counter of one moment.
#[derive(Clone, Copy, Default)]
pub struct Backup {
    pub taken: bool,
    pub lease: Lease,
    pub status: u8,
    pub version: u8,
}

#[derive(Clone, Copy, Default)]
pub struct State {
    pub slots: [Slot; ORDINALS_MAX],
    /// One snapshot; one detached volume, 1 + its ordinal, its claim.
    pub snapshot: Volume,
    pub shelf: Volume,
    pub shelf_ordinal: u8,
    pub shelf_claim: u8,
    pub lease: Lease,
    pub status: u8,
    pub version: u8,
    pub backup: Backup,
    pub asks: [Ask; 2],
    /// For a mutant: blank answers of any time.
    pub heard: List,
    /// Founding lists by group; groups that any Lease ever named, so that a stale read finds them.
    pub lists: [List; GROUPS_MAX + 1],
    pub offers: u8,
    pub receipts: [u8; GROUPS_MAX + 1],
    /// Incarnations, claims, groups, records and faults so far.
    pub incarnations: u8,
    pub claims: u8,
    pub groups: u8,
    pub records: u8,
    pub faults: u8,
    /// Names no group because of a fault; and: at some moment nothing at all knew it.
    pub lost_lease: bool,
    pub lost_status: bool,
    pub void: bool,
    pub bad: u8,
    /// Row 19. By group: what it was recovered from. As bits: groups that had a master, that gave a
    /// receipt, whose recovery reached status and Lease; ordinals whose process is down.
    pub parents: [u8; GROUPS_MAX + 1],
    pub reigned: u8,
    pub gave: u8,
    pub in_status: u8,
    pub in_lease: u8,
    pub down: u8,
    /// By ordinal, while it is stopped to recover: the new group, and the version of the Lease that
    /// was read before the question whether a majority answers.
    pub plans: [u8; ORDINALS_MAX],
    pub asked: [u8; ORDINALS_MAX],
    /// Lease and status were both lost at one moment.
    pub unknown: bool,
}

impl State {
    /// Was `group` recovered from `old`, perhaps by way of others?
    pub fn is_ancestor(&self, old: u8, group: u8) -> bool {
        let parent = self.parents[group as usize];
        parent != 0 && (parent == old || self.is_ancestor(old, parent))
    }

    pub fn offer(&mut self, group: u8) {
        if group != 0 {
            self.offers |= 1 << group;
        }
    }

    /// The Lease is written: a new version.
    pub fn write_lease(&mut self, lease: Lease) {
        self.version += 1;
        self.lease = Lease {
            version: self.version,
            ..lease
        };
    }
}
