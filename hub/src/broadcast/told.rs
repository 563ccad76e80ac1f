//! Which sounds a gateway was told of: those that all have at hand, and those of notices that were sent to its loudspeakers.

use async_trait::async_trait;
use tongluo_protocols::content::ContentHash;

use super::BroadcastRoom;
use crate::content::Told;
use crate::ids::SiteId;

#[async_trait]
impl Told for BroadcastRoom {
    async fn was_told(&self, site: &SiteId, hash: &ContentHash) -> Result<bool, sqlx::Error> {
        let found: Option<String> = sqlx::query_scalar(
            "select sha256 from named_sound where sha256 = $1 union all \
             select notice.sound_sha256 from notice join notice_speaker on notice_speaker.notice_id = notice.id \
             where notice.sound_sha256 = $1 and notice.sent_ms is not null and notice_speaker.site_id = $2 limit 1",
        )
        .bind(hash.to_string())
        .bind(site.as_str())
        .fetch_optional(self.store.reader())
        .await?;
        Ok(found.is_some())
    }
}
