//! SQL of what the hub sent: its entries with their watermarks, how far each order has got, and the counters of their issuers.

use rusqlite::{OptionalExtension as _, params};
use tongluo_protocols::id::{Lane, Sequence, StreamKey};
use tongluo_protocols::order::ConfigurationOrder;

use super::store::{Store, conversion, entry, key};
use super::{OrderMemory, OrderState, Received};

impl Store {
    pub(super) fn watermark(&self, key: StreamKey) -> rusqlite::Result<Sequence> {
        self.connection
            .prepare_cached("select committed from received_stream where lane = ?1 and epoch = ?2")?
            .query_row(params![key.lane.number(), key.epoch.get()], |row| row.get(0))
            .optional()
            .map(|committed| committed.unwrap_or(0))
    }

    /// Entries, what was lost before them, and the watermark after them.
    pub(super) fn receive(&self, received: &Received) -> rusqlite::Result<()> {
        let (lane, epoch) = (received.key.lane.number(), received.key.epoch.get());
        for entry in &received.entries {
            self.connection
                .prepare_cached(
                    "insert into received_entry
                         (lane, epoch, sequence, boot_id, wall_ms, mono_ms, kind, body, state)
                     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'waiting')",
                )?
                .execute(params![
                    lane,
                    epoch,
                    entry.sequence,
                    entry.boot_id.get(),
                    entry.wall_ms,
                    entry.mono_ms,
                    entry.kind,
                    entry.body
                ])?;
        }
        if let Some((from, to)) = received.lost {
            self.connection
                .prepare_cached(
                    "insert or replace into received_lost (lane, epoch, from_sequence, to_sequence)
                     values (?1, ?2, ?3, ?4)",
                )?
                .execute(params![lane, epoch, from, to])?;
        }
        self.connection
            .prepare_cached("insert or replace into received_stream (lane, epoch, committed) values (?1, ?2, ?3)")?
            .execute(params![lane, epoch, received.committed_after])
            .map(drop)
    }

    /// Keeps the newest `count_max` entries of the hub's, and those that still count, such as delegations.
    pub(super) fn bound_received(&self, count_max: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "delete from received_entry
                 where id <= (select max(id) from received_entry) - ?1 and state != 'admitted'",
            )?
            .execute([count_max])
            .map(drop)
    }

    /// What is to be known of orders at a start. The configuration that was followed last counts as unfinished, so that its
    /// document is fetched again should it have got lost.
    pub(super) fn order_memory(&self) -> rusqlite::Result<OrderMemory> {
        let unfinished = self
            .connection
            .prepare(
                "select sequence, boot_id, wall_ms, mono_ms, kind, body, lane, epoch, state from received_entry
                 where state in ('waiting', 'held', 'admitted')
                    or id = (select max(id) from received_entry where kind = ?1 and state = 'done') order by id",
            )?
            .query_map([ConfigurationOrder::KIND], |row| {
                let state: String = row.get(8)?;
                let state = match state.as_str() {
                    "waiting" => OrderState::Waiting,
                    "held" => OrderState::Held,
                    _ => OrderState::Admitted,
                };
                Ok((key(row, 6)?, entry(row)?, state))
            })?
            .collect::<Result<_, _>>()?;
        let floors = self
            .connection
            .prepare("select issuer, lane, counter from order_floor")?
            .query_map([], |row| {
                let lane = Lane::from_number(row.get(1)?).map_err(|error| conversion(1, error))?;
                Ok((row.get(0)?, lane, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        Ok(OrderMemory { unfinished, floors })
    }

    pub(super) fn put_order_state(
        &self,
        key: StreamKey,
        sequence: Sequence,
        state: OrderState,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("update received_entry set state = ?4 where lane = ?1 and epoch = ?2 and sequence = ?3")?
            .execute(params![key.lane.number(), key.epoch.get(), sequence, state.name()])
            .map(drop)
    }

    /// Raises a floor; one is never lowered.
    pub(super) fn put_order_floor(&self, issuer: &str, lane: Lane, counter: u64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "insert into order_floor (issuer, lane, counter) values (?1, ?2, ?3)
                 on conflict (issuer, lane) do update set counter = max(counter, excluded.counter)",
            )?
            .execute(params![issuer, lane.number(), counter])
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn a_journal_of_before_there_were_orders_is_taken_over() {
        let dir = TempDir::new("journal-layout-1");
        let path = dir.path().join("journal.db");
        let store = Store::open(&path).unwrap();
        store.connection.execute_batch("drop table order_floor; drop table play; pragma user_version = 1").unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        store.put_order_floor("root", Lane::Urgent, 3).unwrap();
        assert_eq!(store.order_memory().unwrap().floors, [("root".to_owned(), Lane::Urgent, 3)]);
    }
}
