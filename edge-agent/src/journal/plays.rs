//! SQL of which broadcast was begun at which loudspeaker: what must never begin a second time.

use rusqlite::params;

use super::store::Store;
use super::{PlayMark, PlayMarked};

/// What layout 3 has and layout 2 had not.
pub(super) const PLAY: &str = "
    create table play (
        id integer primary key,             -- in order of beginning
        broadcast text not null,
        speaker text not null,              -- the loudspeaker, by the configuration's id
        mark text not null,                 -- see PlayMark
        constraint play_key unique (broadcast, speaker)
    ) strict;
";

/// How many marks are kept: those of the last four thousand plays. An order that is older than these is stale, or its counter
/// is known.
const PLAYS_MAX: i64 = 4_096;

impl PlayMark {
    fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Over => "over",
        }
    }
}

impl Store {
    /// Marks a play; one that is over stays so.
    pub(super) fn put_play(&self, broadcast: &str, speaker: &str, mark: PlayMark) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "insert into play (broadcast, speaker, mark) values (?1, ?2, ?3)
                 on conflict (broadcast, speaker) do update set mark = excluded.mark where mark != 'over'",
            )?
            .execute(params![broadcast, speaker, mark.name()])?;
        self.connection
            .prepare_cached("delete from play where id <= (select max(id) from play) - ?1")?
            .execute([PLAYS_MAX])
            .map(drop)
    }

    /// All marks, in the order in which they were begun.
    pub(super) fn plays(&self) -> rusqlite::Result<Vec<PlayMarked>> {
        self.connection
            .prepare("select broadcast, speaker, mark from play order by id")?
            .query_map([], |row| {
                let mark: String = row.get(2)?;
                let mark = if mark == "begun" { PlayMark::Begun } else { PlayMark::Over };
                Ok(PlayMarked { broadcast: row.get(0)?, speaker: row.get(1)?, mark })
            })?
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn what_was_begun_is_known_at_the_next_start_and_what_is_over_stays_so() {
        let dir = TempDir::new("journal-plays");
        let path = dir.path().join("journal.db");
        let store = Store::open(&path).unwrap();
        store.put_play("b1", "s1", PlayMark::Begun).unwrap();
        store.put_play("b1", "s2", PlayMark::Begun).unwrap();
        store.put_play("b1", "s1", PlayMark::Over).unwrap();
        store.put_play("b1", "s1", PlayMark::Begun).unwrap();
        drop(store);
        let plays = Store::open(&path).unwrap().plays().unwrap();
        let marks: Vec<_> = plays.iter().map(|play| (play.speaker.as_str(), play.mark)).collect();
        assert_eq!(marks, [("s1", PlayMark::Over), ("s2", PlayMark::Begun)]);
    }

    #[test]
    fn marks_are_bounded() {
        let dir = TempDir::new("journal-plays-bound");
        let store = Store::open(&dir.path().join("journal.db")).unwrap();
        assert!(store.stock_up(4 << 20, 1 << 20).unwrap(), "disk space for so many");
        store.begin().unwrap();
        for number in 0..PLAYS_MAX + 7 {
            store.put_play(&number.to_string(), "s1", PlayMark::Over).unwrap();
        }
        store.commit().unwrap();
        let plays = store.plays().unwrap();
        assert_eq!((plays.len() as i64, plays[0].broadcast.as_str()), (PLAYS_MAX, "7"));
    }

    #[test]
    fn a_journal_of_before_there_were_broadcasts_is_taken_over() {
        let dir = TempDir::new("journal-layout-2");
        let path = dir.path().join("journal.db");
        let store = Store::open(&path).unwrap();
        store.connection.execute_batch("drop table play; pragma user_version = 2").unwrap();
        drop(store);
        Store::open(&path).unwrap().put_play("b1", "s1", PlayMark::Begun).unwrap();
    }
}
