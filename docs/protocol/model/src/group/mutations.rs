//! Weakenings of the protocol, one switch each. `Group.tla` uses the same names for those it has.

crate::mutations! {
    /// Which weakenings are on; none is the protocol.
    Mutations {
        // Election.
        /// Row 3: a voter answers before its promise is on disk.
        nosync,
        /// Row 2: a candidate asks before its own promise is on disk.
        nosync_self,
        /// Row 3: a promise is an epoch number; an equal number is granted again, to anybody.
        bynumber,
        /// Row 3: a master that promised another goes on in its old ballot.
        masterkeeps,
        /// Row 3: a slave that promised another still acks in the old ballot.
        ackold,
        /// Row 5: a fetch is answered although the promise has moved on.
        fetchnotag,
        /// Row 6: leads without the greatest tail of its quorum.
        skiprec,
        /// Row 6: judged by the Config before the fetch.
        oldcfg,

        // Replication.
        /// Row 7: appends below the promise.
        nofence,
        /// Row 7: truncates at every record, also at one that is there.
        truncdup,
        /// Row 7: a cut does not lower `synced`.
        nolower,
        /// Row 7: acks before fdatasync.
        ackunsynced,
        /// Row 7: acks `synced` instead of min(match, synced).
        ackunverified,
        /// Row 9: commits records of an older epoch by counting.
        fig8,
        /// Row 9: a master counts itself before its own fdatasync.
        selfunsynced,
        /// Row 10: a slave applies up to the master's `committed` without `match`.
        applyunmatched,
        /// Row 16: a wiped volume keeps its name.
        amnesia,

        // Members.
        /// A new volume passes for the old one of its ordinal.
        ordinal,
        /// Row 13: no joint record.
        nojoint,
        /// Row 13: the final record before the joint one is committed.
        earlyfinal,
        /// Row 13: a second change before the first is final.
        nopending,
        /// Row 13: a change before the EpochStart is committed.
        cfgearly,
        /// Row 13: the joint record is written before the learner is clean; it is, before it acks it.
        cleanlate,
        /// Row 13: a learner acks, also the joint record, before it is clean.
        ackunclean,
        /// Row 13: the joint record is written for a volume that has caught up with nothing.
        nocatchup,
        /// Row 13: two members are added by one change.
        twoatonce,
        /// Row 15d: a learner's promises and acks count.
        learnervotes,
        /// Row 15d: Join before the EpochStart is committed.
        joinearly,
        /// Row 15d: the group id is stored before the learner; a crash finds a clean empty member.
        joinclean,
        /// Row 15d: Join stores no promise.
        joinblind,
        /// Row 15d: a doubled Join empties a volume that has a group.
        joinagain,

        // Rolled back in place, and the way back.
        /// Row 18: nobody accuses.
        nowitness,
        /// Row 18: forgotten promises accuse nobody.
        nopromisememory,
        /// Row 18: forgotten acks accuse nobody.
        noackmemory,
        /// Row 18: what a master counted for itself is remembered by nobody.
        masterforgets,
        /// Row 18: the accused goes on.
        accusedvotes,
        /// Row 18: formatted anew although no quorum without it is confirmed.
        formatearly,
        /// Row 18: old acks confirm, of members that may stand by another master now.
        formatstale,
        /// Row 18: a quorum that has the EpochStart confirms, whatever else is committed.
        formatatstart,
        /// Row 18: a master goes on counting what the volume that is set aside acked.
        countsaside,
        /// Row 18: the new volume keeps the incarnation.
        formatkeeps,
        /// Row 18: the new incarnation inherits the promise.
        inherit,
        /// Row 19: the recovered Config's epoch is not above the promises seen.
        lowepoch,

        // Checkpoints.
        /// Row 12: a checkpoint of what is not committed.
        ckunapplied,
        /// Row 12: the own log is not looked at again at the switch.
        norecheck,
        /// Row 12: the promise is not looked at again at the switch.
        noballot,
        /// Row 12: the promise lies in the directory that is swapped.
        prominside,
        /// Row 12: the suffix of the old journal is kept.
        keepsuffix,
        /// Row 12: the directory is not synced after the rename.
        nodirsync,
        /// Row 12: the files are not synced before the rename.
        nosidesync,
        /// Row 12 as it once was: installs only if the checkpoint's offset is above `synced`.
        row12,
        /// The journal is dropped before the checkpoint is durable.
        dropfirst,
        /// A checkpoint does not carry the Config.
        cknocfg,
        /// Row 5 as it once was: a candidate installs no checkpoint.
        nofetchck,
        /// Row 5: a fetched tail is appended to a log that lacks the server's checkpoint.
        fetchbase,

        // Damage and memory.
        /// Row 14: a damaged member votes.
        repairvotes,
        /// Row 5: a damaged member serves Fetch.
        fetchdamaged,
        /// Row 14: a damaged member's acks count.
        repairacks,
        /// Row 14: clean at the master's `committed`.
        cleanearly,
        /// Row 14: never clean again.
        cleannever,
        /// Row 4: no cut mark.
        nocutmark,
        /// Row 18: a member that found damage is accused of what the damage took.
        accusedamaged,
        /// Row 14: clean again does not set the cut mark.
        nocutclean,
        /// Row 12: an install does not set the cut mark.
        nocutinstall,

        // Liveness.
        /// Row 17: a master that hands over is gone once it has promised.
        exitearly,
        /// Row 17: a refusal is ignored.
        norefusal,
        /// Row 17: a refusal counts only with a higher epoch.
        refusehigher,
        /// Row 1: any master that is heard is valid, whatever its ballot.
        hearsany,
    }
}
