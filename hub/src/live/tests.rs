//! The change log with several writers at once.

use std::time::Duration;

use serde_json::json;

use super::{Draft, Live, append, current, expire, store};
use crate::store::Store;
use crate::store::testing::{VILLAGE, each_store, region};

fn draft(subject: String) -> Draft {
    Draft { kind: "alarm", region: region(VILLAGE), subject, body: json!({}) }
}

/// One writer: takes its counter, and commits only after others had every chance to overtake it.
async fn write(store: Store, writer: usize, rounds: usize) {
    for round in 0..rounds {
        let mut transaction = store.begin().await.unwrap();
        let drafts = [draft(format!("{writer}/{round}/a")), draft(format!("{writer}/{round}/b"))];
        append(&mut transaction, 0, &drafts).await.unwrap();
        tokio::time::timeout(Duration::from_millis((writer as u64 * 7) % 5), std::future::pending::<()>())
            .await
            .unwrap_err();
        if round % 5 == 4 {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
        }
    }
}

#[tokio::test]
async fn whoever_follows_misses_nothing_and_sees_the_order_of_commits() {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 10;
    const EVENTS: usize = WRITERS * (ROUNDS - ROUNDS / 5) * 2;
    each_store(async |store| {
        let live = Live::open(store.clone()).await.unwrap();
        let mut tail = live.tail.subscribe();
        let follower = tokio::spawn(live.clone().run());
        let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer, ROUNDS))).collect();
        for expected in 1..=EVENTS as i64 {
            let event = tokio::time::timeout(Duration::from_secs(20), tail.recv()).await.unwrap().unwrap();
            assert_eq!(event.sequence, expected, "no gap, no repeat, no overtaking");
        }
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(current(&mut store.reader().acquire().await.unwrap()).await.unwrap(), EVENTS as i64);
        follower.abort();
        let _ = follower.await;
    })
    .await;
}

#[tokio::test]
async fn an_empty_log_begins_at_one_and_keeps_what_is_new() {
    each_store(async |store| {
        assert_eq!(store::oldest(store.reader()).await.unwrap(), 1);
        let mut transaction = store.begin().await.unwrap();
        append(&mut transaction, 0, &[draft("a".to_owned())]).await.unwrap();
        assert_eq!(expire(&mut transaction).await.unwrap(), 0);
        transaction.commit().await.unwrap();
        assert_eq!(store::after(store.reader(), 0, 10).await.unwrap().len(), 1);
    })
    .await;
}
