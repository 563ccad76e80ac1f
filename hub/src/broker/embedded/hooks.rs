//! What rmqtt asks at each step, and our answers.

use std::sync::Arc;

use async_trait::async_trait;
use rmqtt::codec::cert::CertInfo;
use rmqtt::codec::types::QoS;
use rmqtt::codec::v3::Connect;
use rmqtt::codec::v5::PublishAckReason;
use rmqtt::context::ServerContext;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType, Type};
use rmqtt::session::Session;
use rmqtt::types::{
    AuthResult, ConnectInfo, Id, Publish, PublishAclResult, PublishResult, Subscribe, SubscribeAclResult,
};

use super::house::House;
use super::kick;
use crate::broker::PAYLOAD_BYTES_MAX;
use crate::broker::topic::{self, UpLeaf};
use crate::ids::SiteId;

/// Registers the hooks with rmqtt, and wakes them: they sleep until `start`.
pub(super) async fn install(context: &ServerContext, house: &Arc<House>) {
    let register = context.extends.hook_mgr().register();
    for step in [
        Type::ClientAuthenticate,
        Type::ClientConnected,
        Type::ClientDisconnected,
        Type::ClientSubscribeCheckAcl,
        Type::MessagePublishCheckAcl,
        Type::MessageAcked,
        Type::MessageDelivered,
        Type::MessageDropped,
    ] {
        register.add(step, Box::new(Hooks { house: Arc::clone(house), context: context.clone() })).await;
    }
    register.start().await;
}

struct Hooks {
    house: Arc<House>,
    context: ServerContext,
}

#[async_trait]
impl Handler for Hooks {
    async fn hook(&self, parameter: &Parameter, before: Option<HookResult>) -> ReturnType {
        let answer = match parameter {
            Parameter::ClientAuthenticate(connect) => Some(HookResult::AuthResult(self.authenticate(connect))),
            Parameter::ClientConnected(session) => {
                self.connected(session).await;
                before
            }
            Parameter::ClientDisconnected(session, _) => {
                self.house.left(&session.id);
                before
            }
            Parameter::ClientSubscribeCheckAcl(session, subscribe) => {
                Some(HookResult::SubscribeAclResult(self.subscribe(session, subscribe)))
            }
            Parameter::MessagePublishCheckAcl(session, publish) => {
                Some(HookResult::PublishAclResult(self.publish(session, publish)))
            }
            Parameter::MessageAcked(session, _, publish) => {
                self.release(&session.id, publish);
                before
            }
            // Nobody acknowledges QoS 0: handed to the socket is all there is to know.
            Parameter::MessageDelivered(session, _, publish) if publish.qos == QoS::AtMostOnce => {
                self.release(&session.id, publish);
                before
            }
            Parameter::MessageDropped(Some(session), _, publish, _) => {
                self.release(session, publish);
                before
            }
            _ => before,
        };
        (true, answer)
    }
}

impl Hooks {
    fn authenticate(&self, connect: &ConnectInfo) -> AuthResult {
        match self.refusal(connect) {
            None => AuthResult::Allow(false, None),
            Some(reason) => {
                self.house.counters.connects_refused.add();
                tracing::warn!(site.id = %connect.client_id(), reason, "a gateway was refused");
                AuthResult::NotAuthorized
            }
        }
    }

    /// Why a CONNECT is refused; `None` lets it in.
    fn refusal(&self, connect: &ConnectInfo) -> Option<&'static str> {
        if self.house.is_closing() {
            return Some("the hub is shutting down");
        }
        let ConnectInfo::V3(id, connect) = connect else {
            return Some("it speaks MQTT 5; gateways speak 3.1.1");
        };
        let site: &str = &id.client_id;
        if !topic::is_site_id(site) {
            return Some("its client id is not a site id");
        }
        let Some(certificate) = &connect.cert else {
            return Some("it has no certificate");
        };
        if certificate.common_name.as_deref() != Some(site) {
            return Some("its client id is not its certificate's common name");
        }
        let Some(serial) = serial(certificate) else {
            return Some("its certificate has no serial");
        };
        if !self.house.gate.allows(&SiteId::from_known(site), &serial) {
            return Some("its certificate is revoked or not the live one of its site");
        }
        if self.house.inbox.place(site).is_none() {
            return Some("there are too many sites");
        }
        will_refusal(site, connect)
    }

    async fn connected(&self, session: &Session) {
        self.house.arrived(session.id.clone());
        // Between the first look at the certificate and now it may have been revoked, too early for the session to be
        // found and ended. From here on it is found.
        let allowed = match session.connect_info().await {
            Ok(connect) => self.refusal(&connect).is_none(),
            Err(_) => false,
        };
        if !allowed {
            if let Some(connection) = self.house.connection_of(&session.id) {
                connection.revoke();
            }
            let (context, id) = (self.context.clone(), session.id.clone());
            tokio::spawn(async move { kick(&context, id).await });
        }
    }

    fn subscribe(&self, session: &Session, subscribe: &Subscribe) -> SubscribeAclResult {
        let site: &str = &session.id.client_id;
        if topic::may_subscribe(site, &subscribe.topic_filter) {
            return SubscribeAclResult::new_success(subscribe.opts.qos(), None);
        }
        self.house.counters.subscriptions_denied.add();
        tracing::warn!(site.id = site, topic.filter = %subscribe.topic_filter, "a subscription was refused");
        SubscribeAclResult::new_failure(rmqtt::codec::v5::SubscribeAckReason::NotAuthorized)
    }

    /// Takes a message, or denies it. Either way rmqtt acknowledges it and routes it nowhere: nobody subscribes to what
    /// gateways say.
    fn publish(&self, session: &Session, publish: &Publish) -> PublishAclResult {
        let site: &str = &session.id.client_id;
        let leaf = topic::may_publish(site, &publish.topic).filter(|leaf| {
            let retain_fits = !publish.retain || *leaf == UpLeaf::State;
            retain_fits && publish.qos != QoS::ExactlyOnce && publish.payload.len() <= PAYLOAD_BYTES_MAX
        });
        let connection = self.house.connection_of(&session.id).filter(|connection| !connection.is_revoked());
        let (Some(leaf), Some(connection)) = (leaf, connection) else {
            self.house.counters.received_denied.add();
            return PublishAclResult::rejected(false, None);
        };
        self.house.inbox.message(&connection.place, leaf, &publish.payload);
        PublishAclResult(PublishResult::reason_code(PublishAckReason::NoMatchingSubscribers, None, false))
    }

    fn release(&self, session: &Id, publish: &Publish) {
        if let Some(connection) = self.house.connection_of(session) {
            connection.release(publish.payload.len());
        }
    }
}

/// A last will passes rmqtt's access check by, so it is looked at here.
fn will_refusal(site: &str, connect: &Connect) -> Option<&'static str> {
    let will = connect.last_will.as_ref()?;
    if topic::may_publish(site, &will.topic) != Some(UpLeaf::State) {
        return Some("its last will is not for its own state");
    }
    (will.message.len() > PAYLOAD_BYTES_MAX).then_some("its last will is too large")
}

/// The serial as big-endian bytes without leading zeros; rmqtt gives it in hexadecimal.
fn serial(certificate: &CertInfo) -> Option<Vec<u8>> {
    let text = certificate.serial.as_deref()?;
    let padded = if text.len() % 2 == 0 { text.to_owned() } else { format!("0{text}") };
    let bytes: Option<Vec<u8>> =
        padded.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_become_bytes() {
        let serial_of = |text: &str| serial(&CertInfo { serial: Some(text.to_owned()), ..CertInfo::default() });
        assert_eq!(serial_of("1ff"), Some(vec![0x01, 0xff]));
        assert_eq!(serial_of("a0"), Some(vec![0xa0]));
        assert_eq!(serial_of("-5"), None);
        assert_eq!(serial_of("x"), None);
        assert_eq!(serial(&CertInfo::default()), None);
    }
}
