//! What waits for its number: one queue for each class of credit, so that a class without credit doesn't hold up the others.

use std::collections::{BTreeMap, VecDeque};

use super::super::credit::CLASSES;
use super::super::outbound::Outbound;
use crate::agent::event::Token;
use crate::proto::ThreadId;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    queues: [VecDeque<Outbound>; CLASSES],
    /// How many messages were pushed.
    pushed: u64,
    /// Places of waiting messages within named threads, across classes.
    thread_order: BTreeMap<ThreadId, VecDeque<u64>>,
}

impl Waiting {
    pub(super) fn push(&mut self, mut message: Outbound) {
        message.place = self.pushed;
        self.pushed += 1;
        if let Some(thread) = message.header.thread {
            self.thread_order.entry(thread).or_default().push_back(message.place);
        }
        self.queues[message.header.kind.credit_class().index()].push_back(message);
    }

    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Outbound> {
        self.queues.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outbound> {
        self.queues.iter_mut().flatten()
    }

    pub(super) fn into_messages(self) -> impl Iterator<Item = Outbound> {
        self.queues.into_iter().flatten()
    }

    pub(super) fn front(&self, class: usize) -> Option<&Outbound> {
        self.queues[class].front()
    }

    /// The first of each class that has any.
    pub(super) fn fronts(&self) -> impl Iterator<Item = (usize, &Outbound)> {
        self.queues.iter().enumerate().filter_map(|(class, queue)| Some((class, queue.front()?)))
    }

    pub(super) fn get(&self, class: usize, at: usize) -> Option<&Outbound> {
        self.queues[class].get(at)
    }

    /// Takes the first of a class.
    pub(super) fn take(&mut self, class: usize) -> Option<Outbound> {
        self.remove(class, 0)
    }

    pub(super) fn remove(&mut self, class: usize, at: usize) -> Option<Outbound> {
        let message = self.queues[class].remove(at)?;
        self.leave_thread_order(&message);
        Some(message)
    }

    /// Takes the message of this token.
    pub(super) fn withdraw(&mut self, token: Token) -> Option<Outbound> {
        let find = |queue: &VecDeque<Outbound>| queue.iter().position(|message| message.token == token);
        let (class, at) = self.queues.iter().enumerate().find_map(|(class, queue)| Some((class, find(queue)?)))?;
        self.remove(class, at)
    }

    /// Takes all that are too late at this time of their sender's clock.
    pub(super) fn take_late(&mut self, wall: u64) -> Vec<Outbound> {
        let mut all_late = Vec::new();
        for queue in &mut self.queues {
            let (late, rest): (Vec<_>, _) = std::mem::take(queue).into_iter().partition(|message| message.header.expiry <= wall);
            *queue = rest.into();
            all_late.extend(late);
        }
        all_late.iter().for_each(|message| self.leave_thread_order(message));
        all_late
    }

    /// Whether nothing that waits comes before it in its thread.
    pub(super) fn is_first_of_thread(&self, message: &Outbound) -> bool {
        let Some(thread) = message.header.thread else { return true };
        self.thread_order.get(&thread).and_then(VecDeque::front) == Some(&message.place)
    }

    fn leave_thread_order(&mut self, message: &Outbound) {
        let Some(thread) = message.header.thread else { return };
        if let Some(order) = self.thread_order.get_mut(&thread) {
            order.retain(|place| *place != message.place);
            if order.is_empty() {
                self.thread_order.remove(&thread);
            }
        }
    }
}
