//! Producers: what each knows, and what it has asked for.

use super::*;

/// Which producer it is, and which run of it.
pub(super) type Instance = (usize, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// To begin as one who was never there.
    Begin,
    /// To go on after an error.
    GoOn,
    Add(u32),
    Verify(u32),
    End(Decision),
}

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) from: Instance,
    pub(super) ask: Ask,
    /// Who it says to be.
    pub(super) producer: Option<Producer>,
    pub(super) version: Version,
}

/// What a client waits for.
#[derive(Clone, Debug)]
pub(super) enum Waits {
    Nothing,
    Answer(Request),
    /// The answer was lost.
    Lost(Request),
}

/// What a client was told to take part in its transaction.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) participants: BTreeSet<Participant>,
}

#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) instance: Instance,
    pub(super) version: Version,
    pub(super) producer: Option<Producer>,
    pub(super) waits: Waits,
    pub(super) told: Option<Told>,
}

impl Client {
    pub(super) fn new(index: usize) -> Self {
        Self {
            instance: (index, 0),
            version: if index.is_multiple_of(2) { Two } else { One },
            producer: None,
            waits: Waits::Nothing,
            told: None,
        }
    }

    /// The request for something, if the client is one who would ask for it now.
    pub(super) fn ask(&mut self, ask: Ask) -> Option<Request> {
        let may = match (&self.waits, ask) {
            // It crashes at any time.
            (_, Ask::Begin) => true,
            (Waits::Nothing, _) => self.producer.is_some(),
            // It gives up what it does not hear of; but not an end, of which it must know how it was.
            (Waits::Lost(lost), Ask::GoOn | Ask::End(Abort)) => {
                self.producer.is_some() && matches!(lost.ask, Ask::Add(_) | Ask::Verify(_))
            }
            (Waits::Answer(_) | Waits::Lost(_), _) => false,
        };
        if !may {
            return None;
        }
        if ask == Ask::Begin {
            self.instance.1 += 1;
            self.producer = None;
            self.told = None;
        }
        let request = Request {
            from: self.instance,
            ask,
            producer: self.producer,
            version: self.version,
        };
        self.waits = Waits::Answer(request.clone());
        Some(request)
    }

    /// The request whose answer was lost.
    pub(super) fn ask_again(&mut self) -> Option<Request> {
        let Waits::Lost(request) = &self.waits else {
            return None;
        };
        let request = request.clone();
        self.waits = Waits::Answer(request.clone());
        Some(request)
    }

    pub(super) fn lose(&mut self) {
        if let Waits::Answer(request) = &self.waits {
            self.waits = Waits::Lost(request.clone());
        }
    }
}

pub(super) fn participant(index: u32) -> Participant {
    if index == PARTICIPANTS {
        group("g")
    } else {
        partition(index)
    }
}
