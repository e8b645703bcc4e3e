//! What goes wrong, and how it is healed.

use super::{Event, NodeId, World};

impl World {
    /// Something goes wrong.
    pub(super) fn fault(&mut self) {
        if !self.stormy {
            return;
        }
        let next = self.dice.between(50, 700);
        self.at(next, Event::Fault);
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        let Some(one) = self.dice.pick(&ids) else {
            return;
        };
        match self.dice.roll(16) {
            0..5 => self.crash(one),
            5..7 => {
                let group = self.dice.between(1, self.groups);
                if let Some(leader) = self.leader(group) {
                    self.crash(leader);
                }
            }
            7 => ids.iter().for_each(|id| self.crash(*id)),
            8..11 => self.split(&ids),
            11 => self.cut.clear(),
            12 => self.slow_disk = self.dice.roll(2) * self.dice.roll(300),
            13 => {
                self.loss = self.dice.roll(2) * self.dice.roll(300);
                self.late = self.dice.roll(2) * self.dice.roll(400);
                self.double = self.dice.roll(2) * self.dice.roll(200);
            }
            14 => {
                let group = self.dice.between(1, self.groups);
                if let Some(leader) = self.leader(group) {
                    self.with_node(leader, |node, _| {
                        if let Some(member) = node.members.get_mut(&group) {
                            member.group.transfer_to(one);
                        }
                    });
                }
            }
            _ => self.replace(one),
        }
    }

    fn crash(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up) else {
            return;
        };
        let kept = self.dice.roll(node.at_risk() as u64 + 1) as usize;
        node.crash(if self.dice.one_in(500) { 0 } else { kept });
        let back = self.dice.between(10, 2_500);
        self.at(back, Event::Restart(id));
        if self.dice.one_in(700) {
            self.tell_all(id, false);
        }
    }

    fn split(&mut self, ids: &[NodeId]) {
        self.cut.clear();
        let side: Vec<bool> = ids.iter().map(|_| self.dice.one_in(500)).collect();
        let one_way = self.dice.one_in(300);
        for (at, one) in ids.iter().enumerate() {
            for (other_at, other) in ids.iter().enumerate().skip(at + 1) {
                let apart = side[at] != side[other_at] || (one_way && self.dice.one_in(200));
                if apart {
                    self.cut.push((*one, *other));
                    let delay = self.dice.between(20, 300);
                    self.at(delay, Event::Peer(*one, *other, false));
                    self.at(delay + 5, Event::Peer(*other, *one, false));
                }
            }
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&mut self) {
        self.stormy = false;
        (self.loss, self.late, self.double, self.slow_disk) = (0, 0, 0, 0);
        self.cut.clear();
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.at(1, Event::Restart(id));
            self.tell_all(id, true);
        }
    }
}
