//! Compares the generators' record with the ledger, which it reads by itself: none of the system's code, types or interface
//! decides what is right here.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};

use crate::generator::Record;

/// Lane and kind of a press in the journal's entries (docs/protocol.md).
const URGENT: i64 = 0;
const PRESS: i64 = 1;

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict {
    /// Presses in the ledger. Some of them were never confirmed: the village's broker died with the word.
    pub(crate) in_ledger: usize,
    pub(crate) alarms: usize,
    pub(crate) lost: usize,
    pub(crate) twice: usize,
}

/// Looks at the whole ledger.
///
/// # Errors
/// It cannot be read, or it contradicts itself.
pub(crate) async fn check(address: &str, records: &[(String, Record)]) -> Result<Verdict> {
    sqlx::any::install_default_drivers();
    let mut ledger = AnyConnection::connect(address).await.context("the ledger cannot be opened")?;
    let presses = presses(&mut ledger).await?;
    let entries = entries(&mut ledger).await?;
    let mut verdict = Verdict { in_ledger: presses.len(), ..Verdict::default() };

    let mut times_pressed: HashMap<(&str, &str), usize> = HashMap::new();
    let mut times_of_frame: HashMap<(&str, &str), usize> = HashMap::new();
    for press in &presses {
        *times_pressed.entry((&press.site_id, &press.press_id)).or_default() += 1;
        if let Some(key) = press.source_key.as_deref().filter(|key| is_frame(key)) {
            *times_of_frame.entry((&press.site_id, key)).or_default() += 1;
        }
    }
    let mut times_entered: HashMap<(&str, &str), usize> = HashMap::new();
    for (site_id, press_id) in &entries {
        *times_entered.entry((site_id, press_id)).or_default() += 1;
    }

    for (site_id, record) in records {
        for id in record.confirmed.keys() {
            let place = (site_id.as_str(), id.as_str());
            let times = |of: &HashMap<_, usize>| of.get(&place).copied().unwrap_or_default();
            verdict.lost += usize::from(times(&times_pressed) == 0 || times(&times_entered) == 0);
        }
        for (key, id) in &record.by_source_key {
            let is_there = presses.iter().any(|press| press.press_id == *id && press.source_key.as_ref() == Some(key));
            verdict.lost += usize::from(!is_there);
        }
    }
    let repeated = |of: &HashMap<_, usize>| of.values().filter(|times| **times > 1).count();
    verdict.twice = repeated(&times_pressed) + repeated(&times_entered) + repeated(&times_of_frame);

    let (pressed, entered): (HashSet<_>, HashSet<_>) =
        (times_pressed.keys().copied().collect(), times_entered.keys().copied().collect());
    ensure!(pressed == entered, "presses and journal entries differ: {:?}", pressed.symmetric_difference(&entered));
    verdict.alarms = alarms_count_their_presses(&mut ledger, &presses).await?;
    ledger.close().await?;
    Ok(verdict)
}

/// `devEui/fCnt/…`: 16 hexadecimal digits first. Zigbee has no number of its own.
fn is_frame(key: &str) -> bool {
    key.split('/').next().is_some_and(|dev_eui| dev_eui.len() == 16 && dev_eui.bytes().all(|b| b.is_ascii_hexdigit()))
}

struct LedgerPress {
    site_id: String,
    press_id: String,
    alarm_id: String,
    source_key: Option<String>,
}

async fn presses(ledger: &mut AnyConnection) -> Result<Vec<LedgerPress>> {
    let rows = sqlx::query("select site_id, press_id, alarm_id, source_key from press").fetch_all(ledger).await?;
    let press = |row: &AnyRow| {
        Ok(LedgerPress {
            site_id: row.try_get(0)?,
            press_id: row.try_get(1)?,
            alarm_id: row.try_get(2)?,
            source_key: row.try_get(3)?,
        })
    };
    rows.iter().map(press).collect()
}

/// Site and press id of every press in the journals, as they came.
async fn entries(ledger: &mut AnyConnection) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query("select site_id, epoch, sequence from entry where lane = $1 and kind = $2")
        .bind(URGENT)
        .bind(PRESS)
        .fetch_all(ledger)
        .await?;
    let id = |row: &AnyRow| {
        let (epoch, sequence): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        Ok((row.try_get(0)?, format!("{epoch:016x}-{sequence}")))
    };
    rows.iter().map(id).collect()
}

async fn alarms_count_their_presses(ledger: &mut AnyConnection, presses: &[LedgerPress]) -> Result<usize> {
    let rows = sqlx::query("select id, presses from alarm where kind = 'sos'").fetch_all(ledger).await?;
    for row in &rows {
        let (id, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let held = presses.iter().filter(|press| press.alarm_id == id).count();
        ensure!(i64::try_from(held) == Ok(count), "alarm {id} says {count} presses and has {held}");
    }
    Ok(rows.len())
}
