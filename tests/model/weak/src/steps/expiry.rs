// SPDX-License-Identifier: MIT
//! src/store/due.h and src/store/expiry.c, for one extent. Times are small numbers.

use crate::explore::R;
use crate::pool::*;

pub const NEVER: u64 = u64::MAX;
const SWEEPING: u64 = 1 << 63;
const TIME: u64 = (1 << 50) - 1;
pub const LATE: u64 = 1000;
const TRIES: usize = 4;

/// store/due.h:due_marker
fn due_marker(row: usize, now: u64) -> u64 {
    SWEEPING | (row as u64) << 50 | now
}

/// store/due.h:due_is_come
pub fn due_is_come(due: u64, now: u64) -> bool {
    due != NEVER && if due & SWEEPING != 0 { (due & TIME) + LATE <= now } else { due <= now }
}

impl Member {
    /// store/due.h:due_announce
    pub async fn due_announce(&self, expires: u64) -> R<()> {
        let (cpu, word) = (&self.cpu, self.pool.due.unwrap());
        let plain = cpu.broken("store/due.h:due_announce", "a load for the fetch_or");

        for attempt in 1..=TRIES {
            self.begins(attempt);
            let due = if plain {
                cpu.load_acquire("store/due.h:due_announce load", word).await?
            } else {
                cpu.fetch_or_seq_cst("store/due.h:due_announce", word, 0).await?
            };
            let mut lower = expires;
            if due != NEVER && due & SWEEPING != 0 && (due & TIME) + LATE < lower {
                lower = (due & TIME) + LATE;
            }
            if due <= lower || cpu.cas_seq_cst("store/due.h:due_announce lower", word, due, lower).await? {
                self.returns(0);
                return Ok(());
            }
        }
        cpu.give_up()
    }

    /// store/expiry.c:sweep_block: when the record is to be looked at again. What has expired counts as deleted.
    async fn sweep_block(&self, b: usize, now: u64) -> R<u64> {
        let (cpu, block) = (&self.cpu, self.block(b));
        let version = cpu.load_acquire("store/expiry.c:sweep_block version", block.version).await?;
        let meta = cpu.load_acquire("store/expiry.c:sweep_block meta", block.meta).await?;

        if version == 0 || version_of(meta) == 0 {
            return Ok(NEVER);
        }
        if expiry_of(meta) > now {
            return Ok(expiry_of(meta));
        }
        let key = cpu.load_relaxed("store/expiry.c:sweep_block key", block.value).await?;
        cpu.fence_acquire("store/expiry.c:sweep_block");
        if cpu.load_acquire("store/expiry.c:sweep_block version again", block.version).await? != version {
            return Ok(expiry_of(meta));
        }
        let mixed = version_of(meta) != version || version_of(key) != version;
        cpu.check(!mixed, "the sweep took a mixture for a record")?;
        Ok(NEVER)
    }

    /// store/expiry.c:sweep_extent, by the sweeper of that row at that time.
    pub async fn sweep_extent(&self, s: usize, now: u64) -> R<()> {
        let (cpu, slab, word) = (&self.cpu, self.pool.slab[s], self.pool.due.unwrap());
        let row = if cpu.broken("store/due.h:due_marker", "without its row") { 0 } else { self.lane };
        let (marker, mut next) = (due_marker(row, now), NEVER);
        let late = cpu.broken("store/expiry.c:sweep_extent", "versions before the exchange");

        if !late {
            cpu.exchange_seq_cst("store/expiry.c:sweep_extent", word, marker).await?;
        }
        let alloc = cpu.load_acquire("store/expiry.c:sweep_extent alloc", slab.alloc).await?;
        let retired = cpu.load_acquire("store/expiry.c:sweep_extent retired", slab.retired).await?;
        for b in (1..=self.pool.block.len())
            .filter(|&b| self.block(b).slab == s && alloc & !retired & self.block(b).bit != 0)
        {
            next = next.min(self.sweep_block(b, now).await?);
        }
        if late {
            cpu.exchange_seq_cst("store/expiry.c:sweep_extent", word, marker).await?;
        }
        self.needs(&[50, next]);
        if cpu.broken("store/expiry.c:sweep_extent close", "a store") {
            cpu.store_release("store/expiry.c:sweep_extent close store", word, next).await?;
        } else if !cpu.cas_seq_cst("store/expiry.c:sweep_extent close", word, marker, next).await? {
            cpu.lower_seq_cst("store/expiry.c:sweep_extent lower", word, next).await?;
        }
        self.returns(0);
        Ok(())
    }

    /// store/expiry.c:sweep_pinned. Whether the extent was still what it was.
    pub async fn sweep_pinned(&self, s: usize, now: u64) -> R<bool> {
        let (cpu, lane, owner) = (&self.cpu, self.pool.lane[self.lane], self.pool.slab[s].owner.unwrap());
        let word = cpu.load_acquire("store/expiry.c:ltz__sweep owner", owner).await?;

        if owner_kind(word) != OWNER_SLAB {
            return Ok(false);
        }
        let due = cpu.load_acquire("store/expiry.c:ltz__sweep due", self.pool.due.unwrap()).await?;
        if due == NEVER {
            return Ok(false);
        }
        let first = (1..=self.pool.block.len()).find(|&b| self.block(b).slab == s).unwrap();
        cpu.store_release("store/expiry.c:sweep_pinned hr", lane.hr, first as u64).await?;
        cpu.fence_hazard(self.pool.mode, "store/expiry.c:sweep_pinned").await?;
        let same = cpu.broken("store/expiry.c:sweep_pinned owner", "left out")
            || cpu.load_acquire("store/expiry.c:sweep_pinned owner", owner).await? == word;
        let early = cpu.broken("store/expiry.c:sweep_pinned done", "before the sweep");
        if early {
            cpu.store_release("store/expiry.c:sweep_pinned done", lane.hr, 0).await?;
        }
        if same {
            self.sweep_extent(s, now).await?;
            cpu.check(cpu.last(owner) >> 20 == word >> 20, "a sweep wrote into an extent that had changed hands")?;
        }
        if !early {
            cpu.store_release("store/expiry.c:sweep_pinned done", lane.hr, 0).await?;
        }
        Ok(same)
    }
}

/// In these scenarios a record expires at 100 times its version.
pub fn expiry_of(meta: u64) -> u64 {
    100 * version_of(meta)
}
