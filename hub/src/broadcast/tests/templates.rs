//! Keeping notices to be sent again.

use super::*;

#[tokio::test]
async fn templates_are_kept_listed_and_deleted_with_their_sounds() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        township.enter("site1", "TL-1").await;
        let make = async |more: Value| {
            let mut body = json!({"region_code": VILLAGE, "title": "停水"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            township.ask(head(), "POST", "/api/v1/templates", body).await
        };
        let text = make(json!({"text": " 今天停水 "})).await;
        assert_eq!((text.status.as_u16(), &text.body["text"]), (201, &json!("今天停水")), "{text:?}");
        assert!(text.body["sound_sha256"].is_null());
        let voice = make(json!({"sound_sha256": township.sound, "title": "自己录的"})).await;
        assert_eq!((voice.status.as_u16(), &voice.body["duration_ms"]), (201, &json!(4_000)), "{voice:?}");
        assert_eq!(township.notify(head(), VILLAGE, json!({"template": true, "title": "集合"})).await.status, 201);
        let links = "select count(*) from content_link where subject like 'template:%'";
        assert_eq!(township.number(links).await, 2);

        for wrong in [json!({}), json!({"text": " "}), json!({"sound_sha256": "ab"}), json!({"title": "", "text": "x"})]
        {
            assert_eq!(make(wrong.clone()).await.status, 422, "{wrong}");
        }
        let listed = township.ask(operator(), "GET", "/api/v1/templates", Value::Null).await;
        assert_eq!(listed.body["templates"].as_array().unwrap().len(), 3);
        let path = format!("/api/v1/templates/{}", voice.body["id"].as_str().unwrap());
        assert_eq!(township.ask(head(), "DELETE", &path, Value::Null).await.status, 204);
        assert_eq!(township.ask(head(), "DELETE", &path, Value::Null).await.status, 404);
        assert_eq!(township.number(links).await, 1);
    })
    .await;
}
