// SPDX-License-Identifier: MIT
//! src/shm/member.c and the opening of lanes in src/shm/lane.c

use crate::explore::R;
use crate::pool::*;

impl Member {
    /// shm/lane.c:ltz__lane_open
    pub async fn lane_open(&self) -> R<()> {
        let (cpu, used) = (&self.cpu, self.pool.lane[self.lane].used.unwrap());

        cpu.raise_acq_rel("shm/lane.c:ltz__lane_open", used, 1).await?;
        cpu.fence_full("shm/lane.c:ltz__lane_open").await
    }

    /// shm/member.c:join_row, with the row's lock held, and shm/member.c:clear_row.
    pub async fn join_row(&self) -> R<()> {
        let (cpu, lane) = (&self.cpu, self.pool.lane[self.lane]);
        let row = lane.row.unwrap();
        let word = cpu.load_acquire("shm/member.c:join_row word", row).await?;

        cpu.cas_seq_cst("shm/member.c:join_row word", row, word, row_word((word >> 1) + 1, 1)).await?;
        self.clear_row(lane).await
    }

    /// shm/member.c:ltz__label_lives, of a label that is a lane's number + 1.
    pub async fn label_lives(&self, label: u64) -> R<bool> {
        match self.pool.lane[label as usize - 1].row {
            Some(row) => Ok(row_up(self.cpu.load_acquire("shm/member.c:ltz__label_lives", row).await?)),
            None => Ok(true),
        }
    }

    async fn clear_row(&self, lane: Lane) -> R<()> {
        self.cpu.store_release("shm/member.c:clear_row hw", lane.hw, 0).await?;
        self.cpu.store_release("shm/member.c:clear_row hr", lane.hr, 0).await
    }
}
