/// Tests of the choice of a loop: in turn, least loaded, or always the same for one source.
import Testing

@testable import MillraceEventLoop

@Suite struct BalancerTests {
    // MARK: In turns

    @Test("round robin picks the loops in turn", arguments: 1...9)
    func roundRobinIsFair(loops: Int) {
        var balancer = Balancer(.roundRobin)
        let picks = (0..<loops * 20).map { _ in
            balancer.pick(among: loops, load: unasked, source: unaskedSource)
        }
        #expect(picks == (0..<loops * 20).map { $0 % loops })
    }

    @Test("round robin picks a valid loop when the number of loops changes")
    func roundRobinStaysInRangeWhenLoopsBecomeFewer() {
        var balancer = Balancer(.roundRobin)
        for count in [8, 8, 8, 8, 8, 3, 3, 2, 1, 8, 2] {
            let pick = balancer.pick(among: count, load: unasked, source: unaskedSource)
            #expect((0..<count).contains(pick))
        }
    }

    // MARK: The least loaded

    @Test("least connections picks a loop with the fewest connections", arguments: Trial.seeds)
    func leastConnectionsPicksALeast(seed: UInt64) throws {
        var trial = Trial(seed)
        var balancer = Balancer(.leastConnections)
        for _ in 0..<500 {
            let loads = (0..<1 + trial.random.below(9)).map { _ in trial.random.below(4) }
            trial.begin("pick among \(loads)")
            let pick = balancer.pick(
                among: loads.count, load: { loads[$0] }, source: unaskedSource)
            try trial.check(loads.indices.contains(pick), "loop \(pick)")
            try trial.check(loads[pick] == loads.min(), "loop \(pick)")
        }
    }

    @Test("least connections picks equally loaded loops equally often", arguments: 2...9)
    func leastConnectionsSpreadsTies(loops: Int) {
        var balancer = Balancer(.leastConnections)
        var picks = [Int](repeating: 0, count: loops)
        for _ in 0..<loops * 10 {
            let pick = balancer.pick(among: loops, load: { _ in 7 }, source: unaskedSource)
            picks[pick] += 1
        }
        #expect(picks == [Int](repeating: 10, count: loops))
    }

    @Test("least connections picks each of the least loaded loops")
    func leastConnectionsUsesEachOfATie() {
        var balancer = Balancer(.leastConnections)
        let loads = [0, 3, 0, 0, 3]
        let picks = (0..<20).map { _ in
            balancer.pick(among: 5, load: { loads[$0] }, source: unaskedSource)
        }
        #expect(Set(picks) == [0, 2, 3])
    }

    @Test("least connections makes unequal loads equal")
    func leastConnectionsKeepsLoadsLevel() {
        var balancer = Balancer(.leastConnections)
        var loads = [40, 0, 12, 0, 3]
        for _ in 0..<500 {
            loads[balancer.pick(among: 5, load: { loads[$0] }, source: unaskedSource)] += 1
        }
        #expect(loads == [111, 111, 111, 111, 111])
    }

    // MARK: By source

    @Test(
        "the source hash picks the same loop for the same address and any port",
        arguments: [2, 3, 4, 5, 8, 16])
    func sourceHashIsStable(loops: Int) throws {
        var one = Balancer(.sourceHash)
        var other = Balancer(.sourceHash)
        for last in 0..<64 {
            for host in ["192.0.2.\(last)", "2001:db8::\(last)"] {
                // Another port is another connection of the same source.
                let first = SocketAddress(host: host, port: 1000)
                let second = SocketAddress(host: host, port: 60_000)
                try #require(first != nil && second != nil)
                let pick = one.pick(among: loops, load: unasked) { first }
                #expect((0..<loops).contains(pick))
                let again = one.pick(among: loops, load: unasked) { second }
                let elsewhere = other.pick(among: loops, load: unasked) { second }
                #expect(again == pick && elsewhere == pick)
            }
        }
    }

    /// Networks whose 256 sources differ in one part of their address.
    enum Neighbours: String, CaseIterable {
        case v4Hosts, v4Networks, mappedV4Hosts, v6Hosts, v6Networks, v6Sites

        func host(_ number: Int) -> String {
            let hex = String(number, radix: 16)
            return switch self {
            case .v4Hosts: "10.1.2.\(number)"
            case .v4Networks: "10.\(number).0.1"
            case .mappedV4Hosts: "::ffff:10.1.2.\(number)"
            case .v6Hosts: "2001:db8::\(hex)"
            case .v6Networks: "2001:db8:0:\(hex)::1"
            case .v6Sites: "2001:db8:\(hex)::1"
            }
        }
    }

    @Test(
        "the source hash spreads neighbouring addresses evenly over the loops",
        arguments: Neighbours.allCases, [2, 3, 4, 7, 8])
    func sourceHashIsSpread(_ neighbours: Neighbours, loops: Int) throws {
        var balancer = Balancer(.sourceHash)
        var picks = [Int](repeating: 0, count: loops)
        for number in 0..<256 {
            let source = SocketAddress(host: neighbours.host(number), port: 5000)
            try #require(source != nil)
            picks[balancer.pick(among: loops, load: unasked) { source }] += 1
        }
        // 48 is six standard deviations for the widest of these cases, so a sound hash passes.
        let mean = 256 / loops
        #expect(picks.allSatisfy { $0 > 0 && $0 >= mean - 48 && $0 <= mean + 48 }, "\(picks)")
    }

    @Test("the source hash picks the same loop for an IPv4 address and its IPv6-mapped form")
    func aSourceOfIPv4IsTheSameHoweverItIsWritten() throws {
        var balancer = Balancer(.sourceHash)
        for number in 0..<64 {
            let picks = try ["10.1.2.\(number)", "::ffff:10.1.2.\(number)"].map { host in
                let source = try #require(SocketAddress(host: host, port: 5000))
                return balancer.pick(among: 7, load: unasked) { source }
            }
            #expect(picks[0] == picks[1])
        }
    }

    @Test("sources without an IP address are distributed in turn")
    func sourcesWithoutAnAddressTakeTurns() {
        var balancer = Balancer(.sourceHash)
        let picks = (0..<6).map { number in
            balancer.pick(among: 3, load: unasked) {
                number % 2 == 0 ? nil : .unix("", abstract: false)
            }
        }
        #expect(picks == [0, 1, 2, 0, 1, 2])
    }

    @Test("every policy picks the only loop")
    func oneLoopGetsAll() {
        for policy in [Balancer.Policy.roundRobin, .leastConnections, .sourceHash] {
            var balancer = Balancer(policy)
            let pick = balancer.pick(among: 1, load: unasked, source: unaskedSource)
            #expect(pick == 0)
        }
    }

    private func unasked(_ loop: Int) -> Int {
        Issue.record("asked for a load")
        return 0
    }

    private func unaskedSource() -> SocketAddress? {
        Issue.record("asked for the source")
        return nil
    }
}
