/// The loops that accepted connections may go to, and the choice among them.
///
/// Loops are named by their indices, since each reference to a loop's remote end would cost a
/// retain.
struct Targets {
    let remotes: [LoopRemote]
    /// The index of the accepting loop itself, if it is one of them.
    private let own: Int?
    private var balancer: Balancer

    init(_ remotes: [LoopRemote], own: LoopRemote, _ policy: Balancer.Policy) {
        self.remotes = remotes
        self.own = remotes.firstIndex { $0 === own }
        balancer = Balancer(policy)
    }

    struct Choice: Equatable {
        /// The index among `remotes`; nil for the accepting loop itself.
        var target: Int?
        /// The balancer's choice had too many unopened connections.
        var isFallBack = false
    }

    /// Returns the loop of the next connection. `source` is called only if the policy needs it.
    @inline(never)
    mutating func choose(source: () -> SocketAddress?) -> Choice {
        let index = balancer.pick(
            among: remotes.count, load: { [remotes] in remotes[$0].load }, source: source)
        guard remotes[index].adoptions.isMany else { return choice(index) }
        // A loop that is behind must not delay clients: its next connections go to other loops.
        let others = remotes.indices.filter { !remotes[$0].adoptions.isMany }
        guard let other = others.min(by: { remotes[$0].load < remotes[$1].load }) else {
            return choice(index)
        }
        return choice(other, isFallBack: true)
    }

    private func choice(_ index: Int, isFallBack: Bool = false) -> Choice {
        Choice(target: index == own ? nil : index, isFallBack: isFallBack)
    }

    /// Returns a loop that has not opened the connections passed to it, if all are in that state;
    /// else nil. Each loop that is behind then notifies its owner when it has caught up.
    @inline(never)
    func behind() -> Int? {
        var (first, count) = (Int?.none, 0)
        // Not ended early: each loop that is behind must notify when it has caught up.
        for index in remotes.indices where index != own && remotes[index].adoptions.mustWait() {
            count += 1
            first = first ?? index
        }
        return count == remotes.count ? first : nil
    }
}
