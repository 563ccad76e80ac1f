//! How much the journal may take, and what goes first when that is not enough. Pure: numbers in, a decision out.
//!
//! Two bounds, of different nature. The **budget** is ours: above it acknowledged entries are dropped, then routine ones are
//! thinned, then new routine ones are refused. The **disk** is everybody's, and can be filled by a camera's recordings at any
//! moment: against that the **reserve** holds blocks of zeros which are given up, one by one, when a press finds no room.

use crate::config::JournalConfig;

/// The size of a block of the reserve: some four thousand presses, and a commit that lasts milliseconds when it is taken.
pub(super) const BLOCK_BYTES: u32 = 1024 * 1024;

/// After the budget was exceeded, routine entries are welcome again below this part of it.
const WELCOME_PERCENT: u64 = 95;

/// What has to happen now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Measure {
    /// Nothing.
    None,
    /// Drop acknowledged entries, and if there are none, thin routine ones.
    MakeRoom,
}

/// The bounds, and whether they are exceeded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    budget_bytes: u64,
    blocks_wanted: u32,
    blocks: u32,
    bytes_used: u64,
    /// Whether routine entries are refused.
    refusing: bool,
    /// What was last said about that; `None` before anything was.
    told: Option<bool>,
}

impl Space {
    pub(super) fn new(config: &JournalConfig, blocks: u32, bytes_used: u64) -> Self {
        let mut space = Self {
            budget_bytes: u64::from(config.space_mib) * 1024 * 1024,
            blocks_wanted: config.reserve_mib,
            blocks,
            bytes_used: 0,
            refusing: false,
            told: None,
        };
        space.measured(bytes_used);
        space
    }

    /// Takes note of how many bytes the file uses, the reserve included.
    pub(super) fn measured(&mut self, bytes_used: u64) {
        self.bytes_used = bytes_used.saturating_sub(u64::from(self.blocks) * u64::from(BLOCK_BYTES));
    }

    /// Takes note of a change of the reserve.
    pub(super) fn reserved(&mut self, blocks: u32) {
        self.blocks = blocks;
    }

    pub(super) fn measure(&self) -> Measure {
        if self.bytes_used > self.budget_bytes { Measure::MakeRoom } else { Measure::None }
    }

    /// Decides about new routine entries; `Some` is to be told: `true` from now on they are refused. The first decision is
    /// always told, since it ends what an earlier run may have told.
    ///
    /// They are refused while the file is above its budget even though room was made, and while the reserve is being used up:
    /// what presses gave up must not be filled by anything else.
    pub(super) fn judge(&mut self, disk_is_full: bool) -> Option<bool> {
        self.refusing = if self.refusing {
            disk_is_full
                || self.blocks < self.blocks_wanted
                || self.bytes_used * 100 > self.budget_bytes * WELCOME_PERCENT
        } else {
            disk_is_full || self.bytes_used > self.budget_bytes
        };
        (self.told.replace(self.refusing) != Some(self.refusing)).then_some(self.refusing)
    }

    pub(super) fn refuses_routine(&self) -> bool {
        self.refusing
    }

    /// Whether the reserve lacks a block.
    pub(super) fn wants_block(&self) -> bool {
        self.blocks < self.blocks_wanted
    }

    pub(super) fn blocks(&self) -> u32 {
        self.blocks
    }

    pub(super) fn bytes_used(&self) -> u64 {
        self.bytes_used
    }

    pub(super) fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn space() -> Space {
        Space::new(&JournalConfig { space_mib: 10, reserve_mib: 4, acked_days: 7 }, 4, 4 * MIB)
    }

    #[test]
    fn the_reserve_does_not_count_as_used() {
        let mut space = space();
        assert_eq!(space.bytes_used(), 0);
        space.measured(14 * MIB);
        assert_eq!(space.measure(), Measure::None);
        space.measured(14 * MIB + 1);
        assert_eq!(space.measure(), Measure::MakeRoom);
    }

    #[test]
    fn routine_is_refused_above_the_budget_and_welcome_only_well_below_it() {
        let mut space = space();
        assert_eq!(space.judge(false), Some(false), "the first decision is told");
        space.measured(14 * MIB + 1);
        assert_eq!(space.judge(false), Some(true));
        space.measured(14 * MIB - 1);
        assert_eq!(space.judge(false), None, "just below the bound it would flap");
        assert!(space.refuses_routine());
        space.measured(13 * MIB);
        assert_eq!(space.judge(false), Some(false));
    }

    #[test]
    fn what_a_full_disk_made_presses_use_is_not_for_routine() {
        let mut space = space();
        assert_eq!(space.judge(true), Some(true));
        space.reserved(3);
        assert_eq!(space.judge(false), None, "a block is missing: the disk may still be full");
        assert!(space.wants_block());
        space.reserved(4);
        assert_eq!(space.judge(false), Some(false));
    }
}
