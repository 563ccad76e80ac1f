//! What an order orders, by its kind.

use super::{AlarmWord, Broadcast, ClockAnswer, ConfigurationOrder, Delegation, Order, Stop};
use crate::Error;

/// The body of an order, read by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Kind 1: follow this configuration.
    Configuration(ConfigurationOrder),
    /// Kind 2: let this be heard.
    Broadcast(Broadcast<'a>),
    /// Kind 3: be silent.
    Stop(Stop<'a>),
    /// Kind 4: somebody else may order, too.
    Delegation(Delegation<'a>),
    /// Kind 5: what time it is.
    ClockAnswer(ClockAnswer<'a>),
    /// Kind 6: what people did about a press.
    AlarmWord(AlarmWord<'a>),
    /// A kind that this code does not know. It is kept, said to be refused, and not carried out.
    Unknown,
}

impl<'a> Order<'a> {
    /// Reads what is ordered.
    pub fn body(&self) -> Result<Body<'a>, Error> {
        Ok(match self.kind {
            ConfigurationOrder::KIND => Body::Configuration(ConfigurationOrder::parse(self.body)?),
            Broadcast::KIND => Body::Broadcast(Broadcast::parse(self.body)?),
            Stop::KIND => Body::Stop(Stop::parse(self.body)?),
            Delegation::KIND => Body::Delegation(Delegation::parse(self.body)?),
            ClockAnswer::KIND => Body::ClockAnswer(ClockAnswer::parse(self.body)?),
            AlarmWord::KIND => Body::AlarmWord(AlarmWord::parse(self.body)?),
            _ => Body::Unknown,
        })
    }
}
