//! The village works alone: what is pressed while the line is cut arrives afterwards, and says that it is late.

use anyhow::Result;
use serde_json::{Value, json};
use tongluo_tests::button::Press;
use tongluo_tests::hub::HubPlan;
use tongluo_tests::line::Line;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::text;
use tongluo_tests::{clock, ports, wait};

use crate::house::{House, Store, VILLAGE, alarm_of, lorawan, zigbee};

/// From which age a press is late, in this story.
const LATE_AFTER_S: u32 = 1;

#[test]
fn presses_outlive_a_cut_line_a_killed_gateway_and_a_killed_broker() {
    play("outage", story);
}

async fn story(folder: &Folder) -> Result<()> {
    let mqtt_port = ports::free()?;
    let line = Line::to(mqtt_port).await?;
    let plan =
        HubPlan { mqtt_port, mqtt_public_port: Some(line.port()), late_after_s: LATE_AFTER_S, ..HubPlan::new()? };
    let house = House::new(folder, Store::Sqlite, plan).await?;
    let api = &house.api;
    let (mut village, mut lan) = house.village(folder, "village", VILLAGE).await?;

    line.cut();
    village.wait_until_offline(api).await?;
    lan.press(&zigbee().press(Press::Sos)).await?;
    village.gateway.kill()?;
    // Nobody hears this one now; the village's broker keeps it for the gateway.
    lan.publish(&lorawan().press(Press::Long, 1)).await?;
    village.gateway.run()?;
    lan.confirmed_of(&lorawan().key()).await?;
    let late_at = clock::now() + std::time::Duration::from_secs(u64::from(LATE_AFTER_S) + 1);
    wait::until("the presses to be late", async || Ok((clock::now() > late_at).then_some(()))).await?;
    assert_eq!(api.open_alarms().await?, Vec::<Value>::new(), "nothing comes through a line that is cut");

    line.mend();
    for source in [zigbee().key(), lorawan().key()] {
        let alarm = alarm_of(api, &source, "the press from before", |_| true).await?;
        assert_eq!((&alarm["presses"], &alarm["late"]), (&json!(1), &json!(true)), "{alarm}");
        let detail = api.get(&format!("/api/v1/alarms/{}", text(&alarm, "id")?)).await?;
        let story: Vec<_> = detail["timeline"].as_array().into_iter().flatten().map(|line| &line["what"]).collect();
        assert!(story.contains(&&json!("late")), "{story:?}");
        let occurred_before_raised = detail["raised_ms"].as_i64() > detail["occurred_ms"].as_i64();
        assert!(occurred_before_raised, "it tells when it happened: {detail}");
    }
    village.wait_until_online(api).await?;

    village.mosquitto.kill()?;
    village.mosquitto.run().await?;
    lan.press(&zigbee().press(Press::Sos)).await?;
    alarm_of(api, &zigbee().key(), "a press through the broker that came back", |alarm| alarm["presses"] == 2).await?;
    Ok(())
}
