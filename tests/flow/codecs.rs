//! Cameras as they are sold: H.265 with an H.264 sub stream, keyframes that do not forget what was before them, B-frames.
//!
//! Whatever the main stream is, it is recorded and taken out as it came; live, everybody sees the sub stream. (As evidence:
//! `evidence`, in which two cameras are of this kind.)

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tongluo_tests::devices::{Camera, Codec, Plan, Recipe, face};
use tongluo_tests::hub::HubPlan;
use tongluo_tests::scene::play;
use tongluo_tests::viewing;
use tongluo_tests::village::Village;

use crate::cameras::{enter, until_state};
use crate::exports::take_out;
use crate::house::{House, Store, VILLAGE};
use crate::recordings::movies;

/// Messages of a live picture: the head, the group under way, and two seconds of pictures.
const LIVE_MESSAGES: usize = 52;

#[test]
fn whatever_a_camera_sends_is_recorded_and_taken_out_as_it_came() {
    play("codecs", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let api = &house.api;
        let mut village = Village::start(&folder.path().join("village"), api, "village", VILLAGE).await?;
        let films = folder.inside("film")?;
        let mut cameras = Vec::new();
        for recipe in [Recipe::TINY_H265, Recipe::TINY_OPEN_GOP, Recipe::TINY_B_FRAMES] {
            let camera = Camera::start(Plan::new(recipe, Recipe::TINY_SUB)).await?;
            let id = enter(api, &village.site_id, &recipe.to_string(), &camera).await?;
            cameras.push((camera, id, recipe));
        }
        for (_, id, recipe) in &cameras {
            let ok = until_state(api, id, "ok").await.with_context(|| recipe.to_string())?;
            let codec = if recipe.codec == Codec::H265 { "h265" } else { "h264" };
            assert_eq!(ok["main"], json!({ "codec": codec, "width": 320, "height": 180 }), "{ok}");
        }
        for (_, id, recipe) in &cameras {
            let live = films.join(format!("{id}-live.mp4"));
            let path = format!("/api/v1/cameras/{id}/live?quality=sub");
            std::fs::write(&live, viewing::film(api, &path, LIVE_MESSAGES).await?)?;
            is_whole(&live, Recipe::TINY_SUB).with_context(|| format!("live beside {recipe}"))?;
            let export = films.join(format!("{id}.mp4"));
            take_out(api, id, &export).await.with_context(|| recipe.to_string())?;
            is_whole(&export, *recipe).with_context(|| format!("taken out of {recipe}"))?;
        }
        village.gateway.stop().await?;
        for (_, id, recipe) in &cameras {
            for movie in movies_of(&folder.path().join("village/gateway/recordings"), id)? {
                is_whole(&movie, *recipe).with_context(|| format!("recorded of {recipe}"))?;
            }
        }
        Ok(())
    });
}

fn movies_of(recordings: &Path, camera: &str) -> Result<Vec<PathBuf>> {
    let mut mine = movies(recordings)?;
    mine.retain(|movie| movie.starts_with(recordings.join(camera)));
    ensure!(!mine.is_empty(), "nothing is recorded of {camera}");
    Ok(mine)
}

/// A film is of the recipe's codec, has every picture, and can be begun at each of the keyframes that the camera sent.
fn is_whole(film: &Path, recipe: Recipe) -> Result<()> {
    let codec = if recipe.codec == Codec::H265 { "hevc" } else { "h264" };
    let looked = face::look(film)?;
    ensure!(looked.codec == codec, "{} is {}", film.display(), looked.codec);
    face::read_whole(film, recipe)?;
    // An open group begins one picture early at the seam of the file that the camera plays, where a closed one lies.
    let (gop, early, keys) = (recipe.gop_frames as usize, usize::from(recipe.open_gop), &looked.keyframes);
    ensure!(keys.first() == Some(&0), "it begins with a keyframe: {keys:?}");
    let are_all = keys.len() > 1 && keys.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(gop) <= early);
    ensure!(are_all, "keyframes at {keys:?}");
    Ok(())
}
