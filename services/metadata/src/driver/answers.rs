//! The answers of one state machine, each after the writes that it hangs on.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::Held;

/// Answers that wait for what is on its way to the store.
#[derive(Debug)]
pub(crate) struct Answers<E> {
    /// Of what happens now.
    turn: Vec<Held<E>>,
    /// Writes on their way, oldest first.
    in_flight: VecDeque<u64>,
    /// Answers, and the write that must be durable before they are given.
    held: VecDeque<(u64, Held<E>)>,
}

impl<E> Default for Answers<E> {
    fn default() -> Self {
        Self {
            turn: Vec::new(),
            in_flight: VecDeque::new(),
            held: VecDeque::new(),
        }
    }
}

impl<E: Clone + Send + 'static> Answers<E> {
    /// Gives an answer once everything is durable that happened up to now.
    pub(crate) fn answer<T: Send + 'static>(
        &mut self,
        reply: oneshot::Sender<Result<T, E>>,
        answer: Result<T, E>,
    ) {
        self.turn.push(Held::new(reply, answer));
    }

    /// Ends a turn, of which this write is on its way if there is something to write: its answers wait for that and
    /// for all before it.
    pub(crate) fn end_turn(&mut self, write: Option<u64>) {
        self.in_flight.extend(write);
        let turn = std::mem::take(&mut self.turn).into_iter();
        match self.in_flight.back().copied() {
            None => turn.for_each(Held::give),
            Some(last) => self.held.extend(turn.map(|held| (last, held))),
        }
    }

    /// A write is durable, and so are all before it.
    pub(crate) fn written(&mut self, write: u64) {
        while self.in_flight.front().is_some_and(|first| *first <= write) {
            self.in_flight.pop_front();
        }
        while self.held.front().is_some_and(|(after, _)| *after <= write) {
            if let Some((_, held)) = self.held.pop_front() {
                held.give();
            }
        }
    }

    /// Whether something is on its way to the store.
    pub(crate) fn is_writing(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// What was answered may not be so. Who waits for a write hears `unknown`: it may be done all the same.
    pub(crate) fn fail(self, error: &E, unknown: &E) {
        for held in self.turn {
            held.fail(error.clone());
        }
        for (_, held) in self.held {
            held.fail(unknown.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Result<u32, &'static str>>;

    fn ask(answers: &mut Answers<&'static str>, number: u32) -> Answer {
        let (reply, answer) = oneshot::channel();
        answers.answer(reply, Ok(number));
        answer
    }

    #[test]
    fn an_answer_waits_for_its_write_and_for_all_before_it() {
        let mut answers = Answers::default();
        let mut first = ask(&mut answers, 1);
        answers.end_turn(Some(7));
        // It says nothing new, but what it says may hang on the write before.
        let mut second = ask(&mut answers, 2);
        answers.end_turn(None);
        let mut third = ask(&mut answers, 3);
        answers.end_turn(Some(9));
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        answers.written(7);
        assert_eq!(first.try_recv(), Ok(Ok(1)));
        assert_eq!(second.try_recv(), Ok(Ok(2)));
        assert!(third.try_recv().is_err() && answers.is_writing());
        answers.written(9);
        assert_eq!(third.try_recv(), Ok(Ok(3)));
        let mut fourth = ask(&mut answers, 4);
        answers.end_turn(None);
        assert_eq!(fourth.try_recv(), Ok(Ok(4)), "nothing is on its way");
    }

    #[test]
    fn who_waits_for_a_write_that_fails_does_not_hear_that_nothing_happened() {
        let mut answers = Answers::default();
        let mut written = ask(&mut answers, 1);
        answers.end_turn(Some(1));
        let mut asked = ask(&mut answers, 2);
        answers.fail(&"failed", &"unknown");
        assert_eq!(written.try_recv(), Ok(Err("unknown")));
        assert_eq!(asked.try_recv(), Ok(Err("failed")));
    }
}
